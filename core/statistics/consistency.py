"""How alike the repeats of an input are.

Never a positive weight in a score: a model that is always wrong is perfectly consistent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from core.statistics.paired import LEVEL, t_quantile


@dataclass(frozen=True)
class Repeats:
    """How much a candidate's repeats vary: `deviation` is s_w (`repeatability`), `counts` the scored answers by input."""

    deviation: float
    counts: Mapping[str, int]

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the deviation."""
        return sum(count - 1 for count in self.counts.values())


def repeatability(scores: Sequence[Sequence[float]]) -> float | None:
    """s_w: the standard deviation between repeats of one input, over the inputs with at least two; None without any.

    The root of the mean of the inputs' variances, each weighted by its degrees of freedom.
    """
    repeated = [repeats for repeats in scores if len(repeats) > 1]
    if not repeated:
        return None
    degrees = sum(len(repeats) - 1 for repeats in repeated)
    return math.sqrt(math.fsum(map(_squares, repeated)) / degrees)


def _squares(values: Sequence[float]) -> float:
    """Σ(v − v̄)², exactly 0 where all are equal. `statistics.variance` works in fractions, which takes a large board half a
    second."""
    if min(values) == max(values):
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


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


def noise_floor(ours: Repeats | None, theirs: Repeats | None, inputs: Collection[str]) -> float | None:
    """The difference of two means over these inputs that repeats alone make in one run of twenty, at two equal candidates.

    t₀.₉₇₅·s_w·√(2/(n·k)) for n inputs of k repeats each, s_w pooled over both; with unequal repeats 2/(n·k) is
    Σ(1/kᵢ + 1/kᵢ′)/n². It covers what sampling does to the answers of these two models on these inputs, and neither other
    inputs nor another training. None with fewer than two repeats, and where they do not differ at all (as at temperature 0).
    """
    if ours is None or theirs is None or not inputs:
        return None
    degrees = ours.degrees + theirs.degrees
    squares = ours.degrees * ours.deviation**2 + theirs.degrees * theirs.deviation**2
    if degrees < 1 or squares <= 0:
        return None
    per_answer = math.fsum(1 / ours.counts[name] + 1 / theirs.counts[name] for name in inputs)
    return t_quantile((1 + LEVEL) / 2, degrees) * math.sqrt(squares / degrees * per_answer) / len(inputs)
