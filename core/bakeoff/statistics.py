"""The statistics of a bake-off on a small golden set. The unit is the input: repeats are averaged before anything else.

Inputs that come from one source document count as one cluster, and n counts clusters. For clusters of several inputs
the formulas are the cluster-robust ones (Miller, "Adding error bars to evals", arXiv 2411.00640): the mean stays the
mean over inputs, so that a difference is always that of the scores one sees. With one input a cluster they are the
plain ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALPHA = 0.05
LEVEL = 0.95
POWER = 0.8
EXACT_UP_TO = 20
FLIPS = 100_000
# Sums of a score's fractions differ in the last bits by the order in which they are added.
_ROUNDING = 1e-9

Verdict = Literal["better", "worse", "no_worse", "tied"]


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
        parts: dict[str, list[float]] = {}
        for value, cluster in zip(self.values, self.clusters, strict=True):
            parts.setdefault(cluster, []).append(value)
        return {cluster: math.fsum(values) for cluster, values in parts.items()}

    @property
    def all_equal(self) -> bool:
        return max(self.values) - min(self.values) <= _ROUNDING

    @property
    def standard_error(self) -> float | None:
        """√(n/(n−1) · Σ over clusters of (Σ(dᵢ − d̄))²) / inputs; None for n = 1.

        With one input a cluster that is √(Σ(dᵢ − d̄)²/(n(n−1))).
        """
        if self.n < 2:
            return None
        mean = self.mean
        sizes = {cluster: self.clusters.count(cluster) for cluster in self.sums}
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
    if paired.all_equal or error <= _ROUNDING:
        return Interval(None, None, "interval not estimable: all inputs say the same")
    half = _t_quantile((1 + level) / 2, paired.n - 1) * error
    return Interval(paired.mean - half, paired.mean + half)


@dataclass(frozen=True)
class FlipTest:
    """Two-sided p-values of challengers against one incumbent: `p` each by itself, `adjusted` by max-T over all.

    `least` is the smallest p-value that so many clusters can give; `exact` tells all sign patterns from random ones.
    """

    p: tuple[float, ...]
    adjusted: tuple[float, ...]
    exact: bool
    least: float


def sign_flip(challengers: Sequence[Paired], *, flips: int = FLIPS, seed: int = 0) -> FlipTest:
    """The sign-flip permutation test of d̄ = 0, with the same flips for all challengers.

    Exact over the 2ⁿ signs up to 20 clusters; above that `flips` random ones from `seed`, with p = (1 + hits)/(1 + flips).
    The adjusted p compares |d̄| with the largest |d̄| under the same flip, among the challengers that do not differ more
    than this one does (max-T, step-down: Westfall and Young 1993). The largest difference is compared with all; without
    stepping down, one hopeless challenger would make all the others look alike.
    """
    import numpy as np

    names = list(dict.fromkeys(cluster for paired in challengers for cluster in paired.sums))
    sums = np.array([[paired.sums.get(name, 0.0) for name in names] for paired in challengers])
    sums /= np.array([[paired.inputs] for paired in challengers])
    observed = np.abs(sums.sum(axis=1)) - _ROUNDING * np.abs(sums).sum(axis=1)
    order = np.argsort(-observed, kind="stable")
    exact = len(names) <= EXACT_UP_TO
    hits = np.zeros(len(challengers))
    most_hits = np.zeros(len(challengers))
    total = 0
    batches: Iterable[NDArray[np.float64]] = _all_flips(sums) if exact else _random_flips(sums, flips, seed)
    for statistics in batches:
        total += statistics.shape[1]
        hits += (statistics >= observed[:, None]).sum(axis=1)
        largest = np.maximum.accumulate(statistics[order[::-1]], axis=0)[::-1]
        most_hits[order] += (largest >= observed[order, None]).sum(axis=1)
    least = 2 / 2 ** len(names) if exact else 1 / (1 + flips)
    extra = 0 if exact else 1
    p = (hits + extra) / (total + extra)
    adjusted = (most_hits + extra) / (total + extra)
    adjusted[order] = np.maximum.accumulate(adjusted[order])
    return FlipTest(tuple(map(float, p)), tuple(map(float, adjusted)), exact, min(1.0, least))


def _all_flips(sums: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """|Σ ± sums| of each row under every sign pattern; the first sign is held, as the mirrored half is the same."""
    import numpy as np

    reached = sums[:, :1]
    for column in sums.T[1:]:
        reached = np.concatenate([reached + column[:, None], reached - column[:, None]], axis=1)
    return [np.abs(reached)]


def _random_flips(sums: NDArray[np.float64], flips: int, seed: int) -> Iterator[NDArray[np.float64]]:
    import numpy as np

    generator = np.random.default_rng(seed)
    sizes = [min(10_000, flips - start) for start in range(0, flips, 10_000)]
    for size in sizes:
        yield np.abs(sums @ (2.0 * generator.integers(0, 2, size=(sums.shape[1], size)) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given: for challengers that were not asked the same inputs."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def holm_over_groups(groups: Sequence[Sequence[float]]) -> list[list[float]]:
    """p-values that hold over several groups (tasks), from those that a step-down test adjusted within each of them.

    A p-value is multiplied by the number of groups that still have a hypothesis, beginning with the smallest; groups of one
    make this Holm's procedure. Valid whatever the dependence, as the groups that hold true hypotheses share the level
    (the sequential rejection principle: Goeman and Solari, Annals of Statistics 38, 2010).
    """
    adjusted = [[1.0] * len(group) for group in groups]
    waiting = {index: sorted(range(len(group)), key=group.__getitem__) for index, group in enumerate(groups) if group}
    highest = 0.0
    while waiting:
        index = min(waiting, key=lambda index: groups[index][waiting[index][0]])
        first = waiting[index].pop(0)
        highest = max(highest, min(1.0, len(waiting) * groups[index][first]))
        adjusted[index][first] = highest
        if not waiting[index]:
            del waiting[index]
    return adjusted


def t_test_above(paired: Paired, bound: float) -> float | None:
    """One-sided p of d ≤ bound by the t test; None where no interval is estimable.

    It is below 0.025 just where `t_interval` at 95 % lies above the bound.
    """
    error = paired.standard_error
    if error is None or not t_interval(paired).estimable:
        return None
    from scipy.special import stdtr

    return float(stdtr(paired.n - 1, (bound - paired.mean) / error))


def verdict(difference: float, p_adjusted: float, interval: Interval, margin: float) -> Verdict:
    """What may be said of a challenger: better or worse by at least the margin, no worse than it, or tied."""
    if p_adjusted <= ALPHA and abs(difference) > 0 and abs(difference) >= margin - _ROUNDING:
        return "better" if difference > 0 else "worse"
    if interval.low is not None and interval.low > -margin:
        return "no_worse"
    return "tied"


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
    return _t_quantile(1 - ALPHA / 2, n - 1) + _t_quantile(POWER, n - 1)


def _t_quantile(probability: float, degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
