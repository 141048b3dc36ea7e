"""Shares of inputs that pass: Wilson's interval of one, McNemar's test of two."""

from __future__ import annotations

import math
from collections.abc import Mapping

from core.statistics.paired import LEVEL, Interval


def wilson(successes: float, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share; `successes` may be a fraction, as an input's repeats are averaged."""
    if n < 1:
        return Interval(None, None, "interval not estimable: no inputs")
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and n the formula gives 0 and 1 but for rounding.
    return Interval(centre - half if successes > 0 else 0.0, centre + half if successes < n else 1.0)


def mcnemar(only_ours: int, only_theirs: int) -> float:
    """Exact two-sided p of McNemar's test: inputs that only one candidate passes fall to either with even chances."""
    discordant = only_ours + only_theirs
    if not discordant:
        return 1.0
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_ours, only_theirs), discordant, 0.5)))


def majority_test(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float | None:
    """McNemar's p of two candidates, each by the share of an input's answers that have something: an input has it where most of
    its answers do. None where no input is in both."""
    shared = [(ours[name] > 0.5, theirs[name] > 0.5) for name in ours if name in theirs]
    if not shared:
        return None
    return mcnemar(sum(a and not b for a, b in shared), sum(b and not a for a, b in shared))
