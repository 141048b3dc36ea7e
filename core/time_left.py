"""How long a job still takes: told once its pace is known well enough to be believed, and unknown until then.

The first steps are slow (kernels are tuned, caches are cold) and say nothing of the others: they are not counted, nor is what
comes before them, such as the load of a model.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

WARM_UP = 2
"""Steps whose time is not counted."""
LEAST = 6
"""Steps that have to be counted before anything is told."""
WINDOW = 20
"""The newest steps count: a pace can change."""
TRIMMED_SHARE = 0.1
"""Of the steps that count, so many of the slowest and of the fastest are left out: one that the machine held up, say."""
WITHIN = 0.15
"""The time left is told when twice the standard error of the pace is no more than this share of it."""


class Pace:
    """The pace of a job, from how long each of its steps took.

    `step` takes in the seconds of a step and how many units of work it did; `pause` what passes between steps and recurs, such
    as an evaluation or a checkpoint.
    """

    def __init__(self, warm_up: int = WARM_UP, least: int = LEAST) -> None:
        self.warm_up, self.least = warm_up, least
        self._skipped = 0
        self._seconds_per_unit: deque[float] = deque(maxlen=WINDOW)
        self._counted_units = 0.0
        self._paused_seconds = 0.0

    def step(self, seconds: float, units: float = 1.0) -> None:
        if units <= 0 or not math.isfinite(seconds) or seconds < 0:
            return
        if self._skipped < self.warm_up:
            self._skipped += 1
            return
        self._seconds_per_unit.append(seconds / units)
        self._counted_units += units

    def pause(self, seconds: float) -> None:
        if self._skipped >= self.warm_up and math.isfinite(seconds) and seconds > 0:
            self._paused_seconds += seconds

    def left(self, units: float) -> float | None:
        """Seconds that so many more units take; None while that cannot be told, 0 when nothing is left."""
        if units <= 0:
            return 0.0
        found = self._per_unit()
        if found is None:
            return None
        mean, error = found
        return None if mean > 0 and 2 * error > WITHIN * mean else units * (mean + self._paused)

    def between(self, units: float) -> tuple[float, float] | None:
        """The least and the most seconds that so many more units take, by two standard errors of the pace: what can be told of
        an unsteady one, that of a machine with other work, say. None before there is a pace, and where the least is nothing."""
        found = self._per_unit()
        if found is None or units <= 0:
            return None
        mean, error = found
        if mean <= 2 * error:
            return None
        return units * (mean - 2 * error + self._paused), units * (mean + 2 * error + self._paused)

    @property
    def _paused(self) -> float:
        return self._paused_seconds / self._counted_units

    def _per_unit(self) -> tuple[float, float] | None:
        """Seconds of a unit and their standard error; None while too few were counted."""
        count = len(self._seconds_per_unit)
        if count < self.least:
            return None
        trimmed = max(1, int(TRIMMED_SHARE * count)) if count >= LEAST else 0
        kept = sorted(self._seconds_per_unit)[trimmed : count - trimmed]
        return statistics.fmean(kept), statistics.stdev(kept) / math.sqrt(len(kept))
