"""A real terminal for tests: a child in a pty of its own session, with pyte as the one who reads."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

from tests.support.waiting import PATIENCE_SECONDS

IUTF8 = 0o40000  # of Linux' termios


class DimScreen(pyte.Screen):
    """A screen on which dim text is grey: pyte passes over that attribute."""

    def select_graphic_rendition(self, *attrs: int, **kwargs: bool) -> None:
        super().select_graphic_rendition(*attrs, **kwargs)
        codes = attrs or (0,)
        if 2 in codes and not {38, 48} & set(codes) and self.cursor.attrs.fg == "default":
            self.cursor.attrs = self.cursor.attrs._replace(fg="brightblack")


class Terminal:
    """Runs a command; `watch` reads what it draws. A context manager: at the end the child is gone."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 120,
        lines: int = 40,
        environment: Mapping[str, str] | None = None,
        unset: Sequence[str] = ("NO_COLOR", "COLUMNS", "LINES"),
        utf8: bool = False,
    ) -> None:
        """`utf8` sets the terminal's own mark for UTF-8, as sshd and tmux do."""
        self.screen = DimScreen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.bytes = 0
        self.status: int | None = None
        variables = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            **(environment or {}),
        }
        for name in unset:
            if name not in (environment or {}):
                variables.pop(name, None)
        self.started = time.monotonic()
        self.pid, self.descriptor = os.forkpty()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            modes = termios.tcgetattr(0)
            modes[0] = (modes[0] & ~IUTF8) | (IUTF8 if utf8 else 0)
            termios.tcsetattr(0, termios.TCSANOW, modes)
            os.execvpe(command[0], list(command), variables)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            _, self.status = os.waitpid(self.pid, 0)
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def watch(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Read for so long, or until a condition holds; True when it does."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if until is not None and until():
                return True
            readable, _, _ = select.select([self.descriptor], [], [], min(left, 0.05))
            if readable and not self._read():
                break
        return until is not None and until()

    def shows(self, text: str, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until a text stands on the screen."""
        return self.watch(seconds, lambda: text in self.text)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def send(self, data: bytes) -> None:
        """Bytes as they are, as many as the child takes, while what it draws is read."""
        os.set_blocking(self.descriptor, False)
        try:
            while data:
                readable, writable, _ = select.select([self.descriptor], [self.descriptor], [], PATIENCE_SECONDS)
                assert readable or writable, "the child neither reads nor draws"
                if readable and not self._read():
                    break
                if writable:
                    with contextlib.suppress(BlockingIOError):
                        data = data[os.write(self.descriptor, data[:1024]) :]
        finally:
            os.set_blocking(self.descriptor, True)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def hang_up(self) -> None:
        """Close the terminal, as a dropped connection does."""
        os.close(self.descriptor)
        self.descriptor = -1

    def _read_what_is_left(self) -> None:
        """What the child said last, which nobody has read yet."""
        while self.descriptor >= 0 and select.select([self.descriptor], [], [], 0)[0]:
            if not self._read():
                break

    def _read(self) -> bool:
        """Read what is there; False once nobody writes any more."""
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:  # the child has closed its side
            return False
        self.bytes += len(data)
        self.stream.feed(data)
        return bool(data)

    def ended(self, seconds: float) -> bool:
        """Wait for the child's end; its exit status is in `status` (negative: the signal)."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self._read_what_is_left()
                return True
            if self.descriptor >= 0:
                self.watch(0.05)
            else:
                time.sleep(0.05)
        return False
