"""Ending a job in order: asked at a step boundary, then SIGINT, then SIGTERM, each with its grace.

SIGKILL ends the escalation only where it cannot leave a GPU's memory without an owner; on a GPU it is left to the person.
"""

from __future__ import annotations

import signal
import time

from core.attempt.launcher import Launcher
from core.files import read_json, write_json
from core.home import AttemptDir
from core.reasons import Reason
from core.store.job_reasons import job_reason

ESCALATION = (signal.SIGINT, signal.SIGTERM)


def ask_to_stop(attempt: AttemptDir, why: str, reason: Reason) -> None:
    """Leave the request that a job looks for at each step: `why` is the stop reason, `reason` what is known about it."""
    attempt.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(attempt.stop_request, {"why": why, "reason": reason.to_json(), "asked_at": time.time()})


def stop_asked_for(attempt: AttemptDir, why: str) -> Reason | None:
    """What was known when an attempt was asked to stop for this stop reason; None when the request says another one."""
    request = read_json(attempt.stop_request) or {}
    if request.get("why") != why:
        return None
    return Reason.from_json(request.get("reason") or {})


class StopEscalation:
    """The signals sent so far to each attempt that is stopping."""

    def __init__(self, launcher: Launcher, grace_seconds: float) -> None:
        self.launcher = launcher
        self.grace_seconds = grace_seconds
        self.sent: dict[AttemptDir, int] = {}
        self.left_alone: set[AttemptDir] = set()
        """Those of which it was said that only a person can go on."""

    def escalate(self, attempt: AttemptDir, asked_at: float, *, may_kill: bool) -> Reason | None:
        """Send the next signal when its time has come; returns what was done, or that only a person can go on.

        A runner that took over begins again at the step that the time says.
        """
        steps = (*ESCALATION, signal.SIGKILL) if may_kill else ESCALATION
        graces = int((time.time() - asked_at) // self.grace_seconds)
        due = min(graces, len(steps))
        if due <= self.sent.get(attempt, 0):
            if may_kill or graces <= len(steps) or attempt in self.left_alone:
                return None
            self.left_alone.add(attempt)
            return job_reason("still_running", signal=steps[-1].name, job=int(attempt.path.parent.name))
        self.sent[attempt] = due
        number = steps[due - 1]
        if not self.launcher.signal(attempt, number, "runner"):
            return None
        return job_reason("signal_sent", signal=number.name, after_seconds=due * self.grace_seconds)
