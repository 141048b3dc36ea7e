"""How alike the repeats of an input are.

Never a positive weight in a score: a model that is always wrong is perfectly consistent.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import fmean, variance


def repeatability(scores: Sequence[Sequence[float]]) -> float | None:
    """s_w: the standard deviation between repeats of one input, over the inputs with at least two; None without any.

    The root of the mean of the inputs' variances, each weighted by its degrees of freedom.
    """
    repeated = [repeats for repeats in scores if len(repeats) > 1]
    if not repeated:
        return None
    degrees = sum(len(repeats) - 1 for repeats in repeated)
    return math.sqrt(math.fsum(variance(repeats) * (len(repeats) - 1) for repeats in repeated) / degrees)


def worst_of(scores: Sequence[Sequence[float]]) -> float | None:
    """The mean over inputs of the worst repeat."""
    return fmean(min(repeats) for repeats in scores) if scores else None


def pass_hat(passes: Sequence[Sequence[bool]], k: int) -> float | None:
    """pass^k: the chance that k answers to an input all pass: the mean of C(c, k)/C(n, k) over inputs (2406.12045).

    Inputs with fewer than k answers are left out; None when none is left.
    """
    enough = [repeats for repeats in passes if len(repeats) >= k]
    if not enough:
        return None
    return fmean(math.comb(sum(repeats), k) / math.comb(len(repeats), k) for repeats in enough)


def agreement(parsed: Sequence[Sequence[Hashable]]) -> float | None:
    """The share of inputs whose repeats all have the same parsed output (TARa, arXiv 2408.04667); None: no repeats."""
    repeated = [repeats for repeats in parsed if len(repeats) > 1]
    return fmean(len(set(repeats)) == 1 for repeats in repeated) if repeated else None
