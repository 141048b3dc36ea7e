"""What a choice among several candidates does to the figures of the one that was chosen.

The best of K equal candidates looks better than it is on the inputs that it was chosen by. Either that optimism is shown, or
other inputs, which had no part in the choice, say how good the chosen one is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.scoring.scorer import Part
from core.statistics.comparison import Comparison, compare_pairs, tied_set
from core.statistics.input_scores import InputScores
from core.statistics.paired import Paired, differences

if TYPE_CHECKING:
    from core.config.golden import GoldenInput

_FLIPS = 4_096


@dataclass(frozen=True)
class Selection:
    """The candidate that a bake-off would choose, and what its lead is worth. Scores are of the part that leads, in [−1, 1].

    `among` counts the candidates, the incumbent with them; `lead` is the chosen one's difference to the incumbent on the
    inputs that it was chosen by, `optimism` what the best of so many candidates leads by if all are equal (None where that
    can't be estimated). `confirmed` are its comparisons with the incumbent on the inputs that are kept to confirm by, one a
    part: without bias, and empty where there are none or the incumbent was chosen.
    """

    chosen: str
    among: int
    choose_inputs: int
    confirm_inputs: int
    lead: float | None
    optimism: float | None
    confirmed: tuple[Comparison, ...]

    @property
    def same_inputs(self) -> bool:
        """Whether the choice and the figures are of the same inputs."""
        return self.confirm_inputs == 0


def select(
    ranked: Sequence[InputScores],
    incumbent: str | None,
    inputs: Sequence[GoldenInput],
    parts: Sequence[Part],
    margin: float,
    best: str | None,
) -> Selection | None:
    """The choice among the ranked candidates; None without scores or without an incumbent among them.

    `best` is the choice by all inputs; another is made where some of them are kept to confirm by.
    """
    if not parts or not ranked:
        return None
    confirming = {item.id: item.cluster for item in inputs if item.use == "confirm"}
    choosing = {item.id: item.cluster for item in inputs if item.use != "confirm"}
    if not choosing:
        # Nothing is left to choose by: the choice and the figures are of the same inputs.
        confirming, choosing = {}, confirming
    seen = [scores for scores in (one.only(list(choosing)) for one in ranked) if scores.means(parts[0])]
    held = next((scores for scores in seen if scores.candidate == incumbent), None)
    if held is None:
        return None
    seen.sort(key=lambda scores: scores.rank(parts), reverse=True)
    name = next(iter(tied_set(seen, parts, choosing, margin).members)) if confirming else best
    chosen = next((scores for scores in seen if scores.candidate == name), held)
    paired = differences(chosen.means(parts[0]), held.means(parts[0]), choosing)
    later = {scores.candidate: scores.only(list(confirming)) for scores in ranked}
    pairs = [(later[chosen.candidate], later[held.candidate])] if chosen is not held and confirming else []
    return Selection(
        chosen=chosen.candidate,
        among=len(seen),
        choose_inputs=len(choosing),
        confirm_inputs=len(confirming),
        lead=None if paired is None else paired.mean,
        optimism=optimism([one for one in seen if one is not held], held, parts[0], choosing),
        confirmed=tuple(compare_pairs(pairs, parts, confirming, margin)),
    )


def optimism(
    challengers: Sequence[InputScores], incumbent: InputScores, part: Part, cluster_of: Mapping[str, str], seed: int = 0
) -> float | None:
    """By how much the best of these candidates leads the incumbent if all are equal; None for fewer than two clusters.

    The mean of max(0, max over challengers of Σ ±(dᵢ − d̄)·√(n/(n−1)) / inputs) over random signs, the same for all: the
    differences without their means, under the wild bootstrap of the maximum with the weights ±1 (Liu, Annals of Statistics 16,
    1988; for the best of several: White, "A reality check for data snooping", Econometrica 68, 2000). The 0 is the incumbent
    itself. Candidates that are not equal compete less, and their optimism is smaller.
    """
    import numpy as np

    found = [differences(one.means(part), incumbent.means(part), cluster_of) for one in challengers]
    centred = [_centred(paired) for paired in found if paired is not None and paired.n > 1]
    if not centred:
        return None
    names = list(dict.fromkeys(name for sums in centred for name in sums))
    table = np.array([[sums.get(name, 0.0) for name in names] for sums in centred])
    signs = 2.0 * np.random.default_rng(seed).integers(0, 2, size=(len(names), _FLIPS // 2)) - 1
    reached = table @ signs
    highest = np.concatenate([reached.max(axis=0), (-reached).max(axis=0)])
    return float(np.maximum(highest, 0.0).mean())


def _centred(paired: Paired) -> dict[str, float]:
    """The sum of dᵢ − d̄ by cluster, divided by the inputs and made as large as its spread is without the mean taken off."""
    mean, scale = paired.mean, (paired.n / (paired.n - 1)) ** 0.5 / paired.inputs
    sums = dict.fromkeys(paired.sums, 0.0)
    for value, cluster in zip(paired.values, paired.clusters, strict=True):
        sums[cluster] += (value - mean) * scale
    return sums
