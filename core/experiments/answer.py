"""What an experiment answers at one task: codes and values, without a sentence (`core.wording.experiments` has those).

Everything is concluded on both parts, and who wins goes format first, then content. Arms of which a race stopped the
training are in nothing but their caveat. With one seed an arm is its adapter, and all statements are over inputs alone;
with two a statement about recipes cannot be made, and none is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, TypeVar

from core.bakeoff.leaderboard import plain_types
from core.experiments.caveats import caveats_of
from core.experiments.conclusions import ArmCost, ArmScore, Caveat, FactorEffect, Gain, NextStep, SizeTrade
from core.experiments.evidence import ArmEvidence, TaskEvidence
from core.experiments.factors import factor_effects
from core.experiments.next_steps import next_steps
from core.scoring.scorer import Part
from core.statistics.rank_prediction import RankPrediction, TrainedModel, rank_prediction
from core.statistics.recipe_effect import Effect, Estimand, recipe_difference, recipe_mean
from core.statistics.recipe_ranking import ArmRanking, PartScores, adjusted_p, rank_arms
from core.statistics.seed_scores import SeedScores
from core.statistics.verdicts import is_shown

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class TaskAnswer:
    """At one task. Arms are named by their keys, models by their names.

    `estimand` is what the statements about tuned arms are of. `ranking` has the tied set and all pairs of arms.
    `predictions` say by part whether the ranking of the untrained models foretells that of the tuned ones; a part has
    none with fewer than two models. `factors` are empty where nothing varies but the model of unmatched arms.
    """

    task: str
    parts: tuple[Part, ...]
    margin: float
    estimand: Estimand
    block: int
    blocks: int
    ranking: ArmRanking
    scores: tuple[ArmScore, ...]
    gains: tuple[Gain, ...]
    predictions: Mapping[Part, RankPrediction]
    factors: tuple[FactorEffect, ...]
    sizes: tuple[SizeTrade, ...]
    costs: tuple[ArmCost, ...]
    caveats: tuple[Caveat, ...]
    next_steps: tuple[NextStep, ...]

    @property
    def leader(self) -> str | None:
        """The first of the tied set: whoever has the highest measured score of those that can't be told apart."""
        return self.ranking.members[0] if self.ranking.members else None

    @property
    def winner(self) -> str | None:
        """The leader where it is shown to be ahead of every other arm; None where it is not."""
        return self.leader if len(self.ranking.members) == 1 < len(self.ranking.order) else None

    @property
    def provisional(self) -> bool:
        """Whether seeds that were asked for are still to come."""
        return self.block < self.blocks

    @property
    def strongest_factor(self) -> FactorEffect | None:
        """The largest effect that is shown on the leading part: which of what varies does the work. None where none is
        shown.
        """
        shown = [one for one in self.factors if one.shown and one.part == self.parts[0]]
        return max(shown, key=lambda one: abs(one.effect.mean or 0.0), default=None)

    def score(self, arm: str, part: Part) -> ArmScore | None:
        return next((one for one in self.scores if (one.arm, one.part) == (arm, part)), None)

    def gain(self, arm: str, part: Part) -> Gain | None:
        return next((one for one in self.gains if (one.arm, one.part) == (arm, part)), None)

    def cost(self, arm: str) -> ArmCost | None:
        return next((one for one in self.costs if one.arm == arm), None)

    def to_json(self) -> dict[str, Any]:
        """Plain types only: numbers are finite or null."""
        own = {"schema": 1, "leader": self.leader, "winner": self.winner, "provisional": self.provisional}
        document: dict[str, Any] = plain_types({**own, **asdict(self)})
        return document


def answer_of(evidence: TaskEvidence) -> TaskAnswer:
    """The answer by what is measured so far; one without any scores says so in its caveats."""
    arms = [arm for arm in evidence.arms if arm.end != "censored" and _scored(arm.scores)]
    one_seed = all(one.seeds <= 1 for arm in arms for one in arm.scores.values())
    scores = {arm.key: {part: _as_asked(one, one_seed) for part, one in _scored(arm.scores).items()} for arm in arms}
    untrained = {model: _scored(by_part) for model, by_part in evidence.untrained.items()}
    ranking = rank_arms(scores, evidence.parts, evidence.margin)
    costs = tuple(_cost(arm) for arm in evidence.arms)
    predictions = _predictions(evidence.parts, arms, scores, untrained)
    caveats = caveats_of(evidence, scores)
    return TaskAnswer(
        task=evidence.task,
        parts=evidence.parts,
        margin=evidence.margin,
        estimand="adapter" if one_seed else "recipe",
        block=evidence.block,
        blocks=evidence.blocks,
        ranking=ranking,
        scores=_scores(evidence.parts, arms, scores, untrained),
        gains=_gains(evidence, arms, scores, untrained),
        predictions=predictions,
        factors=factor_effects(arms, scores, evidence.parts, evidence.margin),
        sizes=_sizes(evidence.parts, arms, ranking, scores, {cost.arm: cost for cost in costs}),
        costs=costs,
        caveats=caveats,
        next_steps=next_steps(evidence, ranking, predictions, caveats),
    )


