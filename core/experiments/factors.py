"""What each varied key does by itself: the mean over pairs of arms that are alike in all other keys."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.experiments.conclusions import FactorEffect
from core.experiments.evidence import ArmEvidence
from core.scoring.scorer import Part
from core.statistics.recipe_effect import main_effect
from core.statistics.recipe_ranking import PartScores, adjusted_p
from core.statistics.verdicts import is_shown


def varied_keys(arms: Sequence[ArmEvidence]) -> tuple[str, ...]:
    """The keys of which the arms have several values, in the order in which arms name them."""
    keys = dict.fromkeys(key for arm in arms for key in arm.values)
    return tuple(key for key in keys if len({repr(arm.values.get(key)) for arm in arms}) > 1)


@dataclass(frozen=True, eq=False)
class MatchedArms:
    """Pairs of arms that differ in `key` alone: the one with `level` first, the one with `against` second."""

    key: str
    level: Any
    against: Any
    pairs: tuple[tuple[ArmEvidence, ArmEvidence], ...]


def matched_arms(arms: Sequence[ArmEvidence], key: str, keys: Sequence[str]) -> list[MatchedArms]:
    """All pairs of a key's values that have matched arms. The value that arms name later is held against the earlier
    one.
    """
    # By their words: a value may be a list, and 1 is not True.
    values = {repr(arm.values.get(key)): arm.values.get(key) for arm in arms}
    others = [one for one in keys if one != key]
    found = []
    for earlier, later in itertools.combinations(values, 2):
        pairs = tuple(
            (there, here)
            for here, there in itertools.product(arms, arms)
            if (repr(here.values.get(key)), repr(there.values.get(key))) == (earlier, later)
            and all(repr(here.values.get(one)) == repr(there.values.get(one)) for one in others)
        )
        if pairs:
            found.append(MatchedArms(key, values[later], values[earlier], pairs))
    return found


def factor_effects(
    arms: Sequence[ArmEvidence], scores: Mapping[str, PartScores], parts: Sequence[Part], margin: float
) -> tuple[FactorEffect, ...]:
    """The effects of all keys and of all pairs of their values, on all parts: one family, by Holm.

    `scores` are those of the arms, by key of the arm. A pair of which an arm has no score of a part is left out there.
    """
    keys = varied_keys(arms)
    found = []
    for part in parts:
        for matched in itertools.chain.from_iterable(matched_arms(arms, key, keys) for key in keys):
            scored = [
                (scores[ours.key][part], scores[theirs.key][part])
                for ours, theirs in matched.pairs
                if part in scores[ours.key] and part in scores[theirs.key]
            ]
            if scored:
                found.append((matched, part, len(scored), main_effect(scored)))
    return tuple(
        FactorEffect(
            key=matched.key,
            level=matched.level,
            against=matched.against,
            part=part,
            effect=effect,
            pairs=pairs,
            p_adjusted=p,
            shown=effect.mean is not None and is_shown(effect.mean, p, margin),
        )
        for (matched, part, pairs, effect), p in zip(found, adjusted_p([one[3] for one in found]), strict=True)
    )
