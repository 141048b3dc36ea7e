"""Candidates compared in pairs over the inputs that both answered, and the set of those that can't be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.bakeoff.scored_answers import ScoredAnswers
from core.bakeoff.scoring import Part
from core.bakeoff.statistics import (
    Interval,
    Paired,
    Verdict,
    clusters_needed,
    differences,
    holm,
    minimum_detectable_effect,
    sign_flip,
    t_interval,
    t_test_above,
    verdict,
)

# The difference (on the score's own scale of 0 to 1) for which the number of further inputs is worked out.
RESOLVE = 0.10


@dataclass(frozen=True)
class Comparison:
    """`candidate` less `against` on one part, in [−1, 1].

    `p_adjusted` holds for all challengers of `against` together, by `correction`; `least_p` is what so many inputs can
    reach at best. `minimum_detectable` is the difference that they show with 80 % power, `add_inputs` how many more
    would show 0.10. `missing_inputs` are golden inputs that one of the two did not answer.
    """

    candidate: str
    against: str
    part: Part
    difference: float
    interval: Interval
    p: float
    p_adjusted: float
    correction: Literal["max-T", "Holm"] | None
    exact: bool
    least_p: float
    inputs: int
    clusters: int
    missing_inputs: int
    minimum_detectable: float | None
    add_inputs: int | None
    verdict: Verdict
    p_no_worse: float | None = None
    """One-sided p of "worse by the margin or more", not adjusted; None where no interval is estimable."""


def compare(
    against: ScoredAnswers,
    challengers: Sequence[ScoredAnswers],
    part: Part,
    cluster_of: Mapping[str, str],
    margin: float,
) -> list[Comparison]:
    """Each challenger against one candidate; those that share no answered input with it are left out."""
    base = against.means(part)
    pairs: list[tuple[ScoredAnswers, Paired]] = []
    for challenger in challengers:
        paired = differences(challenger.means(part), base, cluster_of)
        if paired is not None:
            pairs.append((challenger, paired))
    if not pairs:
        return []
    correction: Literal["max-T", "Holm"] | None = None
    asked = [frozenset(challenger.means(part)) & frozenset(base) for challenger, _ in pairs]
    if len(set(asked)) == 1:
        test = sign_flip([paired for _, paired in pairs])
        tests = [(test.p[i], test.adjusted[i], test.exact, test.least) for i in range(len(pairs))]
        correction = "max-T" if len(pairs) > 1 else None
    else:
        # ScoredAnswers are missing: the same flips for all would be over different inputs.
        single = [sign_flip([paired]) for _, paired in pairs]
        adjusted = holm([test.p[0] for test in single])
        tests = [(test.p[0], p, test.exact, test.least) for test, p in zip(single, adjusted, strict=True)]
        correction = "Holm"
    found = []
    for (challenger, paired), (p, p_adjusted, exact, least) in zip(pairs, tests, strict=True):
        interval = t_interval(paired)
        needed = clusters_needed(paired.deviation, RESOLVE)
        found.append(
            Comparison(
                candidate=challenger.candidate,
                against=against.candidate,
                part=part,
                difference=paired.mean,
                interval=interval,
                p=p,
                p_adjusted=p_adjusted,
                correction=correction,
                exact=exact,
                least_p=least,
                inputs=paired.inputs,
                clusters=paired.n,
                missing_inputs=len(against.by_input) - paired.inputs,
                minimum_detectable=minimum_detectable_effect(paired.deviation, paired.n),
                add_inputs=None if needed is None or not interval.estimable else max(0, needed - paired.n),
                verdict=verdict(paired.mean, p_adjusted, interval, margin),
                p_no_worse=t_test_above(paired, -margin),
            )
        )
    return found


def tied_set(
    ranked: Sequence[ScoredAnswers], parts: Sequence[Part], cluster_of: Mapping[str, str], margin: float
) -> tuple[list[str], list[Comparison]]:
    """Who can't be told from the best, in rank order, and the comparisons with the best that say so.

    Part by part (format, then content): of those left, the one with the highest mean stays with all that it does not
    beat.
    """
    left = list(ranked)
    said: list[Comparison] = []
    for part in parts:
        scored = {cells.candidate: cells.means(part) for cells in left}
        left = [cells for cells in left if scored[cells.candidate]]
        if not left:
            return [], said
        best = max(left, key=lambda cells: _mean(scored[cells.candidate]))
        others = [cells for cells in left if cells is not best]
        compared = compare(best, others, part, cluster_of, margin)
        beaten = {one.candidate for one in compared if one.verdict == "worse"}
        left = [cells for cells in left if cells.candidate not in beaten]
        said += compared
    return [cells.candidate for cells in left], said


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