def _scored(by_part: PartScores) -> dict[Part, SeedScores]:
    return {part: one for part, one in by_part.items() if len(one.answered)}


def _as_asked(scores: SeedScores, one_seed: bool) -> SeedScores:
    """Of one training alone: that training, which no seed changes."""
    if not (one_seed and scores.seeded):
        return scores
    return SeedScores(scores.name, scores.answered, scores.inputs, scores.cluster_of, seeded=False)


def _scores(
    parts: Sequence[Part],
    arms: Sequence[ArmEvidence],
    scores: Mapping[str, PartScores],
    untrained: Mapping[str, PartScores],
) -> tuple[ArmScore, ...]:
    found = []
    for arm in arms:
        for part in parts:
            if part in scores[arm.key]:
                before = untrained.get(arm.model, {}).get(part)
                tuned = recipe_mean(scores[arm.key][part])
                found.append(ArmScore(arm.key, part, tuned, None if before is None else recipe_mean(before)))
    return tuple(found)


def _gains(
    evidence: TaskEvidence,
    arms: Sequence[ArmEvidence],
    scores: Mapping[str, PartScores],
    untrained: Mapping[str, PartScores],
) -> tuple[Gain, ...]:
    found: list[tuple[ArmEvidence, Part, Effect]] = []
    for arm in arms:
        before = untrained.get(arm.model, {})
        for part in evidence.parts:
            if part in scores[arm.key] and part in before:
                found.append((arm, part, recipe_difference(scores[arm.key][part], before[part])))
    gains = []
    for (arm, part, effect), p in zip(found, adjusted_p([one[2] for one in found]), strict=True):
        shown = effect.mean is not None and is_shown(effect.mean, p, evidence.margin)
        verdict = "cannot_tell" if not shown else "gained" if (effect.mean or 0.0) > 0 else "lost"
        gains.append(Gain(arm.key, arm.model, part, effect, p, verdict))  # type: ignore[arg-type]
    return tuple(gains)


def _predictions(
    parts: Sequence[Part],
    arms: Sequence[ArmEvidence],
    scores: Mapping[str, PartScores],
    untrained: Mapping[str, PartScores],
) -> dict[Part, RankPrediction]:
    """An arm of a model that comes first in the experiment stands for it, whatever it scores."""
    found: dict[Part, RankPrediction] = {}
    for part in parts:
        models = []
        for name in dict.fromkeys(arm.model for arm in arms):
            of_model = sorted((arm for arm in arms if arm.model == name), key=lambda arm: arm.place)
            after = tuple(scores[arm.key][part] for arm in of_model if part in scores[arm.key])
            if after and part in untrained.get(name, {}):
                models.append(TrainedModel(name, untrained[name][part], after))
        prediction = rank_prediction(models)
        if prediction is not None:
            found[part] = prediction
    return found


def _cost(arm: ArmEvidence) -> ArmCost:
    peaks = [one.peak_bytes for one in arm.costs if one.peak_bytes is not None]
    return ArmCost(
        arm=arm.key,
        peak_bytes=max(peaks, default=None),
        seconds=_mean([one.seconds for one in arm.costs]),
        seconds_a_step=_mean([one.seconds_a_step for one in arm.costs]),
        joules=_mean([one.joules for one in arm.costs]),
        parameters=arm.parameters,
        trainable=arm.trainable,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _sizes(
    parts: Sequence[Part],
    arms: Sequence[ArmEvidence],
    ranking: ArmRanking,
    scores: Mapping[str, PartScores],
    costs: Mapping[str, ArmCost],
) -> tuple[SizeTrade, ...]:
    """Of every arm that needs less memory than the one that leads, or has a smaller model where memory was not measured."""
    if not ranking.members:
        return ()
    first = ranking.members[0]
    lead = costs[first]
    found = []
    for arm in arms:
        own = costs[arm.key]
        if arm.key == first or not _smaller(own, lead):
            continue
        shared = [part for part in parts if part in scores[arm.key] and part in scores[first]]
        worse = any(
            pair is not None and pair.winner == first
            for pair in (ranking.pair(part, arm.key, first) for part in shared)
        )
        trade = SizeTrade(
            arm=arm.key,
            against=first,
            points={part: recipe_difference(scores[arm.key][part], scores[first][part]) for part in shared},
            worse=worse,
            bytes_freed=_less(lead.peak_bytes, own.peak_bytes),
            seconds_saved=_less(lead.seconds, own.seconds),
            joules_saved=_less(lead.joules, own.joules),
        )
        found.append(trade)
    return tuple(found)


def _smaller(own: ArmCost, lead: ArmCost) -> bool:
    if own.peak_bytes is not None and lead.peak_bytes is not None:
        return own.peak_bytes < lead.peak_bytes
    return own.parameters is not None and lead.parameters is not None and own.parameters < lead.parameters


def _less(ours: Number | None, theirs: Number | None) -> Number | None:
    return None if ours is None or theirs is None else ours - theirs
