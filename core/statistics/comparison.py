"""Candidates compared in pairs over the inputs that both answered, and the set of those that can't be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.scoring.scorer import Part
from core.statistics.consistency import noise_floor
from core.statistics.input_scores import InputScores
from core.statistics.no_worse import no_worse_p
from core.statistics.paired import Interval, clusters_needed, differences, minimum_detectable_effect, t_interval
from core.statistics.permutation import FlipTest, flip_test, least_p, median_spread
from core.statistics.verdicts import Verdict, is_shown, verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The difference (on the score's own scale of 0 to 1) for which the number of further inputs is worked out.
RESOLVE = 0.10
Correction = Literal["max-T"]
Pair = tuple[InputScores, InputScores]


@dataclass(frozen=True)
class Comparison:
    """`candidate` less `against` on one part, in [−1, 1].

    `p_adjusted` holds for all that was tested together, by `correction`: against the incumbent, all challengers and parts of
    the task; `least_p` is what so many inputs can reach at best. `minimum_detectable` is the difference that they show with
    80 % power, `add_inputs` how many more would show 0.10. `missing_inputs` are golden inputs that one of the two did not
    answer. `p_no_worse` is the one-sided p of "worse by the margin or more", not adjusted.
    A difference below the `noise_floor` can come from sampling alone (None where that is not known); what training again would
    change is not in it.
    """

    candidate: str
    against: str
    part: Part
    difference: float
    interval: Interval
    p: float
    p_adjusted: float
    correction: Correction | None
    exact: bool
    least_p: float
    inputs: int
    clusters: int
    missing_inputs: int
    minimum_detectable: float | None
    add_inputs: int | None
    verdict: Verdict
    p_no_worse: float = 1.0
    noise_floor: float | None = None


@dataclass(frozen=True)
class PairedTest:
    """One pair on one part: the mean difference of the first less the second, and its p-values."""

    difference: float
    p: float
    p_adjusted: float
    exact: bool
    least_p: float


@dataclass(frozen=True)
class PairedTests:
    """Pairs of candidates tested together on all parts, by part and the two names; pairs that share no input are missing."""

    found: Mapping[tuple[Part, str, str], PairedTest]
    correction: Correction | None

    def of(self, part: Part, ours: str, theirs: str) -> PairedTest | None:
        """The test of a pair in either order."""
        return self.found.get((part, ours, theirs)) or self.found.get((part, theirs, ours))


def pair_tests(
    pairs: Sequence[Pair],
    parts: Sequence[Part],
    cluster_of: Mapping[str, str],
    among: Sequence[InputScores] = (),
) -> PairedTests:
    """The sign-flip tests of the pairs on all parts, corrected together by max-T: pairs and parts are one family.

    A cluster's sign turns all differences of that cluster at once, whoever of the pairs has them: a pair is of the inputs that
    both answered, and where candidates have answered different ones it stays in the same family. `among` are the candidates
    whose pairs say what a usual spread is (`flip_test`); by default those of the pairs.
    """
    import numpy as np

    everyone = list({scores.candidate: scores for scores in [*among, *itertools.chain(*pairs)]}.values())
    place = {scores.candidate: row for row, scores in enumerate(everyone)}
    index = np.array([(place[ours.candidate], place[theirs.candidate]) for ours, theirs in pairs], int).reshape(-1, 2)
    usual = np.array(list(itertools.combinations(range(len(among)), 2)), int).reshape(-1, 2) if among else index
    clusters = np.unique(list(cluster_of.values()), return_inverse=True)[1]
    tested: list[_Tested] = []
    for part in parts:
        table = _table(everyone, part, list(cluster_of))
        shared = ~np.isnan(table[index[:, 0]] + table[index[:, 1]])
        scale = median_spread(_norms(table, usual, clusters))
        for (ours, theirs), rows, mask in zip(pairs, index, shared, strict=True):
            if mask.any() and ours is not theirs:
                key = (part, ours.candidate, theirs.candidate)
                tested.append(_Tested(key, (table[rows[0]], table[rows[1]]), mask, scale))
    if not tested:
        return PairedTests({}, None)
    test = _test(tested, clusters)
    found = {
        one.key: PairedTest(one.difference, p, adjusted, test.exact, max(test.least, one.least(clusters)))
        for one, p, adjusted in zip(tested, test.p, test.adjusted, strict=True)
    }
    return PairedTests(found, "max-T" if len(found) > 1 else None)


@dataclass(frozen=True, eq=False)
class _Tested:
    """A pair on a part: the scores of both by input, the inputs that both answered, and the usual spread of the part's
    differences."""

    key: tuple[Part, str, str]
    scores: tuple[NDArray[np.float64], NDArray[np.float64]]
    mask: NDArray[np.bool_]
    scale: float

    @property
    def difference(self) -> float:
        return float((self.scores[0][self.mask] - self.scores[1][self.mask]).mean())

    def least(self, clusters: NDArray[np.int_]) -> float:
        """The least p of so many clusters as the pair has."""
        return least_p(len(set(clusters[self.mask].tolist())))


def _test(tested: Sequence[_Tested], clusters: NDArray[np.int_]) -> FlipTest:
    """All pairs under the same flips. One row is enough for a candidate in all its pairs that have the same inputs."""
    import numpy as np

    sides = [[(one.key[0], name, one.mask.tobytes()) for name in one.key[1:]] for one in tested]
    place = {side: row for row, side in enumerate(dict.fromkeys(itertools.chain(*sides)))}
    pairs: NDArray[np.int_] | None = None
    if len(place) <= len(tested):
        rows = np.empty((len(place), len(clusters)))
        for own, one in zip(sides, tested, strict=True):
            for side, scores in zip(own, one.scores, strict=True):
                rows[place[side]] = np.where(one.mask, scores, 0.0)
        pairs = np.array([[place[side] for side in own] for own in sides])
    else:
        rows = np.array([np.where(one.mask, one.scores[0] - one.scores[1], 0.0) for one in tested])
    used = np.unique(clusters[np.any([one.mask for one in tested], axis=0)])
    sums = _sums(rows, clusters, int(clusters.max()) + 1)[:, used]
    return flip_test(sums, pairs, np.array([one.scale for one in tested]))


def _table(everyone: Sequence[InputScores], part: Part, names: Sequence[str]) -> NDArray[np.float64]:
    """Candidates × inputs; not a number where there is no scored answer."""
    import numpy as np

    missing = float("nan")
    of_part = [scores.means(part) for scores in everyone]
    rows = [[means.get(name, missing) for name in names] for means in of_part]
    return np.array(rows, float).reshape(len(everyone), len(names))


def _sums(table: NDArray[np.float64], clusters: NDArray[np.int_], number: int) -> NDArray[np.float64]:
    """Rows × clusters: the sum of the columns (inputs) of each cluster; what is not a number counts as 0."""
    import numpy as np

    found = np.zeros((number, len(table)))
    np.add.at(found, clusters, np.nan_to_num(table).T)
    return found.T


def _norms(table: NDArray[np.float64], pairs: NDArray[np.int_], clusters: NDArray[np.int_]) -> NDArray[np.float64]:
    """The root of the sum of squares over clusters of each pair's differences."""
    import numpy as np

    sums = _sums(table[pairs[:, 0]] - table[pairs[:, 1]], clusters, int(clusters.max(initial=-1)) + 1)
    found: NDArray[np.float64] = np.sqrt((sums**2).sum(axis=1))
    return found


