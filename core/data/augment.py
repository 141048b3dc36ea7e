"""What a recipe adds to the examples of a data set: answered examples in front of a prompt, and the bare form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class AugmentReport:
    """What was added.

    Of `few_shot_chosen` examples that were to get `few_shot_count` answered ones in front, `few_shot_full` got all of them,
    `few_shot_fewer` some and `few_shot_none` none: there was no room, or no other example to take. `skeletons` of
    `skeletons_asked` were made; `skeletons_why` says why fewer.
    """

    few_shot_count: int = 0
    few_shot_chosen: int = 0
    few_shot_full: int = 0
    few_shot_fewer: int = 0
    few_shot_none: int = 0
    skeletons_asked: int = 0
    skeletons: int = 0
    skeletons_why: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
