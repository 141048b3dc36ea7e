"""Ending a job in order: asked at a step boundary, then SIGINT, then SIGTERM, each with its grace.

SIGKILL ends the ladder only where it cannot leave a GPU's memory without an owner; on a GPU it is left to the person.
"""

from __future__ import annotations

import signal
import time

from core.attempt.launcher import Launcher
from core.files import write_json
from core.home import AttemptDir

LADDER = (signal.SIGINT, signal.SIGTERM)


def ask_to_stop(attempt: AttemptDir, why: str, reason: str) -> None:
    """Leave the request that a job looks for at each step; `reason` is for people."""
    attempt.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(attempt.stop_request, {"why": why, "reason": reason, "asked_at": time.time()})


class StopEscalation:
    """The signals sent so far to each attempt that is stopping."""

    def __init__(self, launcher: Launcher, grace_seconds: float) -> None:
        self.launcher = launcher
        self.grace_seconds = grace_seconds
        self.sent: dict[AttemptDir, int] = {}
        self.left_alone: set[AttemptDir] = set()
        """Those of which it was said that only a person can go on."""

    def press(self, attempt: AttemptDir, asked_at: float, *, may_kill: bool) -> str | None:
        """Send the next signal when its time has come; returns what was done, or that only a person can go on, in words.

        A runner that took over begins the ladder again at the step that the time says.
        """
        steps = (*LADDER, signal.SIGKILL) if may_kill else LADDER
        graces = int((time.time() - asked_at) // self.grace_seconds)
        due = min(graces, len(steps))
        if due <= self.sent.get(attempt, 0):
            if may_kill or graces <= len(steps) or attempt in self.left_alone:
                return None
            self.left_alone.add(attempt)
            return f"{steps[-1].name} sent, and it goes on: X, or `bakehouse queue kill`, is what is left"
        self.sent[attempt] = due
        number = steps[due - 1]
        if not self.launcher.signal(attempt, number, "runner"):
            return None
        return f"it did not stop in {due * self.grace_seconds:.0f} s: {number.name} sent"
