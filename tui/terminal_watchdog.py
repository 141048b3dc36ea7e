"""A console whose terminal is gone must end, whatever its event loop is doing.

A dropped SSH connection sends SIGHUP, or only closes the terminal; a stalled reader blocks the event loop in a write. So the
signals are noted by the main thread and acted upon by a thread that also watches the terminal, and that ends the process by
itself when the console does not.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable
from types import FrameType

LOOK_SECONDS = 0.5
GRACE_SECONDS = 2.0
GRACE_WITHOUT_TERMINAL_SECONDS = 0.5
# Leave the alternate screen, show the cursor, end mouse reports, bracketed paste, focus reports and the keyboard protocol.
RESTORE = b"\x1b[<u\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l\x1b[?7h\x1b[?1049l\x1b[?25h"


class TerminalWatchdog(threading.Thread):
    """Calls `leave` (from its own thread) when the process is told to end or the terminal hangs up."""

    def __init__(self, leave: Callable[[], None]) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.leave = leave
        self.signal: int | None = None
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._terminal = terminal_of(sys.__stdin__)
        self._attributes = None if self._terminal is None else termios.tcgetattr(self._terminal)

    def install(self) -> None:
        """Take over SIGHUP and SIGTERM. In the main thread, before the console runs."""
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, self._note)
        self.start()

    def ended(self) -> None:
        """The console has ended by itself."""
        self._ended.set()
        self._asked.set()

    @property
    def terminal_lives(self) -> bool:
        """False once nobody can read what is said."""
        return self._terminal is not None and not hung_up(self._terminal)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        self._asked.set()

    def run(self) -> None:
        while not self._asked.wait(LOOK_SECONDS):
            if self._terminal is not None and not self.terminal_lives:
                break
        if self._ended.is_set():
            return
        self.leave()
        if not self._ended.wait(GRACE_SECONDS if self.terminal_lives else GRACE_WITHOUT_TERMINAL_SECONDS):
            self._end_by_force()

    def give_terminal_back(self) -> None:
        """Set the terminal as it was, as well as possible, if somebody is there."""
        if self._terminal is None or not self.terminal_lives:
            return
        os.set_blocking(self._terminal, False)
        try:
            os.write(self._terminal, RESTORE)
            termios.tcsetattr(self._terminal, termios.TCSANOW, self._attributes or [])
        except (OSError, termios.error):
            pass  # nobody reads there any more; the process ends all the same
        finally:
            os.set_blocking(self._terminal, True)

    def _end_by_force(self) -> None:
        """The event loop does not answer."""
        self.give_terminal_back()
        os._exit(128 + (self.signal or signal.SIGHUP))


def terminal_of(stream: object) -> int | None:
    """The descriptor of a stream when it is a terminal."""
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if os.isatty(descriptor) else None


def hung_up(descriptor: int) -> bool:
    """True when the other end of a terminal is closed."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
