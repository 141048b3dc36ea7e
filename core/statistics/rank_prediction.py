"""Whether the ranking of models before training foretells the one after it.

Three things are told apart. *Orders of pairs*: a pair of models is shown before (untrained, over inputs) and after
(tuned, over seeds and inputs), each family of all pairs by Holm at 5 %; it is concordant or reversed only where both are
shown, so that models of which one is not told before cannot speak against the ranking: a reversal that is none needs an
error in one of the two families, in one direction (2.5 % each). *Regret*: what is lost by training only the best one,
two, three of the ranking as it was measured, over seeds and inputs. *Kendall's τ*, of five models and more.

The verdict is about orders: `does_not_predict` where at least one that is shown before is shown reversed after,
`predicts` where every one that is shown before is shown again after, and there is one; else `cannot_tell`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.statistics.paired import ALPHA, LEVEL, ROUNDING, Interval
from core.statistics.recipe_effect import Effect, bound, recipe_difference
from core.statistics.recipe_ranking import adjusted_p
from core.statistics.seed_scores import SeedScores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_MODELS_FOR_TAU = 5
TOP = (1, 2, 3)
_RESAMPLES = 10_000

OrderFound = Literal["concordant", "reversed", "only_before", "only_after", "not_told"]
Prediction = Literal["predicts", "does_not_predict", "cannot_tell"]


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model as it is and as it was trained. `after` are its arms; the first (declared so before any score was seen)
    stands for the model where one has to, all count where the best of a model is asked for.
    """

    name: str
    before: SeedScores
    after: tuple[SeedScores, ...]


@dataclass(frozen=True)
class PairOrder:
    """`ours` less `theirs`, before and after. A p is adjusted over all pairs of its side."""

    ours: str
    theirs: str
    before: Effect
    after: Effect
    p_before: float
    p_after: float
    found: OrderFound


@dataclass(frozen=True)
class Regret:
    """What training only these `trained` models loses against the best of all, on the scores' own scale; never below 0.

    `lost` is the difference of the best measured mean of all and that of these. `interval` holds the true loss in 95 of
    100 experiments, over seeds and inputs, for the ranking as it was measured: it is made of intervals of all
    differences between an arm that is left out and one that is trained which hold together (Bonferroni), and so wide. It
    holds the fact too that the best of several looks better than it is, which `lost` does not. `tied` are models that are
    left out though they measured before training what the last of the trained ones did: the ranking does not choose there.
    """

    top: int
    trained: tuple[str, ...]
    lost: float
    interval: Interval
    tied: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankPrediction:
    """`order_before` and `order_after` are by measured means, which stand in `before` and `after` by model. `tau` is
    Kendall's τ-b of these means, None below five models or where all are equal; `tau_interval` is the percentile interval of
    10,000 bootstrap samples *of models* (with replacement): models are its unit, their scores are taken as they are, and with
    so few models it is rough.
    """

    order_before: tuple[str, ...]
    order_after: tuple[str, ...]
    before: Mapping[str, float]
    after: Mapping[str, float]
    pairs: tuple[PairOrder, ...]
    regrets: tuple[Regret, ...]
    tau: float | None
    tau_interval: Interval
    verdict: Prediction

    def count(self, found: OrderFound) -> int:
        return sum(pair.found == found for pair in self.pairs)


def rank_prediction(models: Sequence[TrainedModel]) -> RankPrediction | None:
    """Before against after, over models that have scores of both; None for fewer than two.

    With fewer than three seeds nothing is told of the order after training, and the verdict is `cannot_tell`.
    """
    able = [model for model in models if len(model.before.answered) and model.after and _all_scored(model.after)]
    if len(able) < 2:
        return None
    before = {model.name: _mean(model.before) for model in able}
    after = {model.name: _mean(model.after[0]) for model in able}
    ranked = sorted(able, key=lambda model: before[model.name], reverse=True)
    pairs = _pairs(ranked)
    tau, interval = kendall([before[model.name] for model in able], [after[model.name] for model in able])
    return RankPrediction(
        order_before=tuple(model.name for model in ranked),
        order_after=tuple(sorted(after, key=lambda name: after[name], reverse=True)),
        before=before,
        after=after,
        pairs=pairs,
        regrets=tuple(_regret(ranked, top) for top in TOP if top < len(ranked)),
        tau=tau,
        tau_interval=interval,
        verdict=_verdict(pairs),
    )


def _all_scored(arms: Sequence[SeedScores]) -> bool:
    return all(len(arm.answered) for arm in arms)


