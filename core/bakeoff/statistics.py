"""The statistics of a bake-off on a small golden set. The unit is the input: repeats are averaged before anything else.

Inputs that come from one source document count as one cluster, and n counts clusters. For clusters of several inputs
the formulas are the cluster-robust ones (Miller, "Adding error bars to evals", arXiv 2411.00640): the mean stays the
mean over inputs, so that a difference is always that of the scores one sees. With one input a cluster they are the
plain ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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

    @cached_property
    def standard_error(self) -> float | None:
        """√(n/(n−1) · Σ over clusters of (Σ(dᵢ − d̄))²) / inputs; None for n = 1.

        With one input a cluster that is √(Σ(dᵢ − d̄)²/(n(n−1))).
        """
        if self.n < 2:
            return None
        mean = self.mean
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
    if paired.all_equal or error <= _ROUNDING:
        return Interval(None, None, "interval not estimable: all inputs say the same")
    half = t_quantile((1 + level) / 2, paired.n - 1) * error
    return Interval(paired.mean - half, paired.mean + half)


@dataclass(frozen=True)
class FlipTest:
    """Two-sided p-values of several differences: `p` each by itself, `adjusted` by max-T over all.

    `least` is the smallest p-value that so many clusters can give; `exact` tells all sign patterns from random ones.
    """

    p: tuple[float, ...]
    adjusted: tuple[float, ...]
    exact: bool
    least: float


def sign_flip(challengers: Sequence[Paired], *, flips: int = FLIPS, seed: int = 0) -> FlipTest:
    """The sign-flip permutation test of d̄ = 0, with the same flips for all challengers; see `flip_test`."""
    import numpy as np

    names = list(dict.fromkeys(cluster for paired in challengers for cluster in paired.sums))
    sums = np.array([[paired.sums.get(name, 0.0) for name in names] for paired in challengers])
    return flip_test(sums, flips=flips, seed=seed)


def flip_test(
    sums: NDArray[np.float64],
    pairs: NDArray[np.int_] | None = None,
    scales: NDArray[np.float64] | None = None,
    *,
    flips: int = FLIPS,
    seed: int = 0,
) -> FlipTest:
    """The sign-flip permutation test of no difference, for each row of `sums` (differences × clusters).

    With `pairs` (differences × 2) the rows of `sums` are scores, and a difference is the one row less the other.

    Exact over the 2ⁿ signs up to 20 clusters (fewer for many differences); above that up to `flips` random ones from `seed`,
    with p = (1 + hits)/(1 + flips). The statistic is |Σ| / (r + s), r the root of a difference's sum of squares, s its entry in
    `scales` (by default the median of all r, as in Tusher, Tibshirani and Chu 2001). Both stay the same under every flip, so
    that a difference by itself is tested by |d̄|. Among several, r keeps an erratic one from hiding what a steady one shows,
    as a t statistic would, and s keeps those that are steady by luck from the same, as d̄ would. The adjusted p compares the
    statistic with the largest under the same flip, among those that do not differ more than this one does (max-T, step-down:
    Westfall and Young 1993); the largest is compared with all.
    """
    import numpy as np

    differing = sums if pairs is None else sums[pairs[:, 0]] - sums[pairs[:, 1]]
    number, clusters = differing.shape
    norms = np.sqrt((differing**2).sum(axis=1))
    weights = 1 / np.where(norms > 0, norms + (typical(norms) if scales is None else scales), 1.0)
    observed = weights * (np.abs(differing.sum(axis=1)) - _ROUNDING * np.abs(differing).sum(axis=1))
    order = np.argsort(observed, kind="stable")
    observed, weights = observed[order, None], weights[order, None]
    ordered = None if pairs is None else pairs[order]
    exact = clusters <= EXACT_UP_TO and number * 2 ** (clusters - 1) <= _MOST_STATISTICS
    wanted = max(_FEWEST_FLIPS, min(flips, _MOST_STATISTICS // number, _MOST_SIGNS // clusters))
    hits, most_hits, total = np.zeros(number, int), np.zeros(number, int), 0
    at_once = max(1, _BATCH // number)
    for reached in _all_flips(sums, at_once) if exact else _random_flips(sums, min(flips, wanted), at_once, seed):
        means = reached[order] if ordered is None else reached[ordered[:, 0]] - reached[ordered[:, 1]]
        statistics = weights * np.abs(means)
        total += statistics.shape[1]
        hits += np.count_nonzero(statistics >= observed, axis=1)
        np.maximum.accumulate(statistics, axis=0, out=statistics)
        most_hits += np.count_nonzero(statistics >= observed, axis=1)
    extra = 0 if exact else 1
    p, adjusted = np.empty(number), np.empty(number)
    p[order] = (hits + extra) / (total + extra)
    # None has a smaller p than one that differs more.
    adjusted[order] = np.maximum.accumulate(((most_hits + extra) / (total + extra))[::-1])[::-1]
    least = 2 / 2**clusters if exact else 1 / (1 + total)
    return FlipTest(tuple(map(float, p)), tuple(map(float, adjusted)), exact, min(1.0, least))


def typical(norms: NDArray[np.float64]) -> float:
    """The median of those that are not 0; 0 without any."""
    import numpy as np

    some = norms[norms > 0]
    return float(np.median(some)) if some.size else 0.0


# Statistics in one test (differences × flips) and signs in one (clusters × flips): so many take a fraction of a second.
_MOST_STATISTICS = 2**22
_MOST_SIGNS = 5_000_000
_FEWEST_FLIPS = 10_000
# Numbers of a batch, which is to stay in the processor's cache.
_BATCH = 2**17
# Multiplications in one product of matrices: for more of them BLAS starts threads, which wait for each other on a busy machine.
_PRODUCT = 2**18


def _all_flips(sums: NDArray[np.float64], at_once: int) -> Iterator[NDArray[np.float64]]:
    """Σ ± sums of each row under every sign pattern; the first sign is held, as the mirrored half differs in its sign alone."""
    import numpy as np

    clusters = sums.shape[1]
    together = 1
    reached = sums[:, :1]
    while together < clusters and 2 * reached.shape[1] <= at_once:
        column = sums[:, together, None]
        reached = np.concatenate([reached + column, reached - column], axis=1)
        together += 1
    for pattern in range(2 ** (clusters - together)):
        signs = [1 - 2 * (pattern >> place & 1) for place in range(clusters - together)]
        yield reached + (sums[:, together:] * signs).sum(axis=1)[:, None]


def _random_flips(sums: NDArray[np.float64], flips: int, at_once: int, seed: int) -> Iterator[NDArray[np.float64]]:
    import numpy as np

    generator = np.random.default_rng(seed)
    rows, clusters = sums.shape
    at_once = min(at_once, max(64, _PRODUCT // (rows * clusters)))
    deep = max(1, _PRODUCT // (rows * at_once))
    for start in range(0, flips, at_once):
        size = min(at_once, flips - start)
        bits = np.frombuffer(generator.bytes((clusters * size + 7) // 8), np.uint8)
        signs = 2.0 * np.unpackbits(bits, count=clusters * size).reshape(clusters, size) - 1
        reached = sums[:, :deep] @ signs[:deep]
        for first in range(deep, clusters, deep):
            reached += sums[:, first : first + deep] @ signs[first : first + deep]
        yield reached


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


def no_worse_p(paired: Paired, margin: float) -> float | None:
    """One-sided p of "worse by the margin or more", by the t test; None where that can't be told.

    Where all inputs say the same, other inputs may differ, and each of those by as much as 1. To be worse by the margin they
    would have to be a share of (margin + d̄)/(1 + d̄) or more, and n inputs without one of them have the chance
    (1 − share)ⁿ (with d̄ = 0 and p = 0.05, that is the rule of three).
    """
    if paired.n > 1 and paired.all_equal and paired.mean > -margin:
        return ((1 - margin) / (1 + paired.mean)) ** paired.n
    return t_test_above(paired, -margin)


def is_shown(difference: float, p_adjusted: float, margin: float) -> bool:
    """Whether a difference counts as one: significant, and at least the margin."""
    return p_adjusted <= ALPHA and abs(difference) > 0 and abs(difference) >= margin - _ROUNDING


def verdict(difference: float, p_adjusted: float, interval: Interval, margin: float) -> Verdict:
    """What may be said of a challenger: better or worse by at least the margin, no worse than it, or tied."""
    if is_shown(difference, p_adjusted, margin):
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
    return t_quantile(1 - ALPHA / 2, n - 1) + t_quantile(POWER, n - 1)


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
