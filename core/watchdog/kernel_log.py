"""The kernel's log as it is written: what is new of a GPU in trouble.

Read without root where this machine allows it: `/dev/kmsg`, else `dmesg`, else the journal.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from core.gpu.source import SourceError
from core.gpu.sources.tool import Tool
from core.watchdog.kernel_messages import KernelMessage, boot_seconds, parse_kernel_lines, unnamed_fault

TOOL_EVERY_SECONDS = 10.0
TOOL_LIMIT_SECONDS = 5.0
REST_OF_A_FAULT_SECONDS = 0.2
# A page fault can be told a thousand times a second.
MOST_MESSAGES = 100
_MOST_BYTES = 2 * 2**20
_RECORD_BYTES = 8192
_FIRST_NAMESPACE = "pid:[4026531836]"
"""The kernel's own number of the first PID namespace (PROC_PID_INIT_INO)."""
_NO_JOURNAL = ("No journal files", "not seeing messages")


class KernelLog:
    """The kernel's messages since it was made, or since `since` (Unix seconds). Not for use by several threads.

    `path` replaces `/dev/kmsg`, as `BAKEHOUSE_KMSG` does; then no tool is asked but those given. `problem` says why there are
    no messages to be had. Asking takes microseconds: tools run in a thread of their own, every ten seconds at most, or once
    more where somebody has to know (`ask_soon`). `names_our_pids`: whether its pids are those that this process sees.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        tools: tuple[Tool, ...] | None = None,
        clock: Callable[[], float] = time.time,
        since: float | None = None,
    ) -> None:
        moved = path or os.environ.get("BAKEHOUSE_KMSG")
        self.path = moved or "/dev/kmsg"
        self.problem: str | None = None
        self._clock = clock
        self._file: int | None = None
        self._rest = b""
        self._held_back = ""
        self._reader: _ToolReader | None = None
        self._asked = clock() if since is None else min(since, clock())
        self._earlier = since is not None
        self._asked_at = -math.inf
        self.names_our_pids = bool(moved) or _in_the_first_namespace()
        fault = self._open(at_end=since is None)
        if fault is not None:
            self.problem = f"{self.path} cannot be read: {fault}"
            if tools is None and not moved:
                tools = (Tool("dmesg"), Tool("journalctl"))
            if tools:
                self._reader = _ToolReader(tools, self._asked, self.problem, earlier=self._earlier)

    def new(self) -> list[KernelMessage]:
        """The messages since it was last asked (at first: since this object was made), at most 100 of them."""
        if self._reader is not None:
            self._asked_at, messages, self.problem = self._reader.asked_at, self._reader.new(), self._reader.problem
            # A tool tells them up to ten seconds late, and by a clock that can be asked.
            self._asked = float("-inf")
        elif self._file is None and (fault := self._open(at_end=False)) is not None:
            self.problem = f"{self.path} cannot be read: {fault}"
            self._asked_at = math.inf
            return []
        else:
            self.problem = None
            asked_at = time.monotonic()
            booted = self._clock() - time.clock_gettime(time.CLOCK_MONOTONIC)
            messages = parse_kernel_lines(self._whole_faults(self._read()), booted)
            if self._earlier:
                # What was said before is another's affair; a line without a time may be any age.
                messages = [one for one in messages if one.time is not None and one.time >= self._asked]
                self._earlier = False
            self._asked_at = -math.inf if self._held_back else asked_at
        # The kernel's stamps drift from the clock; but what is new came after it was last asked, and not in the future.
        now, asked = self._clock(), self._asked
        self._asked = now
        placed = (now if item.time is None else min(now, max(asked, item.time)) for item in messages)
        return [replace(item, time=moment) for item, moment in zip(messages, placed, strict=True)][:MOST_MESSAGES]

    def told_after(self, moment: float) -> bool:
        """Whether all that the kernel had said by that moment (monotonic) was handed out, or cannot be had."""
        return self._asked_at >= moment

    def ask_soon(self) -> None:
        """Have a tool asked now, not at its next time."""
        if self._reader is not None:
            self._reader.ask_soon()

    def _whole_faults(self, text: str) -> str:
        """Keeps a page fault at the end for the next time, once: the line that names its process may be on its way."""
        held, self._held_back = self._held_back, ""
        if not held and (place := unnamed_fault(text)) is not None:
            text, self._held_back = text[:place], text[place:]
        return held + text

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, *, at_end: bool) -> str | None:
        """Why it cannot be opened, None when it is open. Afterwards reads give what is new."""
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return error.strerror or str(error)
        try:
            os.lseek(self._file, 0, os.SEEK_END if at_end else os.SEEK_SET)
        except OSError as error:
            # A FIFO has no end to go to. `/dev/kmsg` that may be opened but not read shows it at the first read.
            if error.errno != errno.ESPIPE:
                self.close()
                return error.strerror or str(error)
        return None

    def _read(self) -> str:
        """The whole lines that are new, at most 2 MiB; what is left comes at the next call."""
        assert self._file is not None
        data = [self._rest]
        size = len(self._rest)
        state = os.fstat(self._file)
        if stat.S_ISREG(state.st_mode) and state.st_size < os.lseek(self._file, 0, os.SEEK_CUR):
            # A file that was cut is read from its beginning.
            os.lseek(self._file, 0, os.SEEK_SET)
        while size < _MOST_BYTES:
            try:
                part = os.read(self._file, _RECORD_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                # EPIPE: records were overwritten before we came; the next read goes on with the oldest that is left.
                if error.errno == errno.EPIPE:
                    continue
                self.problem = f"{self.path} cannot be read: {error.strerror}"
                break
            if not part:
                break
            data.append(part)
            size += len(part)
        whole, newline, self._rest = b"".join(data).rpartition(b"\n")
        if len(self._rest) > _RECORD_BYTES:
            self._rest = b""
        return (whole + newline).decode("utf-8", errors="replace")


class _ToolReader:
    """Runs `dmesg` or `journalctl` in a thread, keeps the one that works, and hands out what is newer than the last."""

    def __init__(self, tools: tuple[Tool, ...], since: float, problem: str, *, earlier: bool = False) -> None:
        self.asked_at = -math.inf
        """When the newest look that is over began, in monotonic seconds."""
        self._earlier_than_now = since if earlier else None
        self.problem: str | None = problem
        self._fault = problem
        self._tools = list(tools)
        # The newest message handed out, by the clock of each: dmesg counts since boot, the journal in Unix seconds.
        self._newest: dict[str, float] = {"journalctl": since}
        self._found: SimpleQueue[list[KernelMessage]] = SimpleQueue()
        self._next = 0.0
        self._thread: Thread | None = None
        self._start()

    def new(self) -> list[KernelMessage]:
        if time.monotonic() >= self._next and self._thread is not None and not self._thread.is_alive():
            self._start()
        messages: list[KernelMessage] = []
        while True:
            try:
                messages += self._found.get_nowait()
            except Empty:
                return messages

    def ask_soon(self) -> None:
        if self._thread is not None and not self._thread.is_alive():
            self._start()

    def _start(self) -> None:
        self._next = time.monotonic() + TOOL_EVERY_SECONDS
        self._thread = Thread(target=self._ask, name="kernel-log", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            self._ask_tools()
        finally:
            self.asked_at = began

    def _ask_tools(self) -> None:
        faults = []
        for tool in self._tools:
            try:
                text = self._run(tool)
                if unnamed_fault(text) is not None:
                    # The line that names its process may be on its way.
                    time.sleep(REST_OF_A_FAULT_SECONDS)
                    text = self._run(tool)
            except SourceError as error:
                faults.append(str(error))
                continue
            self._tools, self.problem = [tool], None
            self._hand_out(tool.name, text)
            return
        self.problem = "; ".join([self._fault, *faults])

    def _run(self, tool: Tool) -> str:
        arguments: tuple[str, ...] = ()
        if tool.name == "journalctl":
            # The whole second, of which what was handed out is left out after.
            since = f"@{int(self._newest[tool.name])}"
            arguments = ("-k", "-o", "short-unix", "--no-pager", "--since", since)
        output = tool.run(*arguments, limit_seconds=TOOL_LIMIT_SECONDS)
        if output.returncode != 0:
            raise SourceError(f"{tool.name} does not tell: {output.said or f'exit {output.returncode}'}")
        # The journal of others is left out without a fault: only a hint says so.
        if any(hint in output.stderr for hint in _NO_JOURNAL):
            raise SourceError(f"{tool.name} does not tell: {output.said}")
        return output.stdout

    def _hand_out(self, tool: str, text: str) -> None:
        if tool == "journalctl":
            booted = 0.0
            messages = parse_kernel_lines(text)
        else:
            # The kernel's stamps drift from every clock that can be asked, so they are compared among themselves.
            booted = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
            messages = parse_kernel_lines(text, booted=0.0)
            if tool not in self._newest:
                stamps = [stamp for line in text.split("\n") if (stamp := boot_seconds(line)) is not None]
                newest = max(stamps, default=0.0)
                self._newest[tool] = newest if self._earlier_than_now is None else self._earlier_than_now - booted
        newer = [message for message in messages if (message.time or 0.0) > self._newest[tool]]
        if newer:
            self._newest[tool] = max(message.time or 0.0 for message in newer)
            self._found.put([replace(message, time=booted + (message.time or 0.0)) for message in newer])


def _in_the_first_namespace() -> bool:
    """Whether this process sees pids as the kernel's log names them: not in a container with pids of its own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == _FIRST_NAMESPACE
    except OSError:
        return False
