"""A real terminal whose line can be dropped."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

from tests.support.queueing import CHECKOUT, alive
from tests.support.waiting import PATIENCE_SECONDS, wait_until


class Terminal:
    """A process in a session of its own, with a pseudo-terminal as its controlling terminal."""

    def __init__(self, *arguments: str, columns: int = 120, lines: int = 40) -> None:
        self.said = b""
        self.pid, self.line = pty.fork()
        if self.pid == 0:
            os.chdir(CHECKOUT)
            os.environ["TERM"] = "xterm-256color"
            for name in ("COLUMNS", "LINES"):  # they would count for more than the size of this terminal
                os.environ.pop(name, None)
            os.execv(sys.executable, [sys.executable, *arguments])
        os.set_inheritable(self.line, False)  # another terminal's process must not keep this line open
        fcntl.ioctl(self.line, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_until(self, words: bytes, seconds: float = PATIENCE_SECONDS) -> None:
        """Read what the process prints until these words have come."""
        deadline = time.monotonic() + seconds
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            ready, _, _ = select.select([self.line], [], [], 0.1)
            if ready:
                try:
                    self.said += os.read(self.line, 65536)
                except OSError as error:
                    raise AssertionError(f"it ended, having said {self.said!r}") from error

    def hang_up(self) -> None:
        """Drop the line, as a lost SSH connection does, and wait until the process has gone."""
        os.close(self.line)
        wait_until(self.gone, what="the end of the process at the terminal")

    def gone(self) -> bool:
        if alive(self.pid):
            return False
        os.waitpid(self.pid, 0)
        return True
