"""Whether a candidate is no worse than another by a margin: the one rule of the bake-off, of scripts and of a promotion.

One-sided, 95 %: a candidate that is worse by the margin is called no worse in at most 5 % of runs, whatever its differences
are distributed like. A t test does not hold that on a dozen inputs: a candidate that gains a little at most inputs and loses
everything at one in ten passes it in 28 % of runs with 12 inputs, and one that loses everything at one in twenty in 54 %,
because most runs do not see such an input (`tests/unit/test_no_worse.py` measures both). What is used of the differences
instead is that none is below −1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.statistics.paired import ALPHA, POWER, Paired

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NoWorseOutcome = Literal["pass", "fail", "cannot_tell"]
MOST_INPUTS = 2_000
"""More inputs than these are not named: nobody writes them for the sake of one comparison."""

EXACT_UP_TO = 100
"""Clusters, of which the chance is computed exactly: the work grows with their square."""


@dataclass(frozen=True)
class NoWorse:
    """What the inputs say of "no worse by the margin". Differences are candidate less incumbent, in [−1, 1].

    `pass`: no worse by the margin or more. `fail`: worse by more than the margin. `difference` is the mean over the `inputs`
    that both answered, `low` and `high` are its one-sided 95 % bounds (each by itself); None without an input. `missing`
    counts inputs with answers that are not there: whatever they were, the outcome would be this one. `needed` is the number
    of clusters (inputs, where each is its own source) of which four in five samples like these would tell; None where that is
    more than `MOST_INPUTS`, where no number would, or where the missing answers might tell alone (`missing_decides`).
    `could_differ` is the share of other inputs that may differ although none of these did (None where some did).
    """

    outcome: NoWorseOutcome
    margin: float
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    inputs: int = 0
    clusters: int = 0
    missing: int = 0
    needed: int | None = None
    missing_decides: bool = False
    could_differ: float | None = None


def no_worse(
    known: Paired | None,
    margin: float,
    *,
    least: Paired | None = None,
    most: Paired | None = None,
    missing: int = 0,
) -> NoWorse:
    """What the differences say. `margin` is in [0, 1).

    `known` are the differences over the inputs that both answered, None without one. Where answers are missing, `least` and
    `most` are the differences over all inputs with these answers as bad and as good for the candidate as they can be: what is
    missing is never assumed, and `missing` inputs have to leave the outcome as it is.
    """
    if known is None:
        return NoWorse("cannot_tell", margin, missing=missing)
    alone = _outcome(known, known, margin)
    outcome = _outcome(least or known, most or known, margin)
    equal = known.all_equal
    return NoWorse(
        outcome=outcome,
        margin=margin,
        difference=known.mean,
        low=lower_bound(known),
        high=upper_bound(known),
        p=no_worse_p(known, margin),
        inputs=known.inputs,
        clusters=known.n,
        missing=missing,
        needed=clusters_that_tell(known, margin) if alone == "cannot_tell" else None,
        missing_decides=outcome == "cannot_tell" != alone,
        could_differ=could_differ(known.n) if equal and abs(known.mean) < 1e-9 else None,
    )


def _outcome(least: Paired, most: Paired, margin: float) -> NoWorseOutcome:
    if no_worse_p(least, margin) <= ALPHA:
        return "pass"
    return "fail" if worse_p(most, margin) <= ALPHA else "cannot_tell"


def no_worse_p(paired: Paired, margin: float) -> float:
    """One-sided p of "worse by the margin or more".

    Gaffke's test for the mean of a variable with a known lower end: with D uniform on the simplex, the chance that
    Σ Dᵢ·dᵢ + D₀·(−1) ≤ −margin, in which the lower end counts as one more observation (N. Gaffke, "Three test statistics for
    a nonparametric one-sided hypothesis on the mean of a nonnegative variable", Mathematical Methods of Statistics 14, 2005;
    as a bound: E. Learned-Miller and P. Thomas, "A new confidence interval for the mean of a bounded random variable", arXiv
    1905.06208). For differences of −1 and 1 alone it is the exact binomial test of Clopper and Pearson, and where all say the
    same, d̄, it is ((1 − margin)/(1 + d̄))ⁿ: with d̄ = 0 the rule of three. That it holds its level for every distribution is
    proved for such cases and conjectured for the others; no counterexample is known, and the tests look for one.

    Clusters: the sums Sⱼ + margin·mⱼ of the clusters (of mⱼ inputs) are tested for a mean above 0; the unseen one has as many
    inputs as the largest.
    """
    return _chance(*_excess(paired, margin))


def worse_p(paired: Paired, margin: float) -> float:
    """One-sided p of "worse by no more than the margin": the same test from the other side, with 1 as the upper end."""
    excess, _ = _excess(paired, margin)
    return _chance(-excess, -(1 + margin) * _largest(paired))


def lower_bound(paired: Paired) -> float:
    """The one-sided 95 % lower bound of the mean difference: minus the least margin that `no_worse_p` would pass."""
    return _root(lambda bound: no_worse_p(paired, -bound) - ALPHA)


def upper_bound(paired: Paired) -> float:
    """The one-sided 95 % upper bound of the mean difference."""
    return -_root(lambda bound: worse_p(paired, bound) - ALPHA)


def could_differ(n: int) -> float | None:
    """The largest share of other inputs that may differ where none of n did, at 95 %: 1 − 0.05^(1/n), the exact bound of a
    binomial share (C. Clopper and E. Pearson, Biometrika 26, 1934) at no success. None for no input."""
    return 1 - ALPHA ** (1 / n) if n > 0 else None


def agreeing_inputs(margin: float) -> int | None:
    """So many inputs without any difference rule out a loss of the margin: the least n with (1 − margin)ⁿ ≤ 0.05. None where
    no number does."""
    return math.ceil(math.log(ALPHA) / math.log(1 - margin)) if 0 < margin < 1 else None


def clusters_that_tell(paired: Paired, margin: float) -> int | None:
    """The least number of clusters, above the present one, with which about 80 % of samples like this one would tell.

    The sample is spread over n clusters by its quantiles and moved towards the margin by z₀.₈·s/√n, so that four in five
    samples lie beyond. None where that is more than `MOST_INPUTS`, and where the mean is the margin itself.
    """
    import numpy as np
    from scipy.special import ndtri

    excess, end = _excess(paired, margin)
    if paired.mean < -margin:
        excess, end = -excess, -(1 + margin) * _largest(paired)
    excess.sort()
    if excess.mean() <= 1e-9:
        return None
    spread = float(excess.std(ddof=1)) if len(excess) > 1 else 0.0

    def tells(n: int) -> bool:
        like = excess[((np.arange(n) + 0.5) * len(excess) / n).astype(int)]
        like = like - like.mean() + excess.mean() - float(ndtri(POWER)) * spread / math.sqrt(n)
        return bool(_chance(np.maximum(like, end), end) <= ALPHA)

    too_few, enough = paired.n, paired.n + 1
    while enough < MOST_INPUTS and not tells(enough):
        too_few, enough = enough, min(2 * enough, MOST_INPUTS)
    if not tells(enough):
        return None
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if tells(middle) else (middle, enough)
    return enough


def _excess(paired: Paired, margin: float) -> tuple[NDArray[np.float64], float]:
    """By how much each cluster is above a loss of the margin, and the least that an unseen one can be."""
    import numpy as np

    sizes = Counter(paired.clusters)
    excess = np.array([total + margin * sizes[cluster] for cluster, total in paired.sums.items()])
    return excess, -(1 - margin) * max(sizes.values())


def _largest(paired: Paired) -> int:
    return max(Counter(paired.clusters).values())


def _chance(values: NDArray[np.float64], end: float) -> float:
    """P(Σ Dᵢ·vᵢ + D₀·end ≤ 0) for D uniform on the simplex.

    Σ D·v has the B-spline with the knots v as its density (H. Curry and I. Schoenberg, "On Pólya frequency functions IV",
    Journal d'Analyse Mathématique 17, 1966). For sorted knots the chance G to be above 0 follows from that over one knot
    less, G(i..j) = (vⱼ·G(i+1..j) − vᵢ·G(i..j−1))/(vⱼ − vᵢ), where both weights are positive (Leibniz' rule for divided
    differences): exact, and without cancellation.
    """
    import numpy as np

    if len(values) > EXACT_UP_TO:
        return _approximate_chance(np.append(values, end))
    knots = np.sort(np.append(values, end))
    above = (knots > 0).astype(float)
    for order in range(1, len(knots)):
        low, high = knots[:-order], knots[order:]
        both = (low <= 0) & (high > 0)
        width = np.where(both, high - low, 1.0)
        mixed = (high * above[1:] - low * above[:-1]) / width
        above = np.where(both, mixed, (low > 0).astype(float))
    return float(min(1.0, max(0.0, 1 - above[0])))


def _approximate_chance(values: NDArray[np.float64]) -> float:
    """The same for many values, by the saddlepoint: Σ D·v ≤ 0 just where Σ E·v ≤ 0 with independent standard exponentials E,
    whose cumulants are known (R. Lugannani and S. Rice, Advances in Applied Probability 12, 1980). At 100 values it is within
    0.006 of the exact chance, and up to 0.1 within 0.002."""
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import ndtr

    least, most = float(values.min()), float(values.max())
    if most <= 0:
        return 1.0
    # The slope of the cumulant generating function −Σ log(1 − s·v) rises from −∞ to ∞ between these ends.
    low, high = (1 - 1e-9) / least, (1 - 1e-9) / most
    at = float(brentq(lambda s: float((values / (1 - s * values)).sum()), low, high, xtol=1e-14))
    left = values / (1 - at * values)
    root = math.copysign(math.sqrt(max(0.0, 2 * float(np.log1p(-at * values).sum()))), at)
    spread = math.sqrt(float((left**2).sum()))
    if abs(root) < 1e-4:
        return float(0.5 + float((values**3).sum()) / (3 * math.sqrt(2 * math.pi) * float((values**2).sum()) ** 1.5))
    density = math.exp(-(root**2) / 2) / math.sqrt(2 * math.pi)
    return float(min(1.0, max(0.0, float(ndtr(root)) + density * (1 / root - 1 / (at * spread)))))


def _root(excess_p: Callable[[float], float]) -> float:
    """The largest bound in [−1, 1] at which a p that rises with the bound is not yet above 0, to 1e-6."""
    low, high = -1.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if excess_p(middle) <= 0 else (low, middle)
    return low
