"""What may be said of a difference, by its p-values and the task's margin."""

from __future__ import annotations

from typing import Literal

from core.statistics.paired import ALPHA, ROUNDING

Verdict = Literal["better", "worse", "no_worse", "tied"]


def is_shown(difference: float, p_adjusted: float, margin: float) -> bool:
    """Whether a difference counts as one: significant, and at least the margin."""
    return p_adjusted <= ALPHA and abs(difference) > 0 and abs(difference) >= margin - ROUNDING


def verdict(difference: float, p_adjusted: float, p_no_worse: float, margin: float) -> Verdict:
    """What may be said of a challenger: better or worse by at least the margin, no worse than it, or tied.

    `p_no_worse` is the one-sided p of `core.statistics.no_worse`.
    """
    if is_shown(difference, p_adjusted, margin):
        return "better" if difference > 0 else "worse"
    return "no_worse" if p_no_worse <= ALPHA else "tied"
