"""The runner has what serves checked by itself: `bakehouse fleet drift --stale`, in a process of its own.

What is due is told by the store (`core.aliases.drift_due`). It has to stay due for a while, so that a server that is being
updated or a promotion that is taken back at once starts nothing; and for each reason the process is started once.
"""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Literal

from core.aliases.drift_due import drift_states
from core.clock import NEVER, SYSTEM_CLOCK, Clock
from core.files import private, tail
from core.home import Home
from core.runner.log import logger
from core.text import one_line

LOOK_SECONDS = 10.0
SETTLE_SECONDS = 30.0
Key = tuple[str, str, int, str]
"""Project, task, version, and what was observed."""


class DriftStarter:
    """What is due and since when, in this runner's life. `mode` is the setting `fleet.drift`."""

    def __init__(self, home: Home, mode: Literal["auto", "off"], clock: Clock = SYSTEM_CLOCK) -> None:
        self.home, self.mode, self.clock = home, mode, clock
        self.look_at = NEVER
        self.due_since: dict[Key, float] = {}
        self.started: set[Key] = set()
        self.process: subprocess.Popen[bytes] | None = None

    def tick(self, connection: sqlite3.Connection) -> bool:
        """Look now and then, and start the process where something has been due long enough; whether there is something to
        wait for."""
        now, settle = self.clock.monotonic(), settle_seconds()
        if self.mode == "off" or settle == math.inf:
            return False
        if now >= self.look_at:
            self.look_at = now + LOOK_SECONDS
            if not self._is_running():
                self._look(connection, now, settle)
        return self.process is not None or not self.started.issuperset(self.due_since)

    def _look(self, connection: sqlite3.Connection, now: float, settle: float) -> None:
        due = {
            (one.task.project_id, one.task.task, one.version.id, one.observed)
            for one in drift_states(connection)
            if one.starts_by_itself
        }
        self.due_since = {key: self.due_since.get(key, now) for key in due}
        if any(now - since >= settle for key, since in self.due_since.items() if key not in self.started):
            # The process has all checked that is due when it looks.
            self._start()
            self.started |= due

    def _start(self) -> None:
        command = [sys.executable, "-P", "-m", "core.cli", "fleet", "drift", "--stale", "--by", "runner"]
        with open(self.log, "wb", opener=private) as log:
            self.process = subprocess.Popen(
                command,
                cwd="/",
                env={**os.environ, "BAKEHOUSE_HOME": str(self.home.root)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        logger.info("What serves may have changed: it is checked for drift.")

    def _is_running(self) -> bool:
        if self.process is None:
            return False
        code = self.process.poll()
        if code is None:
            return True
        self.process = None
        if code != 0:
            said = one_line(tail(self.log, 2000).decode(errors="replace"))
            logger.warning("Checks for drift were not all queued (exit code %d): %s", code, said)
        return False

    @property
    def log(self) -> Path:
        return self.home.cache / "fleet-drift.log"


def settle_seconds() -> float:
    """How long something has to be due; `BAKEHOUSE_DRIFT_SETTLE_SECONDS` is another time in tests, `inf` never."""
    return float(os.environ.get("BAKEHOUSE_DRIFT_SETTLE_SECONDS") or SETTLE_SECONDS)
