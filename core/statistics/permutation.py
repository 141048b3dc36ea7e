"""The sign-flip permutation test of several differences at once, corrected by max-T."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.statistics.paired import ALPHA, ROUNDING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXACT_UP_TO = 20
FLIPS = 100_000
# Statistics of one test (differences × flips), its products (rows × clusters × flips): so many take a fraction of a second.
# A matrix has a test a task. p is valid whatever their number; with the fewest, one of 0.05 is within 0.006 of the exact one.
_MOST_EXACT = 2**22
_MOST_STATISTICS = 2**21
_MOST_PRODUCTS = 2**26
_FEWEST_FLIPS = 5_000
# Numbers of a batch, which is to stay in the processor's cache.
_BATCH = 2**18
# Multiplications in one product of matrices: for more of them BLAS starts threads, which wait for each other on a busy machine.
_PRODUCT = 2**18


@dataclass(frozen=True)
class FlipTest:
    """Two-sided p-values of several differences: `p` each by itself, `adjusted` by max-T over all.

    `least` is the smallest p-value that so many clusters can give; `exact` tells all sign patterns from random ones.
    """

    p: tuple[float, ...]
    adjusted: tuple[float, ...]
    exact: bool
    least: float


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
    weights = 1 / np.where(norms > 0, norms + (median_spread(norms) if scales is None else scales), 1.0)
    observed = weights * (np.abs(differing.sum(axis=1)) - ROUNDING * np.abs(differing).sum(axis=1))
    order = np.argsort(observed, kind="stable")
    observed, weights = observed[order, None], weights[order, None]
    ordered = None if pairs is None else pairs[order]
    exact = clusters <= EXACT_UP_TO and number * 2 ** (clusters - 1) <= _MOST_EXACT
    affordable = min(_MOST_STATISTICS // number, _MOST_PRODUCTS // (len(sums) * clusters))
    wanted = min(flips, max(_FEWEST_FLIPS, affordable))
    hits, most_hits, total = np.zeros(number, int), np.zeros(number, int), 0
    at_once = max(1, _BATCH // number)
    room = np.empty((2, number, 0 if pairs is None else min(at_once, 2 ** (clusters - 1) if exact else wanted)))
    for reached in _all_flips(sums, at_once) if exact else _random_flips(sums, wanted, at_once, seed):
        size = reached.shape[1]
        if ordered is None:
            statistics = reached[order]
        else:
            # Into arrays that are there: to ask for their memory each time takes longer than all else.
            statistics, taken = room[0, :, :size], room[1, :, :size]
            np.take(reached, ordered[:, 0], axis=0, out=statistics, mode="clip")
            np.take(reached, ordered[:, 1], axis=0, out=taken, mode="clip")
            statistics -= taken
        np.abs(statistics, out=statistics)
        statistics *= weights
        total += size
        hits += np.count_nonzero(statistics >= observed, axis=1)
        # The largest so far, row by row: what `maximum.accumulate` does, several times as fast.
        for row in range(1, number):
            np.maximum(statistics[row - 1], statistics[row], out=statistics[row])
        most_hits += np.count_nonzero(statistics >= observed, axis=1)
    extra = 0 if exact else 1
    p, adjusted = np.empty(number), np.empty(number)
    p[order] = (hits + extra) / (total + extra)
    # None has a smaller p than one that differs more.
    adjusted[order] = np.maximum.accumulate(((most_hits + extra) / (total + extra))[::-1])[::-1]
    least = least_p(clusters) if exact else 1 / (1 + total)
    return FlipTest(tuple(map(float, p)), tuple(map(float, adjusted)), exact, least)


def least_p(clusters: int) -> float:
    """The smallest p that so many clusters can give where every sign pattern is tried: 2/2ⁿ."""
    return min(1.0, math.ldexp(1.0, 1 - clusters))


def clusters_to_show(tests: int = 1) -> int:
    """How many clusters a difference needs to reach 5 % at all, by Holm over so many tests."""
    return math.ceil(math.log2(2 * tests / ALPHA))


def median_spread(norms: NDArray[np.float64]) -> float:
    """The median of those that are not 0; 0 without any."""
    import numpy as np

    some = norms[norms > 0]
    return float(np.median(some)) if some.size else 0.0


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
    at_once = min(at_once, max(64, _BATCH // clusters))
    wide = max(64, _PRODUCT // (rows * clusters))
    deep = max(1, _PRODUCT // (rows * min(wide, at_once)))
    for start in range(0, flips, at_once):
        size = min(at_once, flips - start)
        bits = np.frombuffer(generator.bytes((clusters * size + 7) // 8), np.uint8)
        signs = 2.0 * np.unpackbits(bits, count=clusters * size).reshape(clusters, size) - 1
        reached = np.zeros((rows, size))
        for left in range(0, size, wide):
            for top in range(0, clusters, deep):
                reached[:, left : left + wide] += (
                    sums[:, top : top + deep] @ signs[top : top + deep, left : left + wide]
                )
        yield reached
