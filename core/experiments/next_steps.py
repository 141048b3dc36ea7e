"""What to run next to sharpen an answer: what would narrow the interval that decides, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from core.experiments.conclusions import Caveat, NextStep
from core.experiments.evidence import TaskEvidence
from core.scoring.scorer import Part
from core.statistics.rank_prediction import LEAST_MODELS_FOR_TAU, RankPrediction
from core.statistics.recipe_effect import LEAST_SEEDS, Effect, half_width_with
from core.statistics.recipe_ranking import ArmPair, ArmRanking

# More of either is no advice that anyone can follow.
_MOST_SEEDS = 10
_MOST_TIMES_THE_INPUTS = 8


def next_steps(
    evidence: TaskEvidence,
    ranking: ArmRanking,
    predictions: Mapping[Part, RankPrediction],
    caveats: Sequence[Caveat],
) -> tuple[NextStep, ...]:
    """The most useful first."""
    return tuple(_steps(evidence, ranking, predictions, caveats))


def _steps(
    evidence: TaskEvidence,
    ranking: ArmRanking,
    predictions: Mapping[Part, RankPrediction],
    caveats: Sequence[Caveat],
) -> Iterator[NextStep]:
    said = {caveat.code: caveat.values for caveat in caveats}
    if "provisional" in said:
        yield NextStep("wait", said["provisional"])
    if "arms_failed" in said:
        yield NextStep("retry", {"arms": said["arms_failed"]["arms"]})
    members = ranking.members
    if len(members) == 1 and len(ranking.order) > 1 and "provisional" not in said:
        yield NextStep("promote", {"arm": members[0]})
    few_seeds = "one_seed" in said or "two_seeds" in said
    if few_seeds and not ("provisional" in said and evidence.blocks >= LEAST_SEEDS):  # those are on their way
        seeds = 1 if "one_seed" in said else 2
        pair = list(members[:2]) if len(members) > 1 else []
        values = {"seeds": LEAST_SEEDS - seeds, "to": LEAST_SEEDS, "pair": pair, "half_width": None, "then": None}
        yield NextStep("add_seeds", values)
    elif len(members) > 1 and not few_seeds and "provisional" not in said:
        yield from _to_tell_apart(evidence, ranking)
    for code in ("ceiling", "floor"):
        if code in said:
            yield NextStep("harder_inputs", said[code])
    out = [key for key in ranking.order if key not in members]
    if out and len(members) > 1:
        yield NextStep("drop_arms", {"arms": out})
    leading = predictions.get(evidence.parts[0]) if evidence.parts else None
    if leading is not None and leading.verdict == "cannot_tell" and len(leading.order_before) < LEAST_MODELS_FOR_TAU:
        yield NextStep("add_models", {"models": len(leading.order_before), "least": LEAST_MODELS_FOR_TAU})


def _to_tell_apart(evidence: TaskEvidence, ranking: ArmRanking) -> Iterator[NextStep]:
    """More of what narrows the interval of the first two of the tied set most; the cheaper one where they hardly differ."""
    pair = next((one for part in evidence.parts if (one := ranking.pair(part, *ranking.members[:2])) is not None), None)
    if pair is None:
        return
    step = _more(pair, evidence)
    if step is not None:
        yield step
    if step is None or abs(pair.effect.mean or 0.0) < evidence.margin:
        yield NextStep("choose_by_cost", {"arms": list(ranking.members), "margin": evidence.margin})


def _more(pair: ArmPair, evidence: TaskEvidence) -> NextStep | None:
    """The fewest seeds, else inputs, else both, whose interval would be no wider than the difference that was seen (or the
    margin, where that is more); None where none of these would do."""
    effect = pair.effect
    now = effect.half_width
    if now is None or effect.mean is None:
        return None
    wanted = max(abs(effect.mean), evidence.margin)
    had = max(min((count for count in effect.seeds if count), default=0), 0)
    keys = [pair.ours, pair.theirs]
    if had:
        for seeds in range(had + 1, _MOST_SEEDS + 1):
            then = half_width_with(effect, seeds=seeds / had)
            if then is not None and then <= wanted:
                values = {"seeds": seeds - had, "to": seeds, "pair": keys, "half_width": now, "then": then}
                return NextStep("add_seeds", values)
    inputs = _inputs(effect, wanted)
    if inputs is not None:
        values = {"inputs": inputs[0] - effect.inputs, "to": inputs[0], "pair": keys, "half_width": now}
        return NextStep("add_inputs", {**values, "then": inputs[1]})
    doubled = half_width_with(effect, seeds=2.0, inputs=2.0)
    if not had or doubled is None or doubled > now:
        return None
    values = {"seeds": had, "inputs": effect.inputs, "pair": keys, "half_width": now, "then": doubled}
    return NextStep("add_seeds_and_inputs", values)


def _inputs(effect: Effect, wanted: float) -> tuple[int, float] | None:
    most = effect.inputs * _MOST_TIMES_THE_INPUTS
    for number in range(effect.inputs + 1, most + 1):
        then = half_width_with(effect, inputs=number / effect.inputs)
        if then is not None and then <= wanted and not math.isnan(then):
            return number, then
    return None
