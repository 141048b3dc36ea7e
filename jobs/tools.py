"""A tool that works for minutes within a job: its lines in the log, its progress told, a stop request heeded meanwhile."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from core.process.child import end_child
from core.text import one_line
from jobs.child import start_child
from jobs.context import JobContext

LOOK_SECONDS = 0.2
LONGEST_LINE_BYTES = 65_536
KEPT_LINES = 400
"""Of its last ones: what went wrong stands at the end."""
_BREAKS = re.compile(rb"[\r\n]")


class ToolEnd:
    """The last lines that a tool printed, and how it ended (`code`; a signal is negative)."""

    def __init__(self, lines: Sequence[str], code: int) -> None:
        self.lines = tuple(lines)
        self.code = code

    def last(self, pattern: str) -> str | None:
        """The last line in which a pattern is found, made printable; of its first group where it has one."""
        for line in reversed(self.lines):
            if (match := re.search(pattern, line)) is not None:
                return one_line(match[match.lastindex or 0], limit=300)
        return None


def run_tool(
    context: JobContext,
    command: Sequence[str],
    at_line: Callable[[str], None],
    *,
    environ: Mapping[str, str] | None = None,
) -> ToolEnd:
    """Run a tool to its end. `at_line` gets each line, and each state of a progress bar, as it comes.

    Lines go to the job's log; a bar, which is drawn over itself, does not. A stop request ends the tool and raises
    StopRequested.
    """
    process = start_child(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, environ=environ)
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        for piece, is_line in _pieces(context, process):
            text = piece.decode("utf-8", errors="replace")
            at_line(text)
            if is_line:
                kept.append(text)
                context.say(text)
        code = process.wait()
    finally:
        end_child(process)
        if process.stdout is not None:
            process.stdout.close()
    # A signal to the job reaches its whole group: the tool's end is then the stop, not a failure.
    context.check_stop()
    return ToolEnd(list(kept), code)


def _pieces(context: JobContext, process: subprocess.Popen[bytes]) -> Iterator[tuple[bytes, bool]]:
    """What a tool prints, cut at line ends and at carriage returns; True for what ended as a line."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    waiting = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            context.check_stop()
            if not selector.select(LOOK_SECONDS):
                if process.poll() is None:
                    continue
                if not selector.select(0):  # something else holds the pipe open
                    break
            data = os.read(descriptor, LONGEST_LINE_BYTES)
            if not data:
                break
            waiting += data
            while (cut := _BREAKS.search(waiting)) is not None:
                piece, is_line = waiting[: cut.start()], waiting[cut.start()] == 10
                waiting = waiting[cut.end() :]
                if piece.strip():
                    yield piece, is_line
            if len(waiting) > LONGEST_LINE_BYTES:
                yield waiting, True
                waiting = b""
    if waiting.strip():
        yield waiting, True