def compare_pairs(
    pairs: Sequence[Pair],
    parts: Sequence[Part],
    cluster_of: Mapping[str, str],
    margin: float,
    tests: PairedTests | None = None,
) -> list[Comparison]:
    """The first of each pair against the second, part by part; pairs that share no answered input are left out.

    Their p-values are those of `tests`, by default of these pairs on these parts together.
    """
    tests = pair_tests(pairs, parts, cluster_of) if tests is None else tests
    found = []
    for part in parts:
        for ours, theirs in pairs:
            one, other = ours.means(part), theirs.means(part)
            shared = [name for name in one if name in other]
            paired = differences(one, other, cluster_of)
            test = tests.of(part, ours.candidate, theirs.candidate)
            if paired is None or test is None:
                continue
            interval = t_interval(paired)
            p_no_worse = no_worse_p(paired, margin)
            needed = clusters_needed(paired.deviation, RESOLVE)
            found.append(
                Comparison(
                    candidate=ours.candidate,
                    against=theirs.candidate,
                    part=part,
                    difference=paired.mean,
                    interval=interval,
                    p=test.p,
                    p_adjusted=test.p_adjusted,
                    correction=tests.correction,
                    exact=test.exact,
                    least_p=test.least_p,
                    inputs=paired.inputs,
                    clusters=paired.n,
                    missing_inputs=len(cluster_of) - paired.inputs,
                    minimum_detectable=minimum_detectable_effect(paired.deviation, paired.n),
                    add_inputs=None if needed is None or not interval.estimable else max(0, needed - paired.n),
                    verdict=verdict(paired.mean, test.p_adjusted, p_no_worse, margin),
                    p_no_worse=p_no_worse,
                    noise_floor=noise_floor(ours.repeats(part), theirs.repeats(part), shared),
                )
            )
    return found


