"""Ending a job in order: asked at a step boundary, then SIGINT, then SIGTERM, each with its grace.

SIGKILL ends the escalation only where it cannot leave a GPU's memory without an owner; on a GPU it is left to the person.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Collection
from dataclasses import dataclass

from core.attempt.launcher import Launcher
from core.clock import SYSTEM_CLOCK, Clock
from core.files import read_json, read_lines, write_json
from core.home import AttemptDir
from core.reasons import Reason
from core.store.job_reasons import job_reason

ESCALATION = (signal.SIGINT, signal.SIGTERM)
RUNNER = "runner"
"""The author of the signals that are sent here."""
MOST_BETWEEN_LOOKS_SECONDS = 5.0
"""A runner looks several times a second. When more time passed between two looks it was itself stopped, and watched no more."""


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


@dataclass
class StopWatch:
    """One attempt that is stopping, as this runner has watched it. `rung` counts the signals that were sent."""

    rung: int
    looked_at: float
    watched_seconds: float = 0.0
    told: bool = False
    """That only a person can go on has been said."""


class StopEscalation:
    """Sends each attempt that is stopping its next signal, once a runner has watched a whole grace pass.

    Only watched time counts: not the time of a suspended machine, nor of an absent runner, nor what a clock jumped over. So the
    first signal that a job gets is always SIGINT, and each signal has its grace, however late a runner comes. Signals that a
    former runner sent are known from the attempt's `signals.jsonl`.
    """

    def __init__(self, launcher: Launcher, grace_seconds: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self.launcher = launcher
        self.grace_seconds = grace_seconds
        self.clock = clock
        self.watched: dict[AttemptDir, StopWatch] = {}

    def escalate(self, attempt: AttemptDir, *, may_kill: bool) -> Reason | None:
        """Look at an attempt that is stopping; returns the signal that was sent, or that only a person can go on."""
        now = self.clock.monotonic()
        entry = self.watched.get(attempt)
        if entry is None:
            self.watched[attempt] = StopWatch(signals_sent(attempt), now)
            return None
        entry.watched_seconds += min(now - entry.looked_at, MOST_BETWEEN_LOOKS_SECONDS)
        entry.looked_at = now
        if entry.watched_seconds < self.grace_seconds:
            return None
        steps = (*ESCALATION, signal.SIGKILL) if may_kill else ESCALATION
        if entry.rung >= len(steps):
            if may_kill or entry.told:
                return None
            entry.told = True
            return job_reason("still_running", signal=steps[-1].name, job=int(attempt.path.parent.name))
        number = steps[entry.rung]
        entry.rung, entry.watched_seconds = entry.rung + 1, 0.0
        if not self.launcher.signal(attempt, number, RUNNER):
            return None
        return job_reason("signal_sent", signal=number.name, after_seconds=entry.rung * self.grace_seconds)

    def forget(self, stopping: Collection[AttemptDir]) -> None:
        """Keep only what is still stopping."""
        self.watched = {attempt: entry for attempt, entry in self.watched.items() if attempt in stopping}


def signals_sent(attempt: AttemptDir) -> int:
    """How many rungs a former runner has gone: up to the last of its signals that stands in `signals.jsonl`."""
    names = [line.get("signal") for line, _ in read_lines(attempt.signals) if line.get("by") == RUNNER]
    steps = [number.name for number in (*ESCALATION, signal.SIGKILL)]
    return max((steps.index(name) + 1 for name in names if name in steps), default=0)
