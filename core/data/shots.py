"""How many answered examples a training put in front of its prompts, by what is on record of it: recipe, counts, lineage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.config.recipe import FewShot

MOSTLY = 0.9
"""Share of the trained prompts with examples in front, above which a prompt without any was hardly trained."""


@dataclass(frozen=True)
class TrainedShots:
    """Up to `count` answered examples in front of a prompt, and that in front of `share` of all trained prompts.

    `counted`: of how many prompts, and of how many in all, where a training has counted them.
    """

    count: int
    share: float
    counted: tuple[int, int] | None = None

    @property
    def expected(self) -> bool:
        """Whether the model knows hardly any prompt without them: then requests have to send them."""
        return self.share > MOSTLY


def wanted_shots(few_shot: FewShot | None) -> TrainedShots | None:
    """What a recipe asks for; None where it asks for none."""
    return None if few_shot is None else TrainedShots(few_shot.count, few_shot.share)


def trained_shots(few_shot: FewShot | None, counts: Mapping[str, Any]) -> TrainedShots | None:
    """What a training did, by the `counts` of its result (`trained`, and `added` of `AugmentReport`); what its recipe asked for
    where they do not tell. None where no prompt got any."""
    wanted = wanted_shots(few_shot)
    added, trained = counts.get("added"), counts.get("trained")
    if wanted is None or not isinstance(added, Mapping) or not isinstance(trained, int) or trained < 1:
        return wanted
    full, fewer = (added.get(key, 0) for key in ("few_shot_full", "few_shot_fewer"))
    if not isinstance(full, int) or not isinstance(fewer, int):
        return wanted
    with_any = full + fewer
    return TrainedShots(wanted.count, with_any / trained, (with_any, trained)) if with_any else None


def shots_to_json(shots: TrainedShots | None) -> dict[str, Any] | None:
    """As the lineage of an adapter has it under `few_shot`."""
    return None if shots is None else {"count": shots.count, "share": shots.share}


def shots_in(lineage: Mapping[str, Any] | None) -> TrainedShots | None:
    """Of the training in a lineage, whatever was made of its adapter since. None: there were none, or it is not on record."""
    part = lineage
    while isinstance(part, Mapping):
        recipe = part.get("recipe")
        if isinstance(recipe, Mapping):
            # Trainings of before the counts were noted have the recipe alone; `few_shot: null` says that there were none.
            return _read(part["few_shot"] if "few_shot" in part else recipe.get("few_shot"))
        part = part.get("made_of")
    return None


def _read(noted: Any) -> TrainedShots | None:
    if not isinstance(noted, Mapping):
        return None
    count, share = noted.get("count"), noted.get("share")
    if not isinstance(count, int) or not isinstance(share, int | float) or count < 1 or not 0 < share <= 1:
        return None
    return TrainedShots(count, float(share))