@dataclass(frozen=True)
class TiedSet:
    """`members`: who is not shown to be worse than another candidate, in rank order.

    `ties` are the comparisons with the highest mean of each part, among those that were still in at that part.
    """

    members: tuple[str, ...]
    ties: tuple[Comparison, ...]
    tests: PairedTests


def tied_set(
    ranked: Sequence[InputScores], parts: Sequence[Part], cluster_of: Mapping[str, str], margin: float
) -> TiedSet:
    """Who can't be told from the best.

    All pairs are tested on all parts in one family, so that at most one run in twenty excludes anyone who is as good as the
    best. (Compared with whoever is best by the same data, one of seven equal candidates is excluded in 11 % of runs.) Part by
    part, format then content: whoever is worse than another that is still in, by at least the margin, is out.
    """
    tests = pair_tests(list(itertools.combinations(ranked, 2)), parts, cluster_of)
    left = list(ranked)
    ties: list[Comparison] = []
    for part in parts:
        left = [scores for scores in left if scores.means(part)]
        if not left:
            break
        first = max(left, key=lambda scores: scores.mean(part) or 0.0)
        pairs = [(scores, first) for scores in left if scores is not first]
        ties += compare_pairs(pairs, [part], cluster_of, margin, tests)
        out = _beaten(left, tests, part, margin)
        if len(out) == len(left):
            # Over different inputs the differences can go round in a circle.
            out = _beaten([first], tests, part, margin, left)
        left = [scores for scores in left if scores.candidate not in out]
    return TiedSet(tuple(scores.candidate for scores in left), tuple(ties), tests)


def _beaten(
    winners: Sequence[InputScores],
    tests: PairedTests,
    part: Part,
    margin: float,
    losers: Sequence[InputScores] | None = None,
) -> Collection[str]:
    """Who of the losers (by default the winners themselves) is shown to be worse than one of the winners."""
    names = {scores.candidate for scores in winners}
    others = names if losers is None else {scores.candidate for scores in losers}
    out: set[str] = set()
    for (of_part, ours, theirs), test in tests.found.items():
        if of_part == part and is_shown(test.difference, test.p_adjusted, margin):
            winner, loser = (ours, theirs) if test.difference > 0 else (theirs, ours)
            if winner in names and loser in others:
                out.add(loser)
    return out
