"""How good a recipe is, and how much better than another, over seeds *and* inputs; and the same of one adapter, over
inputs alone.

A recipe is judged by a few trainings (seeds) on a few inputs, and both are samples: another seed gives another adapter,
other inputs ask for other things. The score of a seed s of arm a at input i is taken to be

    y = μ_a + S_as + I_i + A_ai + E_asi

with inputs that are the same for all arms (crossed), seeds that are each arm's own (nested), and what a seed does at an
input (E), all random. Of a contrast D = Σ c_a ȳ_a (a difference: 1 and −1) the variance is

    Σ c_a² σ_Sa²/r_a  +  Var(Σ c_a A_ai)/n  +  Σ c_a² σ_Ea²/(r_a n)

for r_a seeds and n inputs. It is estimated by the sum of two parts that can be had without knowing any of the three:

    V = Σ c_a² s²_a/r_a  +  s²_d/n

s_a being the deviation between the seeds' means, s_d that between the inputs' contrasts (each over the mean of its
seeds), by the cluster-robust formula of `paired` where inputs share a source. Both parts hold the last term, so V counts
that one twice: the interval is too wide where E is all there is (by √2 at most) and right where it is not. To subtract
it, as an analysis of variance does, covers 79 % in the worst case simulated where the degrees are those of what is
kept. The degrees of freedom are those of Satterthwaite (Biometrics Bulletin 2:110, 1946): V²/Σ(V_k²/df_k), with
r_a − 1 for each arm and n − 1 for the inputs. `docs/statistics.md` has the coverage by simulation, beside intervals over
inputs alone and over seeds alone.

Two seeds have one degree of freedom, and an interval that says nothing (t = 12.7): none is given below three. An
untrained model has no seeds, and takes part by its inputs alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.statistics.paired import LEVEL, ROUNDING, Interval, Paired
from core.statistics.permutation import flip_test
from core.statistics.seed_scores import SeedScores, shared_scores

LEAST_SEEDS = 3
Estimand = Literal["recipe", "adapter"]
"""What a figure is of: `recipe` varies over seeds and inputs, `adapter` (one training, or a model as it is) over inputs.
Nothing that no seed changes is of recipes."""
Unknown = Literal["nothing_shared", "one_source", "too_few_seeds", "no_variation"]


@dataclass(frozen=True)
class Effect:
    """A mean or a difference, on the scores' own scale.

    `mean` is None where there is nothing to take it of. Where `interval` is not estimable `unknown` says why; `p`
    (two-sided, of no difference) and `degrees` are None then, except that where nothing varies at all p is that of
    flipping the inputs' signs. `seeds` are those of the two sides (0: no seed changes that side; of several arms the
    fewest of an arm), `inputs` those that all have, from `clusters` sources; `missing` inputs were left out.
    `seed_variance` and `input_variance` are the two parts of the squared standard error.
    """

    mean: float | None
    interval: Interval
    p: float | None
    degrees: float | None
    estimand: Estimand
    seeds: tuple[int, int]
    inputs: int
    clusters: int = 0
    missing: int = 0
    unknown: Unknown | None = None
    seed_variance: float | None = None
    input_variance: float | None = None

    @property
    def half_width(self) -> float | None:
        low, high = self.interval.low, self.interval.high
        return None if low is None or high is None else (high - low) / 2


def recipe_mean(arm: SeedScores) -> Effect:
    """The score that a training by this recipe has at an input like these, with its interval over seeds and inputs, up to
    what a score can be.
    """
    return _within_scale(_contrast([(arm, 1.0)], (arm.seeds, 0), "recipe", tested=False))


def adapter_mean(arm: SeedScores, seed: int = 0) -> Effect:
    """The score of one training (its row in `values`) at an input like these: the interval is over inputs alone."""
    return _within_scale(_contrast([(arm.of_seed(seed), 1.0)], (0, 0), "adapter", tested=False))


def _within_scale(score: Effect) -> Effect:
    """A t interval knows of no ends: what lies outside 0 to 1 is no score. The variances stay what they are."""
    low, high = score.interval.low, score.interval.high
    if low is None or high is None:
        return score
    return replace(score, interval=Interval(max(0.0, low), min(1.0, high)))


def recipe_difference(ours: SeedScores, theirs: SeedScores) -> Effect:
    """How much more a training by our recipe scores than one by theirs, over seeds and inputs; either may be an
    untrained model.
    """
    return _contrast([(ours, 1.0), (theirs, -1.0)], (ours.seeds, theirs.seeds), "recipe")


def adapter_difference(ours: SeedScores, our_seed: int, theirs: SeedScores, their_seed: int) -> Effect:
    """How much more one training scores than another, over inputs; what other seeds would give is not in it."""
    return _contrast([(ours.of_seed(our_seed), 1.0), (theirs.of_seed(their_seed), -1.0)], (0, 0), "adapter")


def main_effect(pairs: Sequence[tuple[SeedScores, SeedScores]]) -> Effect:
    """The mean difference over matched pairs of arms: what a factor (weights, rank, model) does, all else in a pair
    being equal.

    It is over seeds and inputs, and of these pairs: each counts the same, and they are not a sample of others. An arm
    that is in several pairs has the sum of its weights.
    """
    weights: dict[int, float] = {}
    arms: dict[int, SeedScores] = {}
    for ours, theirs in pairs:
        for arm, sign in ((ours, 1.0), (theirs, -1.0)):
            arms[id(arm)] = arm
            weights[id(arm)] = weights.get(id(arm), 0.0) + sign / len(pairs)
    seeds = tuple(min((pair[side].seeds for pair in pairs if pair[side].seeded), default=0) for side in (0, 1))
    weighted = [(arm, weights[key]) for key, arm in arms.items() if abs(weights[key]) > ROUNDING]
    return _contrast(weighted, (seeds[0], seeds[1]), "recipe")


def _contrast(
    weighted: Sequence[tuple[SeedScores, float]], seeds: tuple[int, int], estimand: Estimand, *, tested: bool = True
) -> Effect:
    """Σ weight · arm, by the formulas at the head of this file."""
    import numpy as np

    shared = shared_scores([arm for arm, _ in weighted])
    if not shared.inputs:
        none = Interval(None, None, "interval not estimable: no input was answered by all")
        return Effect(None, none, None, None, estimand, seeds, 0, 0, shared.missing, "nothing_shared")
    by_input = np.zeros(shared.inputs)
    parts: list[tuple[float, int]] = []
    for (_, weight), rows, seeded in zip(weighted, shared.values, shared.seeded, strict=True):
        by_input += weight * rows.mean(axis=0)
        if seeded:
            spread = float(rows.mean(axis=1).var(ddof=1)) if len(rows) > 1 else 0.0
            parts.append((weight**2 * spread / len(rows), len(rows) - 1))
    paired = Paired(tuple(by_input.tolist()), shared.clusters)
    error = paired.standard_error
    found = _Found(paired, 0.0 if error is None else error**2, parts)
    unknown = found.unknown
    interval = _REASONS[unknown] if unknown else found.interval
    p: float | None = None
    if tested and (unknown == "no_variation" or (unknown is None and not any(shared.seeded))):
        p = flip_test(np.array([list(paired.sums.values())])).p[0]
    elif tested and unknown is None:
        p = found.p
    return Effect(
        mean=paired.mean,
        interval=interval,
        p=p,
        degrees=None if unknown else found.degrees,
        estimand=estimand if any(shared.seeded) else "adapter",
        seeds=seeds,
        inputs=paired.inputs,
        clusters=paired.n,
        missing=shared.missing,
        unknown=unknown,
        seed_variance=found.of_seeds if unknown != "too_few_seeds" else None,
        input_variance=None if error is None else error**2,
    )


_REASONS: dict[Unknown, Interval] = {
    "one_source": Interval(None, None, "interval not estimable: it needs two inputs from different sources"),
    "too_few_seeds": Interval(None, None, f"interval not estimable: it needs {LEAST_SEEDS} seeds"),
    "no_variation": Interval(None, None, "interval not estimable: all inputs and seeds say the same"),
}


@dataclass(frozen=True)
class _Found:
    """The contrast by input, the variance that comes of inputs, and those of seeds with their degrees of freedom."""

    paired: Paired
    of_inputs: float
    parts: Sequence[tuple[float, int]]

    @property
    def of_seeds(self) -> float:
        return math.fsum(variance for variance, _ in self.parts)

    @property
    def error(self) -> float:
        return math.sqrt(self.of_seeds + self.of_inputs)

    @property
    def unknown(self) -> Unknown | None:
        if any(degrees < LEAST_SEEDS - 1 for _, degrees in self.parts):
            return "too_few_seeds"
        if self.paired.n < 2:
            return "one_source"
        return "no_variation" if self.error <= ROUNDING else None

    @property
    def degrees(self) -> float:
        squares = [(variance, degrees) for variance, degrees in (*self.parts, (self.of_inputs, self.paired.n - 1))]
        # As shares of the whole: the squares of tiny variances would be nothing.
        whole = self.of_seeds + self.of_inputs
        return 1 / math.fsum((variance / whole) ** 2 / degrees for variance, degrees in squares)

    @property
    def interval(self) -> Interval:
        from scipy.special import stdtrit

        half = float(stdtrit(self.degrees, (1 + LEVEL) / 2)) * self.error
        return Interval(self.paired.mean - half, self.paired.mean + half)

    @property
    def p(self) -> float:
        from scipy.special import stdtr

        return min(1.0, 2 * float(stdtr(self.degrees, -abs(self.paired.mean) / self.error)))


def bound(effect: Effect, level: float) -> Interval:
    """The interval at another level than 95 %, for statements that hold together; as little estimable as the effect's
    own.
    """
    if effect.mean is None or effect.degrees is None or effect.half_width is None:
        return effect.interval
    from scipy.special import stdtrit

    error = effect.half_width / float(stdtrit(effect.degrees, (1 + LEVEL) / 2))
    half = float(stdtrit(effect.degrees, (1 + level) / 2)) * error
    return Interval(effect.mean - half, effect.mean + half)


def half_width_with(effect: Effect, *, seeds: float = 1.0, inputs: float = 1.0) -> float | None:
    """About how wide the interval would be on either side with so many times the seeds and the inputs; None where that
    is unknown.

    By the two parts of the variance as they were found, each divided by its factor; the degrees of freedom grow alike.
    What a part holds of the other's noise (E) shrinks faster than this says.
    """
    if effect.seed_variance is None or effect.input_variance is None or effect.degrees is None:
        return None
    from scipy.special import stdtrit

    of_seeds, of_inputs = effect.seed_variance / seeds, effect.input_variance / inputs
    whole = of_seeds + of_inputs
    input_degrees = effect.clusters * inputs - 1
    if whole <= ROUNDING**2:
        return None
    # What the seeds' degrees of freedom were, from those of the whole.
    before = effect.seed_variance + effect.input_variance
    left = before**2 / effect.degrees - effect.input_variance**2 / (effect.clusters - 1)
    squares = of_inputs**2 / input_degrees
    if effect.seed_variance > 0 and left > 0:
        seed_degrees = effect.seed_variance**2 / left
        least = min(count for count in effect.seeds if count) if any(effect.seeds) else 2
        squares += of_seeds**2 / (seed_degrees * (least * seeds - 1) / (least - 1))
    return float(stdtrit(whole**2 / squares, (1 + LEVEL) / 2)) * math.sqrt(whole)