def _mean(scores: SeedScores) -> float:
    import numpy as np

    return float(np.nanmean(scores.values))


def _pairs(models: Sequence[TrainedModel]) -> tuple[PairOrder, ...]:
    couples = list(itertools.combinations(models, 2))
    before = [recipe_difference(ours.before, theirs.before) for ours, theirs in couples]
    after = [recipe_difference(ours.after[0], theirs.after[0]) for ours, theirs in couples]
    found = []
    for (ours, theirs), was, now, p_before, p_after in zip(
        couples, before, after, adjusted_p(before), adjusted_p(after), strict=True
    ):
        order = _order(was, now, p_before <= ALPHA, p_after <= ALPHA)
        found.append(PairOrder(ours.name, theirs.name, was, now, p_before, p_after, order))
    return tuple(found)


def _order(before: Effect, after: Effect, shown_before: bool, shown_after: bool) -> OrderFound:
    if shown_before and shown_after:
        return "concordant" if (before.mean or 0.0) * (after.mean or 0.0) > 0 else "reversed"
    if shown_before:
        return "only_before"
    return "only_after" if shown_after else "not_told"


def _verdict(pairs: Sequence[PairOrder]) -> Prediction:
    shown = [pair.found for pair in pairs if pair.p_before <= ALPHA]
    if "reversed" in shown:
        return "does_not_predict"
    return "predicts" if shown and all(found == "concordant" for found in shown) else "cannot_tell"


def _regret(ranked: Sequence[TrainedModel], top: int) -> Regret:
    """By max(0, max over arms left out of min over trained arms of their difference), and the same of the ends of
    intervals.
    """
    trained = [arm for model in ranked[:top] for arm in model.after]
    left_out = [arm for model in ranked[top:] for arm in model.after]
    names = tuple(model.name for model in ranked[:top])
    last = _mean(ranked[top - 1].before)
    tied = tuple(model.name for model in ranked[top:] if last - _mean(model.before) <= ROUNDING)
    lost = max(0.0, max(map(_mean, left_out)) - max(map(_mean, trained)))
    level = 1 - (1 - LEVEL) / (len(trained) * len(left_out))
    lows, highs = [], []
    reason = None
    for outside in left_out:
        bounds = [bound(recipe_difference(outside, inside), level) for inside in trained]
        reason = reason or next((one.reason for one in bounds if not one.estimable), None)
        # What is not known of a difference is between −1 and 1.
        lows.append(min(-1.0 if one.low is None else one.low for one in bounds))
        highs.append(min(1.0 if one.high is None else one.high for one in bounds))
    if reason and max(highs) >= 1:
        return Regret(top, names, lost, Interval(None, None, reason), tied)
    return Regret(top, names, lost, Interval(max([0.0, *lows]), min(1.0, max([0.0, *highs]))), tied)


def kendall(before: Sequence[float], after: Sequence[float]) -> tuple[float | None, Interval]:
    """Kendall's τ-b, and its bootstrap over the models; see `RankPrediction`. Samples in which all are alike are left
    out.
    """
    import numpy as np

    number = len(before)
    if number < LEAST_MODELS_FOR_TAU:
        few = f"interval not estimable: τ needs {LEAST_MODELS_FOR_TAU} models"
        return None, Interval(None, None, few)
    signs = np.array([np.sign(np.subtract.outer(values, values)) for values in (np.array(before), np.array(after))])
    found = _tau_b(signs[0][None], signs[1][None])[0]
    if np.isnan(found):
        return None, Interval(None, None, "interval not estimable: all models are alike")
    drawn = np.random.default_rng(0).integers(0, number, (_RESAMPLES, number))
    rows, columns = drawn[:, :, None], drawn[:, None, :]
    taus = _tau_b(signs[0][rows, columns], signs[1][rows, columns])
    low, high = np.nanquantile(taus, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if high - low <= ROUNDING:
        # The order is the same throughout: so few models cannot say how sure that is.
        return float(found), Interval(None, None, "interval not estimable: every sample of the models says the same")
    return float(found), Interval(float(low), float(high))


def _tau_b(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the signs of all differences, samples × models × models; not a number where one of the two sides is all alike."""
    import numpy as np

    both = (ours * theirs).sum(axis=(1, 2))
    pairs = np.sqrt(np.abs(ours).sum(axis=(1, 2)) * np.abs(theirs).sum(axis=(1, 2)))
    found: NDArray[np.float64] = np.divide(both, pairs, out=np.full(len(both), np.nan), where=pairs > 0)
    return found
