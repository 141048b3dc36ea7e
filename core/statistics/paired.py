"""What the inputs say of a candidate or of a difference, and how surely. The unit is the input: repeats are averaged first.

Inputs that come from one source document count as one cluster, and n counts clusters. For clusters of several inputs
the formulas are the cluster-robust ones (Miller, "Adding error bars to evals", arXiv 2411.00640): the mean stays the
mean over inputs, so that a difference is always that of the scores one sees. With one input a cluster they are the
plain ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

ALPHA = 0.05
LEVEL = 0.95
POWER = 0.8
# Sums of a score's fractions differ in the last bits by the order in which they are added.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Interval:
    """A confidence interval; where there is none, both ends are None and `reason` says why."""

    low: float | None
    high: float | None
    reason: str | None = None

    @property
    def estimable(self) -> bool:
        return self.low is not None


@dataclass(frozen=True)
class Paired:
    """One number an input (a score, or the difference of two candidates), with the cluster of each input."""

    values: tuple[float, ...]
    clusters: tuple[str, ...]

    @property
    def inputs(self) -> int:
        return len(self.values)

    @property
    def n(self) -> int:
        """The number of clusters: the n of every formula."""
        return len(self.sums)

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    @cached_property
    def sums(self) -> dict[str, float]:
        """The sum of each cluster, in order of appearance."""
        if len(set(self.clusters)) == len(self.clusters):
            return dict(zip(self.clusters, self.values, strict=True))
        parts: dict[str, list[float]] = {}
        for value, cluster in zip(self.values, self.clusters, strict=True):
            parts.setdefault(cluster, []).append(value)
        return {cluster: math.fsum(values) for cluster, values in parts.items()}

    @property
    def all_equal(self) -> bool:
        return max(self.values) - min(self.values) <= ROUNDING

    @cached_property
    def standard_error(self) -> float | None:
        """√(n/(n−1) · Σ over clusters of (Σ(dᵢ − d̄))²) / inputs; None for n = 1.

        With one input a cluster that is √(Σ(dᵢ − d̄)²/(n(n−1))).
        """
        if self.n < 2:
            return None
        mean = self.mean
        if self.n == self.inputs:
            squares = math.fsum([(value - mean) ** 2 for value in self.values])
        else:
            sizes = Counter(self.clusters)
            squares = math.fsum((total - sizes[cluster] * mean) ** 2 for cluster, total in self.sums.items())
        return math.sqrt(squares * self.n / (self.n - 1)) / self.inputs

    @property
    def deviation(self) -> float | None:
        """The standard deviation between clusters that the standard error implies: SE·√n."""
        error = self.standard_error
        return None if error is None else error * math.sqrt(self.n)


def of_scores(scores: Mapping[str, float], cluster_of: Mapping[str, str]) -> Paired:
    """One candidate's score by input."""
    return Paired(tuple(scores.values()), tuple(cluster_of[name] for name in scores))


def differences(ours: Mapping[str, float], theirs: Mapping[str, float], cluster_of: Mapping[str, str]) -> Paired | None:
    """dᵢ = ours − theirs over the inputs that both have, in our order; None when they share none."""
    shared = [name for name in ours if name in theirs]
    if not shared:
        return None
    return Paired(tuple(ours[name] - theirs[name] for name in shared), tuple(cluster_of[name] for name in shared))


def t_interval(paired: Paired, level: float = LEVEL) -> Interval:
    """d̄ ± t·SE with n − 1 degrees of freedom; never one of zero width."""
    error = paired.standard_error
    if error is None:
        return Interval(None, None, "interval not estimable: it needs two inputs from different sources")
    if paired.all_equal or error <= ROUNDING:
        return Interval(None, None, "interval not estimable: all inputs say the same")
    half = t_quantile((1 + level) / 2, paired.n - 1) * error
    return Interval(paired.mean - half, paired.mean + half)


def minimum_detectable_effect(deviation: float | None, n: int) -> float | None:
    """The difference that n clusters show with 80 % power at 5 %: (t₀.₉₇₅ + t₀.₈)·s/√n; None when not estimable."""
    if not deviation or n < 2:
        return None
    return _both_quantiles(n) * deviation / math.sqrt(n)


def clusters_needed(deviation: float | None, difference: float) -> int | None:
    """The least n with n ≥ (t₀.₉₇₅ + t₀.₈)²·s²/δ²: so many inputs resolve δ. None when the deviation is not known."""
    if not deviation or difference <= 0:
        return None
    ratio = (deviation / difference) ** 2
    from scipy.special import ndtri

    # The normal quantiles are below those of t: n can't be less than what they give.
    n = max(2, math.ceil((float(ndtri(1 - ALPHA / 2)) + float(ndtri(POWER))) ** 2 * ratio))
    while n < _both_quantiles(n) ** 2 * ratio:
        n += 1
    return n


def _both_quantiles(n: int) -> float:
    return t_quantile(1 - ALPHA / 2, n - 1) + t_quantile(POWER, n - 1)


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
