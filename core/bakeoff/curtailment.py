"""When a candidate need not be asked on: it cannot reach the incumbent any more, whatever its other answers score.

No statistics are needed for that, as scores lie in [0, 1]. What is not answered yet counts as 1 for the candidate and as 0 for
the incumbent, so that the rule is exact at any time; the margin is in it, as "no worse" allows for the margin, too. A stopped
candidate is censored: its answers until then are no sample of what it can do (`build_leaderboard`, `curtailed`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

# Means are sums of fractions, which differ in the last bits by the order in which they are added.
_ROUNDING = 1e-9

Answered = Mapping[str, Sequence[float]]
"""The scores so far by input, one a repeat; inputs without any may be left out."""


def hopeless(answered: Answered, incumbent: Answered, inputs: Collection[str], repeats: int, margin: float) -> bool:
    """Whether the best mean that is still possible is below the worst that the incumbent can end with, less the margin.

    `inputs` are all that are asked, `repeats` how often each. Scores are those of the part that leads the task's board.
    """
    best = bounds_of_mean(answered, inputs, repeats)[1]
    worst = bounds_of_mean(incumbent, inputs, repeats)[0]
    return best < worst - margin - _ROUNDING


def bounds_of_mean(answered: Answered, inputs: Collection[str], repeats: int) -> tuple[float, float]:
    """(least, greatest) mean over the inputs that is possible after all repeats; (0, 1) where nothing is planned.

    Scores of inputs that are not planned, and of more repeats than are, do not count.
    """
    planned = len(inputs) * repeats
    if planned == 0:
        return 0.0, 1.0
    known = [score for name in inputs for score in answered.get(name, ())[:repeats]]
    total = math.fsum(known)
    return total / planned, (total + planned - len(known)) / planned
