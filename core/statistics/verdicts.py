"""What may be said of a difference, by its p-value, its interval and the task's margin."""

from __future__ import annotations

import math
from typing import Literal

from core.statistics.paired import ALPHA, ROUNDING, Interval, Paired, t_test_above

Verdict = Literal["better", "worse", "no_worse", "tied"]


def no_worse_p(paired: Paired, margin: float) -> float | None:
    """One-sided p of "worse by the margin or more", by the t test; None where that can't be told.

    Where all inputs say the same, other inputs may differ, and each of those by as much as 1. To be worse by the margin they
    would have to be a share of (margin + d̄)/(1 + d̄) or more, and n inputs without one of them have the chance
    (1 − share)ⁿ (with d̄ = 0 and p = 0.05, that is the rule of three).
    """
    if paired.n > 1 and paired.all_equal and paired.mean > -margin:
        return ((1 - margin) / (1 + paired.mean)) ** paired.n
    return t_test_above(paired, -margin)


def agreeing_inputs(margin: float) -> int | None:
    """So many inputs without any difference rule out a loss of the margin: the least n with (1 − margin)ⁿ ≤ 0.05, as
    `no_worse_p` has it. None where no number does."""
    return math.ceil(math.log(ALPHA) / math.log(1 - margin)) if 0 < margin < 1 else None


def is_shown(difference: float, p_adjusted: float, margin: float) -> bool:
    """Whether a difference counts as one: significant, and at least the margin."""
    return p_adjusted <= ALPHA and abs(difference) > 0 and abs(difference) >= margin - ROUNDING


def verdict(difference: float, p_adjusted: float, interval: Interval, margin: float) -> Verdict:
    """What may be said of a challenger: better or worse by at least the margin, no worse than it, or tied."""
    if is_shown(difference, p_adjusted, margin):
        return "better" if difference > 0 else "worse"
    if interval.low is not None and interval.low > -margin:
        return "no_worse"
    return "tied"
