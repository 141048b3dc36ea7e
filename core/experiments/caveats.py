"""What a reader must know before believing an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.experiments.conclusions import Caveat
from core.experiments.evidence import ArmEnd, ArmEvidence, TaskEvidence
from core.experiments.factors import matched_arms, varied_keys
from core.scoring.scorer import Part
from core.statistics.paired import ROUNDING
from core.statistics.recipe_effect import LEAST_SEEDS
from core.statistics.recipe_ranking import PartScores
from core.statistics.seed_scores import SeedScores

LEAST_SOURCES = 10
"""Below this an interval over inputs rests on hardly anything, whatever its formula."""
_MOST_ALIKE = 0.5
FAR_APART = 0.2
"""From here on, a point of five, what an arm scores is a matter of its seed: its training does not settle."""


def caveats_of(evidence: TaskEvidence, scores: Mapping[str, PartScores]) -> tuple[Caveat, ...]:
    """All that holds; `scores` are those of the arms that are concluded on, by key."""
    if not scores:
        return (Caveat("nothing_measured", {}), *_ends(evidence.arms))
    return (
        *_of_blocks(evidence, scores),
        *_ends(evidence.arms),
        *_of_untrained(evidence),
        *_of_inputs(evidence, scores),
        *_of_factors(evidence, scores),
        *_of_weights(evidence, scores),
    )


def end_of_scale(evidence: TaskEvidence, scores: Mapping[str, PartScores], part: Part, at: float) -> list[str]:
    """The inputs at which every arm and seed scores as much: they tell no arm from another."""
    import numpy as np

    found: list[str] | None = None
    for of_arm in scores.values():
        if part not in of_arm:
            continue
        arm = of_arm[part]
        off = np.abs(np.nan_to_num(arm.answered, nan=at) - at).max(axis=0)
        names = [name for name, most in zip(arm.inputs, off.tolist(), strict=True) if most <= ROUNDING]
        found = names if found is None else [name for name in found if name in names]
    return found or []


def _of_blocks(evidence: TaskEvidence, scores: Mapping[str, PartScores]) -> Iterator[Caveat]:
    if evidence.block < evidence.blocks:
        yield Caveat("provisional", {"block": evidence.block, "blocks": evidence.blocks})
    counts = {key: max(one.seeds or len(one.answered) for one in of_arm.values()) for key, of_arm in scores.items()}
    most = max(counts.values())
    if most < LEAST_SEEDS:
        yield Caveat("one_seed" if most == 1 else "two_seeds", {})
    fewer = {key: count for key, count in counts.items() if count < most}
    if fewer:
        yield Caveat("seeds_missing", {"arms": fewer})
    part = evidence.parts[0]
    means = {key: _means(of_arm[part]) for key, of_arm in scores.items() if part in of_arm}
    apart = {key: [min(each), max(each)] for key, each in means.items() if each and max(each) - min(each) >= FAR_APART}
    if apart:
        yield Caveat("seeds_far_apart", {"part": part, "arms": apart})


def _means(scores: SeedScores) -> list[float]:
    """The mean of each seed, over the inputs that all of them answered."""
    import numpy as np

    rows = scores.answered
    shared = rows[:, ~np.isnan(rows).any(axis=0)]
    means: list[float] = shared.mean(axis=1).tolist() if shared.size else []
    return means


def _ends(arms: Sequence[ArmEvidence]) -> Iterator[Caveat]:
    ends: tuple[ArmEnd, ...] = ("waiting", "failed", "censored")
    for end in ends:
        found = [arm.key for arm in arms if arm.end == end]
        if found and end == "waiting":
            yield Caveat("arms_waiting", {"arms": found})
        elif found:
            yield Caveat("arms_failed" if end == "failed" else "arms_censored", {"arms": found})


def _of_untrained(evidence: TaskEvidence) -> Iterator[Caveat]:
    if not evidence.untrained:
        return
    models = dict.fromkeys(arm.model for arm in evidence.arms)
    missing = [model for model in models if not evidence.untrained.get(model)]
    if missing:
        yield Caveat("untrained_missing", {"models": missing})


def _of_inputs(evidence: TaskEvidence, scores: Mapping[str, PartScores]) -> Iterator[Caveat]:
    import numpy as np

    holes = [int(np.isnan(one.answered).any(axis=0).sum()) for of_arm in scores.values() for one in of_arm.values()]
    inputs = len(evidence.cluster_of)
    if any(holes):
        yield Caveat("inputs_missing", {"most": max(holes), "inputs": inputs})
    sources = len(set(evidence.cluster_of.values()))
    if sources < LEAST_SOURCES:
        yield Caveat("few_inputs", {"sources": sources, "least": LEAST_SOURCES})
    for part in evidence.parts if len(scores) > 1 else ():
        for at, ceiling in ((1.0, True), (0.0, False)):
            alike = end_of_scale(evidence, scores, part, at)
            if len(alike) >= _MOST_ALIKE * inputs:
                values: dict[str, Any] = {"part": part, "inputs": alike, "of": inputs}
                yield Caveat("ceiling" if ceiling else "floor", values)
    if len(scores) > 1:
        yield Caveat("chosen_on_same_inputs", {"among": len(scores)})


def _of_factors(evidence: TaskEvidence, scores: Mapping[str, PartScores]) -> Iterator[Caveat]:
    arms = [arm for arm in evidence.arms if arm.key in scores]
    keys = varied_keys(arms)
    alone = [key for key in keys if not matched_arms(arms, key, keys)]
    if alone:
        yield Caveat("no_matched_arms", {"keys": alone})


def _of_weights(evidence: TaskEvidence, scores: Mapping[str, PartScores]) -> Iterator[Caveat]:
    """What was learnt on quantised weights is asked on the model's own: so a merge ships it, and no training saw that."""
    arms = [arm.key for arm in evidence.arms if arm.key in scores and arm.weights.endswith("-bit")]
    if arms:
        yield Caveat("asked_on_original_weights", {"arms": arms})
