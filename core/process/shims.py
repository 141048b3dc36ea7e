"""What the small processes have in common that stand between the runner and what it started: a lock for life, no terminal, and
that the home is never without a runner for long. Standard library and light rooms only: a shim starts at once and costs little.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
from pathlib import Path

from core.home import Home
from core.process.locks import held
from core.process.start_runner import start_runner

RUNNER_CHECK_SECONDS = 1.0
RUNNER_MISSING_SECONDS = 10.0
LOCK_TRIES, LOCK_SECONDS = 5, 0.01
"""Whoever looks whether a lock is held has it for a moment (`core.process.locks`): one refusal proves nothing."""


def take_lock(path: Path) -> int | None:
    """The descriptor of a lock that lasts as long as it is open; None where another process has it.

    Taken before a fork: whoever started this process may believe in the lock as soon as it returns.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        time.sleep(LOCK_SECONDS)
    os.close(lock)
    return None


def silence_standard_streams() -> None:
    """Let go of the terminal or file that whoever started us gave us."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def see_to_a_runner(home: Home) -> bool:
    """Start a runner; where that fails (a full disk, an upgrade under way) what the shim looks after must not suffer for it.
    False then, and where a person stopped the runner."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return start_runner(home, by_person=False)
    return False


class RunnerWatch:
    """Sees that the home is never without a runner for long; asked again and again."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.is_refused = False
        """Whether the home has been without a runner for long, and none could be started."""
        self._missing_since: float | None = None
        self._next_check = 0.0

    def forget(self) -> None:
        """Count anew how long there has been no runner."""
        self.is_refused, self._missing_since = False, None

    def look(self) -> None:
        """Start a runner where none has lived for `runner_missing_seconds`."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + RUNNER_CHECK_SECONDS
        if held(self.home.runner_lock):
            self._missing_since, self.is_refused = None, False
        elif self._missing_since is None:
            self._missing_since = now
        elif now - self._missing_since >= runner_missing_seconds():
            self.is_refused = not see_to_a_runner(self.home)
            self._missing_since = None


def runner_missing_seconds() -> float:
    """How long the home may be without a runner; `BAKEHOUSE_RUNNER_MISSING_SECONDS` shortens it in tests."""
    return float(os.environ.get("BAKEHOUSE_RUNNER_MISSING_SECONDS") or RUNNER_MISSING_SECONDS)
