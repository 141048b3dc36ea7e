"""What a bake-off's answers so far say of how long answers are, and how fast: the fit behind `jobs.bakeoff.pace`.

A candidate's mean tokens in a task are taken as length(task) · verbosity(candidate), by weighted least squares of the
logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

USUAL_VARIATION = 0.5
"""Standard deviation of the tokens of a task's answers over their mean, before enough were seen."""
NEW_TO_TASK = 0.12
"""Standard deviation by which the product misses the mean of a candidate in a task, as a share."""
VERBOSITY_SPREAD = 0.7
"""Standard deviation of the logarithm of how verbose candidates are."""
FIT_ROUNDS = 8


@dataclass
class PaceCell:
    """What a candidate has answered in a task. `open` is what is still wanted of it, `group` how many it last gave together."""

    open: int
    count: int = 0
    tokens: float = 0.0
    squares: float = 0.0
    group: int = 1
    seen: list[int] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return self.tokens / self.count


@dataclass
class PaceRates:
    """What a candidate took: seconds over work, which is steps times size to the power of p."""

    groups: list[tuple[float, int, int]] = field(default_factory=list)
    """(seconds, steps, size) of the newest groups of several answers."""
    seconds: float = 0.0
    steps: float = 0.0
    """Of answers that came alone."""


def seconds_a_step(rates: PaceRates, exponent: float) -> float:
    """Seconds a step of one answer."""
    seconds = rates.seconds + sum(took for took, _, _ in rates.groups)
    work = rates.steps + sum(steps * math.pow(size, exponent) for _, steps, size in rates.groups)
    return seconds / work


def fitted_lengths(
    cells: Mapping[str, Mapping[str, PaceCell]], warm: Sequence[str], variation: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean tokens as length(task) · verbosity(candidate): weighted least squares of their logarithms, each cell weighing as the
    inverse of its variance."""
    known = [
        (who, task, math.log(cell.mean), 1.0 / (variation**2 / cell.count + NEW_TO_TASK**2))
        for who in warm
        for task, cell in cells[who].items()
        if cell.count
    ]
    verbosity, length = dict.fromkeys(warm, 0.0), dict.fromkeys((task for _, task, _, _ in known), 0.0)
    for _ in range(FIT_ROUNDS):
        sums = {task: [0.0, 0.0] for task in length}
        for who, task, mean, weight in known:
            sums[task][0] += weight * (mean - verbosity[who])
            sums[task][1] += weight
        length = {task: total / weight for task, (total, weight) in sums.items()}
        sums = {who: [0.0, 1.0 / VERBOSITY_SPREAD**2] for who in warm}
        for who, task, mean, weight in known:
            sums[who][0] += weight * (mean - length[task])
            sums[who][1] += weight
        verbosity = {who: total / weight for who, (total, weight) in sums.items()}
    return (
        {task: math.exp(value) for task, value in length.items()},
        {who: math.exp(value) for who, value in verbosity.items()},
    )


def pooled_variation(cells: Mapping[str, Mapping[str, PaceCell]], warm: Sequence[str]) -> float:
    """Standard deviation of tokens within cells over their means, pooled; the usual one weighs as four answers."""
    total, weight = 4 * USUAL_VARIATION**2, 4.0
    for who in warm:
        for cell in cells[who].values():
            if cell.count > 1:
                variance = max(0.0, cell.squares / cell.count - cell.mean**2)
                total += cell.count * variance / cell.mean**2
                weight += cell.count - 1
    return math.sqrt(total / weight)
