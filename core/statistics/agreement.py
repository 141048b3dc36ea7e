"""How far two raters agree, beyond what chance would give: Cohen's kappa, with an interval whose unit is the input.

Kappa (Cohen, Educ. Psychol. Meas. 20:37, 1960) and not Gwet's AC1, which was made for skewed margins: of mostly good answers a
judge that calls all of them good has a high AC1 and a kappa of 0, and that a judge tells good from bad is what is asked here.
The price is an interval that is wide where nearly all answers are alike, and that is the truth of such a sample. Ratings that
can be exchanged (one rater asked twice) have one margin, the pooled one: Scott's pi (Public Opin. Q. 19:321, 1955).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.statistics.paired import ALPHA, LEVEL, ROUNDING, Interval, t_quantile
from core.statistics.proportions import wilson

LEAST_CLUSTERS = 8
"""With fewer the interval of kappa does not hold its level (simulated)."""
_NEAREST_ONE = 0.999

Table = Mapping[tuple[Hashable, Hashable], float]
"""How often the two said what."""


@dataclass(frozen=True)
class RaterAgreement:
    """Two ratings of the same things: `pairs` of them, from so many `clusters`.

    `share` is how often both said the same, in [0, 1], its interval Wilson's over clusters. `kappa` is in [−1, 1], 0 where they
    agree as often as chance would have them; None where both say one and the same of everything, which tells nothing.
    `perfect_p`: where they agree on all, how likely a guess with the same margin is to do so; else None.
    """

    pairs: int
    clusters: int
    share: float | None
    share_interval: Interval
    kappa: float | None
    kappa_interval: Interval
    perfect_p: float | None = None

    @property
    def beyond_chance(self) -> bool | None:
        """Whether more than chance is shown; None where the ratings cannot tell, False where chance does as well or better."""
        if self.kappa is None or self.clusters < LEAST_CLUSTERS:
            return None
        if self.kappa <= ROUNDING:
            return False
        if self.perfect_p is not None:
            return True if self.perfect_p <= ALPHA / 2 else None
        low = self.kappa_interval.low
        return True if low is not None and low > 0 else None


def rater_agreement(
    pairs: Sequence[tuple[Hashable, Hashable]], clusters: Sequence[str], *, exchangeable: bool = False
) -> RaterAgreement:
    """The agreement over pairs of ratings, each with the cluster that it is of. `exchangeable`: either could be the first.

    The interval of kappa is a jackknife that leaves out one cluster after the other (Efron & Stein, Ann. Stat. 9:586, 1981), on
    the scale of Fisher's z and with n − 1 degrees of freedom for n clusters.
    """
    tables: dict[str, Counter[tuple[Hashable, Hashable]]] = {}
    for (one, other), cluster in zip(pairs, clusters, strict=True):
        table = tables.setdefault(cluster, Counter())
        table[one, other] += 1
        if exchangeable:
            table[other, one] += 1
    whole: Counter[tuple[Hashable, Hashable]] = Counter()
    for table in tables.values():
        whole.update(table)
    n = len(tables)
    if not n:
        nothing = Interval(None, None, "interval not estimable: nothing was rated twice")
        return RaterAgreement(0, 0, None, nothing, None, nothing)
    share = _share(whole)
    kappa = _kappa(whole)
    interval = _interval(kappa, whole, tables.values())
    perfect = None if kappa is None or kappa < 1 - ROUNDING else _perfect_p(whole, n)
    return RaterAgreement(len(pairs), n, share, wilson(share * n, n), kappa, interval, perfect)


def _perfect_p(table: Table, n: int) -> float:
    """1 over the number of ways in which n ratings can be in the order that they are in, with the margin that they have."""
    total = sum(table.values())
    return math.exp(math.fsum(math.lgamma(n * count / total + 1) for count in table.values()) - math.lgamma(n + 1))


def _share(table: Table) -> float:
    return sum(count for (one, other), count in table.items() if one == other) / sum(table.values())


def _kappa(table: Table) -> float | None:
    """(pₒ − pₑ)/(1 − pₑ); None where pₑ is 1: both say one thing of everything."""
    total = sum(table.values())
    ours: dict[Hashable, float] = {}
    theirs: dict[Hashable, float] = {}
    for (one, other), count in table.items():
        ours[one] = ours.get(one, 0) + count
        theirs[other] = theirs.get(other, 0) + count
    by_chance = math.fsum(count * theirs.get(word, 0) for word, count in ours.items()) / total**2
    if by_chance >= 1 - ROUNDING:
        return None
    return (_share(table) - by_chance) / (1 - by_chance)


def _interval(kappa: float | None, whole: Table, tables: Iterable[Table]) -> Interval:
    parts = list(tables)
    n = len(parts)
    if kappa is None:
        return Interval(None, None, "interval not estimable: both say the same of all")
    if n < LEAST_CLUSTERS:
        return Interval(None, None, f"interval not estimable: it needs {LEAST_CLUSTERS} inputs from different sources")
    if kappa >= 1 - ROUNDING:
        return Interval(None, None, "interval not estimable: no disagreement was seen")
    left: list[float] = []
    for part in parts:
        rest = Counter(whole)
        rest.subtract(part)
        without = _kappa(+rest)
        if without is None:
            return Interval(None, None, "interval not estimable: it rests on a single source")
        left.append(without)
    mean = math.fsum(left) / n
    error = math.sqrt((n - 1) / n * math.fsum((value - mean) ** 2 for value in left))
    if error <= ROUNDING:
        return Interval(None, None, "interval not estimable: all sources say the same")
    held = max(-_NEAREST_ONE, min(_NEAREST_ONE, kappa))
    half = t_quantile((1 + LEVEL) / 2, n - 1) * error / (1 - held**2)
    return Interval(math.tanh(math.atanh(held) - half), math.tanh(math.atanh(held) + half))
