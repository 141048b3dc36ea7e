"""How many more golden inputs a task needs until a difference of its two candidates can be shown.

Counted and estimated from are the inputs that stand for production: those a person wrote down, and those that marking drew by
chance. An input that was chosen because the two disagree is neither: there they differ more often than elsewhere, so a spread
that is estimated from such inputs is too large, and so is a difference (docs/statistics.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.config.golden import GoldenInput
from core.config.task import Task
from core.scoring.scorer import Part, part_weights
from core.statistics.paired import Paired, clusters_needed, differences, minimum_detectable_effect

Why = Literal["no_pairs", "all_alike"]


@dataclass(frozen=True)
class Needs:
    """`difference` is what is to be shown, in [0, 1], with 80 % power at 5 %. `deviation` is the standard deviation of `paired`
    differences (None: not known, and `why`). `have` inputs stand for production, of which `needed` would do; `disagreement`
    more were chosen for the disagreement. `shows`: the difference that as many inputs as there are can show.
    """

    task: str
    part: Part
    candidates: tuple[str, str]
    difference: float
    deviation: float | None
    paired: int
    have: int
    disagreement: int
    needed: int | None
    shows: float | None
    why: Why | None

    @property
    def more(self) -> int | None:
        """How many inputs are missing; None where that cannot be told."""
        return None if self.needed is None else max(0, self.needed - self.have)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "more": self.more}


def leading_part(task: Task) -> Part:
    """The part whose difference is counted for: the content, else the format."""
    return "content" if part_weights(task)["content"] is not None else "format"


def stands_for_production(item: GoldenInput) -> bool:
    return item.chosen != "disagreement"


def needs(
    task: Task,
    golden: Sequence[GoldenInput],
    candidates: tuple[str, str],
    scores: Iterable[tuple[Mapping[str, float], Mapping[str, float]]],
    difference: float | None = None,
) -> Needs:
    """What is missing. `scores` are the mean scores of the two by input, of one measurement or several: for an input that is
    in more than one the first counts. `difference` is the task's margin where nobody says."""
    wanted = task.margin if difference is None else difference
    counted = {item.id: item.cluster for item in golden if stands_for_production(item)}
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for one, other in scores:
        for name in one:
            if name in other and name in counted and name not in ours:
                ours[name], theirs[name] = one[name], other[name]
    paired = differences(ours, theirs, counted)
    clusters = len(set(counted.values()))
    deviation, why = _spread(paired)
    return Needs(
        task=task.name,
        part=leading_part(task),
        candidates=candidates,
        difference=wanted,
        deviation=deviation,
        paired=0 if paired is None else paired.n,
        have=clusters,
        disagreement=len({item.cluster for item in golden if not stands_for_production(item)}),
        needed=clusters_needed(deviation, wanted),
        shows=minimum_detectable_effect(deviation, clusters),
        why=why,
    )


def _spread(paired: Paired | None) -> tuple[float | None, Why | None]:
    """The standard deviation of the differences, or why there is none: two of them at least, not all alike."""
    if paired is None or paired.n < 2:
        return None, "no_pairs"
    return (None, "all_alike") if paired.all_equal else (paired.deviation, None)
