"""How often what is said of recipes is false, in simulated experiments whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from core.statistics.paired import Interval, Paired, t_interval
from core.statistics.rank_prediction import Prediction, TrainedModel, kendall, rank_prediction
from core.statistics.recipe_effect import adapter_difference, main_effect, recipe_difference
from core.statistics.recipe_ranking import rank_arms
from core.statistics.seed_scores import SeedScores
from tests.support.simulated_recipes import (
    SEEDS,
    DrawnArms,
    Truth,
    draw_arms,
    expected,
    expected_of_adapter,
)


@dataclass(frozen=True)
class Coverage:
    """The share of intervals that hold the truth, of those that there are; the median of their widths; how many there
    are not.
    """

    covered: float
    width: float
    none: float


def coverage(intervals: Sequence[Interval], truths: Sequence[float] | float) -> Coverage:
    of_each = np.broadcast_to(truths, len(intervals))
    found = [(one.low, one.high, true) for one, true in zip(intervals, of_each.tolist(), strict=True) if one.estimable]
    if not found:
        return Coverage(float("nan"), float("nan"), 1.0)
    low, high, true = np.array(found, float).reshape(-1, 3).T
    held = (low <= true + 1e-9) & (true <= high + 1e-9)
    return Coverage(float(held.mean()), float(np.median(high - low)), 1 - len(found) / len(intervals))


Difference = Callable[[SeedScores, SeedScores], Interval]


def over_both(ours: SeedScores, theirs: SeedScores) -> Interval:
    return recipe_difference(ours, theirs).interval


def over_inputs(ours: SeedScores, theirs: SeedScores) -> Interval:
    """What the seeds say is averaged, and counts for nothing else."""
    return t_interval(Paired(tuple((ours.values.mean(axis=0) - theirs.values.mean(axis=0)).tolist()), ours.inputs))


def over_seeds(ours: SeedScores, theirs: SeedScores) -> Interval:
    """Welch's t of the seeds' means: the inputs count for nothing."""
    means = [arm.values.mean(axis=1) for arm in (ours, theirs)]
    parts = [(one.var(ddof=1) / len(one), len(one) - 1) for one in means if len(one) > 1]
    variance = sum(part for part, _ in parts)
    if variance < 1e-12:
        return Interval(None, None, "no variance")
    degrees = variance**2 / sum(part**2 / of_part for part, of_part in parts)
    half = float(stats.t.ppf(0.975, degrees)) * variance**0.5
    mean = float(means[0].mean() - means[1].mean())
    return Interval(mean - half, mean + half)


def difference_coverage(
    truth: Truth, interval: Difference, *, runs: int, untrained: bool = False, seeds: int = SEEDS, seed: int = 7
) -> Coverage:
    """Of an arm that is 0.1 better less another one, or less an untrained model."""
    drawn = draw_arms(np.random.default_rng(seed), truth, [0.1, 0.0], runs, untrained=[0.0], seeds=seeds)
    others = [drawn.model(run, 0) if untrained else drawn.arm(run, 1) for run in range(runs)]
    of_other = expected(truth, 0.0, tuned=False) if untrained else expected(truth, 0.0, 1)
    found = [interval(drawn.arm(run, 0), other) for run, other in enumerate(others)]
    return coverage(found, expected(truth, 0.1, 0) - of_other)


def adapter_coverage(truth: Truth, *, runs: int, seed: int = 7) -> Coverage:
    """Of the first training of one arm less that of another: what these two would score over all inputs."""
    drawn = draw_arms(np.random.default_rng(seed), truth, [0.1, 0.0], runs)
    found = [adapter_difference(drawn.arm(run, 0), 0, drawn.arm(run, 1), 0).interval for run in range(runs)]
    scores = expected_of_adapter(truth, drawn.moved[:, :, 0])
    return coverage(found, (scores[:, 0] - scores[:, 1]).tolist())


def main_effect_coverage(truth: Truth, *, runs: int, seed: int = 7) -> Coverage:
    """Of two levels at three matched pairs of arms, whose effects differ."""
    effects = [0.1, 0.0, 0.15, 0.1, 0.05, 0.0]
    drawn = draw_arms(np.random.default_rng(seed), truth, effects, runs)
    pairs = [(0, 1), (2, 3), (4, 5)]
    found = [main_effect([(drawn.arm(run, a), drawn.arm(run, b)) for a, b in pairs]).interval for run in range(runs)]
    each = [expected(truth, effects[a], a % 2) - expected(truth, effects[b], b % 2) for a, b in pairs]
    return coverage(found, sum(each) / len(each))


def false_winners(truth: Truth, effects: Sequence[float], *, runs: int, seeds: int = SEEDS, seed: int = 7) -> float:
    """The share of experiments that leave out an arm which is as good as the best."""
    drawn = draw_arms(np.random.default_rng(seed), truth, effects, runs, seeds=seeds)
    best = {f"arm {arm}" for arm, effect in enumerate(effects) if effect == max(effects)}
    said = 0
    for run in range(runs):
        arms = {arm.name: {"format": arm} for arm in drawn.arms(run)}
        said += bool(best - set(rank_arms(arms, ["format"], 0.0).members))
    return said / runs


def _models(drawn: DrawnArms, run: int) -> list[TrainedModel]:
    return [
        TrainedModel(str(place), drawn.model(run, place), (drawn.arm(run, place),))
        for place in range(drawn.tuned.shape[1])
    ]


@dataclass(frozen=True)
class PredictionLevels:
    """How often each verdict is said, and the coverage of the regret of the top one, two and three."""

    said: dict[Prediction, float]
    regrets: tuple[Coverage, ...]


def prediction_levels(
    truth: Truth, before: Sequence[float], after: Sequence[float], *, runs: int, seed: int = 7
) -> PredictionLevels:
    """Of models with these effects before and after training. The regret is that of the ranking as it was measured."""
    drawn = draw_arms(np.random.default_rng(seed), truth, after, runs, untrained=before)
    scores = [expected(truth, effect, arm % 2) for arm, effect in enumerate(after)]
    said: dict[Prediction, int] = {"predicts": 0, "does_not_predict": 0, "cannot_tell": 0}
    regrets: list[list[tuple[Interval, float]]] = []
    for run in range(runs):
        found = rank_prediction(_models(drawn, run))
        assert found is not None
        said[found.verdict] += 1
        for place, regret in enumerate(found.regrets):
            if place == len(regrets):
                regrets.append([])
            lost = max(scores) - max(scores[int(name)] for name in regret.trained)
            regrets[place].append((regret.interval, lost))
    shares: dict[Prediction, float] = {verdict: count / runs for verdict, count in said.items()}
    return PredictionLevels(shares, tuple(coverage(*zip(*one, strict=True)) for one in regrets))


def tau_coverage(models: int, correlation: float, *, runs: int, seed: int = 7) -> Coverage:
    """Of models drawn from normal scores before and after with this correlation, whose τ is 2/π · arcsin of it."""
    generator = np.random.default_rng(seed)
    before = generator.normal(size=(runs, models))
    after = correlation * before + (1 - correlation**2) ** 0.5 * generator.normal(size=(runs, models))
    found = [kendall(ours.tolist(), theirs.tolist())[1] for ours, theirs in zip(before, after, strict=True)]
    return coverage(found, float(2 / np.pi * np.arcsin(correlation)))
