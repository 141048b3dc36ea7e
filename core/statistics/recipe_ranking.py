"""Which of several arms is ahead: all pairs of them on all parts, by Holm, and the set of those that can't be told from
the best.

The pairs of recipes have t statistics with few and different degrees of freedom, for which flipping the signs of inputs
stands for nothing (seeds are not inputs): so their p-values are corrected by Holm, which holds whatever their
dependence. Adapters that vary over inputs alone have a sharper test, max-T (`comparison.tied_set`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.scoring.scorer import Part
from core.statistics.multiplicity import holm
from core.statistics.recipe_effect import Effect, recipe_difference
from core.statistics.seed_scores import SeedScores
from core.statistics.verdicts import is_shown

PartScores = Mapping[Part, SeedScores]
"""An arm's scores of each part; one without scores is not there."""


@dataclass(frozen=True)
class ArmPair:
    """`ours` less `theirs` on a part. `p_adjusted` holds for all pairs and parts together; 1 where no p can be had.

    `shown`: the two differ, by at least the margin.
    """

    part: Part
    ours: str
    theirs: str
    effect: Effect
    p_adjusted: float
    shown: bool

    @property
    def winner(self) -> str | None:
        """Who is shown to be ahead."""
        if not self.shown or self.effect.mean is None:
            return None
        return self.ours if self.effect.mean > 0 else self.theirs


@dataclass(frozen=True)
class ArmRanking:
    """`order` is by what was measured, and no statement; `members` can't be told from the best, in that order.

    `pairs` are all pairs on all parts.
    """

    order: tuple[str, ...]
    members: tuple[str, ...]
    pairs: tuple[ArmPair, ...]

    def pair(self, part: Part, ours: str, theirs: str) -> ArmPair | None:
        """In either order of the two: it is for the caller to see which is which."""
        return next((one for one in self.pairs if one.part == part and {one.ours, one.theirs} == {ours, theirs}), None)


def rank_arms(
    arms: Mapping[str, PartScores], parts: Sequence[Part], margin: float, *, order: Sequence[str] | None = None
) -> ArmRanking:
    """The arms, by their keys. Part by part, format then content: whoever is shown to be worse by the margin than
    another that is still in is out; so at most one experiment in twenty leaves out an arm that is as good as the best.

    `order` is that of arms whose measured means are equal; by default that of `arms`.
    """
    found = arm_pairs([(arms, pair) for pair in itertools.combinations(arms, 2)], parts, margin)
    left = sorted(order or arms, key=lambda key: _rank(arms[key], parts), reverse=True)
    ranked = tuple(left)
    for part in parts:
        left = [key for key in left if part in arms[key]]
        beaten = _beaten(found, part, set(left), set(left))
        if left and beaten >= set(left):
            # Over different inputs the differences can go round in a circle: the best alone leaves others out.
            beaten = _beaten(found, part, {max(left, key=lambda key: _mean(arms[key], part))}, set(left))
        left = [key for key in left if key not in beaten]
    return ArmRanking(ranked, tuple(left), found)


def arm_pairs(
    pairs: Sequence[tuple[Mapping[str, PartScores], tuple[str, str]]], parts: Sequence[Part], margin: float
) -> tuple[ArmPair, ...]:
    """Pairs of arms on all parts as one family, each with the arms that its two keys are of; those without scores are
    left out.
    """
    found = [
        (part, ours, theirs, recipe_difference(arms[ours][part], arms[theirs][part]))
        for part in parts
        for arms, (ours, theirs) in pairs
        if part in arms[ours] and part in arms[theirs]
    ]
    adjusted = adjusted_p([effect for *_, effect in found])
    return tuple(
        ArmPair(part, ours, theirs, effect, p, effect.mean is not None and is_shown(effect.mean, p, margin))
        for (part, ours, theirs, effect), p in zip(found, adjusted, strict=True)
    )


def adjusted_p(effects: Sequence[Effect]) -> list[float]:
    """Holm's over effects that are told together; what has no p counts as one of them, with 1."""
    return holm([1.0 if effect.p is None else effect.p for effect in effects])


def _beaten(pairs: Sequence[ArmPair], part: Part, winners: set[str], losers: set[str]) -> set[str]:
    out = set()
    for pair in pairs:
        if pair.part == part and pair.winner in winners:
            loser = pair.theirs if pair.winner == pair.ours else pair.ours
            out |= {loser} & losers
    return out


def _mean(arm: PartScores, part: Part) -> float:
    import numpy as np

    return float(np.nanmean(arm[part].values)) if part in arm and len(arm[part].answered) else -1.0


def _rank(arm: PartScores, parts: Sequence[Part]) -> tuple[float, ...]:
    return tuple(_mean(arm, part) for part in parts)
