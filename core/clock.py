"""The time of day, and time that passes: two things, of which only the first is ever set.

A moment that is stored or shown is wall time, in Unix seconds. How long something lasted is told by the monotonic clock
alone, so that a clock that is set forward or back harms nothing. The monotonic clock stands still while the machine sleeps,
and means nothing to another boot.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    def time(self) -> float:
        """The time of day in Unix seconds."""

    def monotonic(self) -> float:
        """Seconds since some moment of this boot."""


class SystemClock:
    """The machine's own clocks."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()


NEVER = -math.inf
"""The monotonic time of what has not happened yet."""


@dataclass(frozen=True)
class Moment:
    """A moment by both clocks: `time` is shown and stored, `monotonic` is what durations are counted from."""

    time: float
    monotonic: float

    @classmethod
    def now(cls, clock: Clock) -> Moment:
        return cls(clock.time(), clock.monotonic())
