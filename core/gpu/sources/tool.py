"""Running a vendor's tool with a limit on its time and its output.

A tool can hang in the driver so that it cannot even be killed (state D). It is then left behind, never waited for, and
not started again before it has gone.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from core.gpu.source import SourceError
from core.text import one_line, printable

# Less than the guard's limit, so that the message names the tool and not only its source.
TOOL_SECONDS = 1.8
OUTPUT_BYTES = 4 * 2**20
_PIECE_BYTES = 65_536
# How long a tool that ended, or was killed, is waited for.
_REAP_SECONDS = 0.1
# The tools' words are parsed: they must not be translated, coloured or folded to a window.
_ENVIRONMENT = {"LANG": "C", "LC_ALL": "C", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}


@dataclass(frozen=True)
class ToolOutput:
    """What a tool printed; bytes that are no UTF-8 are replaced."""

    stdout: str
    stderr: str
    returncode: int

    @property
    def said(self) -> str:
        """The last line of its messages, at most 200 characters that can be shown; empty when it said nothing."""
        lines = (self.stderr[-8192:] + "\n" + self.stdout[-8192:]).splitlines()
        told = [line for line in map(one_line, lines) if line]
        errors = [line for line in told if "error" in line.lower() or "fail" in line.lower()]
        return printable((errors or told or [""])[-1], limit=200)


class Tool:
    """One tool of a vendor's. Not for use by several threads. `folders` are looked into behind those of PATH."""

    def __init__(self, name: str, environ: Mapping[str, str] | None = None, folders: Sequence[str] = ()) -> None:
        self.name = name
        self._environ = environ
        self._folders = folders
        self._left: list[tuple[subprocess.Popen[bytes], float]] = []

    def path(self) -> str | None:
        """Where it lies, or None."""
        environ = os.environ if self._environ is None else self._environ
        places = os.pathsep.join([environ.get("PATH", os.defpath), *self._folders])
        found = shutil.which(self.name, path=places)
        return None if found is None else os.path.abspath(found)  # noqa: PTH100 - links are kept

    def run(self, *arguments: str, limit_seconds: float = TOOL_SECONDS) -> ToolOutput:
        """What it prints. An exit code other than 0 is no fault here.

        Raises `SourceError` when it cannot be started, prints more than 4 MiB or does not end in time.
        """
        self._look_after_the_left()
        path = self.path()
        if path is None:
            raise SourceError(f"{self.name} is not on PATH")
        environ = dict(os.environ if self._environ is None else self._environ)
        try:
            process = subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environ | _ENVIRONMENT,
                start_new_session=True,
                cwd="/",
            )
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.name} cannot be started: {error}") from error
        assert process.stdout is not None
        assert process.stderr is not None
        ended = False
        try:
            out, err = _collect(self.name, process, process.stdout, process.stderr, limit_seconds)
            ended = True
        finally:
            process.stdout.close()
            process.stderr.close()
            if not _reap(process, kill=not ended):
                self._left.append((process, time.monotonic()))
        if process.returncode is None:
            raise SourceError(f"{self.name} closed its output but does not end")
        return ToolOutput(out, err, process.returncode)

    def _look_after_the_left(self) -> None:
        self._left = [(process, since) for process, since in self._left if process.poll() is None]
        if self._left:
            process, since = self._left[0]
            raise SourceError(
                f"{self.name} (process {process.pid}) hangs since {time.monotonic() - since:.0f} s and cannot be killed",
                remedy="the driver is stuck: see `dmesg`; a reboot frees it",
            )


def _collect(
    name: str, process: subprocess.Popen[bytes], stdout: IO[bytes], stderr: IO[bytes], limit_seconds: float
) -> tuple[str, str]:
    """Both streams, apart, until the tool has closed them or has ended (a child of it may hold them open)."""
    deadline = time.monotonic() + limit_seconds
    pieces: dict[int, list[bytes]] = {stdout.fileno(): [], stderr.fileno(): []}
    total = 0
    with selectors.DefaultSelector() as selector:
        for stream in (stdout, stderr):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream.fileno(), selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise SourceError(f"{name} has not ended after {limit_seconds:.2g} s")
            # Before the look at the pipes: what it wrote before its end is in them.
            ended = process.poll() is not None
            ready = selector.select(0 if ended else min(left, 0.05))
            if ended and not ready:
                break
            for key, _ in ready:
                with suppress(BlockingIOError):
                    piece = os.read(key.fd, _PIECE_BYTES)
                    if not piece:
                        selector.unregister(key.fd)
                    pieces[key.fd].append(piece)
                    total += len(piece)
            if total > OUTPUT_BYTES:
                raise SourceError(f"{name} printed more than {OUTPUT_BYTES // 2**20} MiB")
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
    if process.returncode is None:
        raise SourceError(f"{name} has not ended after {limit_seconds:.2g} s")
    out, err = (b"".join(pieces[stream.fileno()]).decode("utf-8", errors="replace") for stream in (stdout, stderr))
    return out, err


def _reap(process: subprocess.Popen[bytes], *, kill: bool) -> bool:
    """Whether it has ended. What it started goes with it."""
    if kill:
        # It reads sensors: unlike a training, it holds no memory of the card that a kill could lose.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_REAP_SECONDS)
    return process.returncode is not None
