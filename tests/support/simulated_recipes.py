"""Experiments whose truth is known: trainings by recipes that are judged by a few seeds and inputs.

What a seed of an arm scores at an input is the input's difficulty, moved by the arm's effect, by the seed, by how the
arm gets on with the input, and by how this seed does; each check of an answer then passes by that chance. Without checks
the score is that number itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from core.statistics.seed_scores import SeedScores

INPUTS = 12
SEEDS = 3
_TRUTH = 1_000_000


@dataclass(frozen=True)
class Truth:
    """The standard deviations of seeds, of arm × input and of seed × input. `difficulty` is the beta distribution of an
    input's chance; without one inputs are normal and scores unbounded. `checks` 1: an answer is right or wrong.
    """

    name: str
    seeds: float
    arm_inputs: float
    seed_inputs: float
    checks: int = 0
    difficulty: tuple[float, float] | None = None
    second_seeds: float | None = None

    def deviation(self, arm: int) -> float:
        """Of the seeds of an arm: every second arm may have its own."""
        return self.seeds if self.second_seeds is None or arm % 2 == 0 else self.second_seeds


_EFFECTS = {
    "no seed effect, all noise": (0.0, 0.0, 0.2),
    "no seed effect, strong arm × input": (0.0, 0.2, 0.05),
    "weak seed effect": (0.03, 0.1, 0.1),
    "strong seed effect": (0.1, 0.05, 0.05),
    "strong both": (0.1, 0.2, 0.1),
    "very strong seeds, noisy": (0.15, 0.2, 0.3),
    "weak seeds, noisy": (0.05, 0.05, 0.3),
}
_KINDS: dict[str, tuple[int, tuple[float, float] | None]] = {
    "normal": (0, None),
    "five checks": (5, (4.0, 2.0)),
    "right or wrong": (1, (4.0, 2.0)),
    "five checks, ceiling": (5, (12.0, 1.0)),
    "right or wrong, ceiling": (1, (12.0, 1.0)),
}
TRUTHS = tuple(
    Truth(f"{kind}; {effect}", *deviations, *of_kind)
    for kind, of_kind in _KINDS.items()
    for effect, deviations in _EFFECTS.items()
) + tuple(Truth(f"{kind}; one arm unsteady", 0.15, 0.1, 0.1, *of_kind, 0.02) for kind, of_kind in _KINDS.items())
PLAIN, STRONG, BINARY, CEILING, UNSTEADY = (
    next(one for one in TRUTHS if one.name == name)
    for name in (
        "five checks; weak seed effect",
        "five checks; strong seed effect",
        "right or wrong; strong both",
        "right or wrong, ceiling; weak seed effect",
        "five checks; one arm unsteady",
    )
)


@dataclass(frozen=True, eq=False)
class DrawnArms:
    """Experiments of one truth: `tuned` is runs × arms × seeds × inputs, `untrained` runs × models × inputs. `moved` is
    runs × arms × seeds: the effect of each training, its seed's with it.
    """

    tuned: np.ndarray
    untrained: np.ndarray
    moved: np.ndarray

    def __len__(self) -> int:
        return len(self.tuned)

    def arm(self, run: int, arm: int) -> SeedScores:
        return _scores(f"arm {arm}", self.tuned[run, arm], seeded=True)

    def model(self, run: int, model: int) -> SeedScores:
        return _scores(f"model {model}", self.untrained[run, model][None], seeded=False)

    def arms(self, run: int) -> list[SeedScores]:
        return [self.arm(run, arm) for arm in range(self.tuned.shape[1])]


def _scores(name: str, values: np.ndarray, *, seeded: bool) -> SeedScores:
    names = tuple(f"input-{number}" for number in range(values.shape[1]))
    return SeedScores(name, values, names, {one: one for one in names}, seeded)


def draw_arms(
    generator: np.random.Generator,
    truth: Truth,
    effects: Sequence[float],
    runs: int,
    *,
    untrained: Sequence[float] = (),
    seeds: int = SEEDS,
    inputs: int = INPUTS,
) -> DrawnArms:
    """Experiments of arms with these effects, and of untrained models with theirs, all at the same inputs."""
    difficulty = _difficulty(generator, truth, (runs, 1, 1, inputs))
    of_seeds = np.array([truth.deviation(arm) for arm in range(len(effects))])[None, :, None, None]
    moved = np.array(effects).reshape(1, -1, 1, 1) + generator.normal(0, 1, (runs, len(effects), seeds, 1)) * of_seeds
    tuned = (
        difficulty
        + moved
        + generator.normal(0, truth.arm_inputs / np.sqrt(2), (runs, len(effects), 1, inputs))
        + generator.normal(0, truth.seed_inputs, (runs, len(effects), seeds, inputs))
    )
    own = generator.normal(0, truth.arm_inputs / np.sqrt(2), (runs, len(untrained), inputs))
    models = difficulty[:, 0] + np.array(untrained).reshape(1, -1, 1) + own
    return DrawnArms(_answered(generator, truth, tuned), _answered(generator, truth, models), moved[..., 0])


def _difficulty(generator: np.random.Generator, truth: Truth, shape: tuple[int, ...]) -> np.ndarray:
    if truth.difficulty is None:
        return generator.normal(0, 0.3, shape)
    return generator.beta(*truth.difficulty, shape)


def _answered(generator: np.random.Generator, truth: Truth, chance: np.ndarray) -> np.ndarray:
    if not truth.checks:
        return chance
    return generator.binomial(truth.checks, np.clip(chance, 0, 1)) / truth.checks


@cache
def expected(truth: Truth, effect: float, arm: int = 0, *, tuned: bool = True) -> float:
    """The score of an arm over all seeds and inputs; of an untrained model over all inputs. Within about 0.0003."""
    if truth.difficulty is None:
        return effect
    generator = np.random.default_rng(5)
    deviation = truth.arm_inputs / np.sqrt(2)
    if tuned:
        deviation = np.sqrt(deviation**2 + truth.deviation(arm) ** 2 + truth.seed_inputs**2)
    moved = _difficulty(generator, truth, (_TRUTH,)) + effect + generator.normal(0, 1, _TRUTH) * deviation
    return float(np.clip(moved, 0, 1).mean())


@cache
def _of_adapters(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Scores over all inputs of trainings that are moved by so much."""
    generator = np.random.default_rng(5)
    moved = np.linspace(-1.5, 1.5, 61)
    deviation = np.sqrt(truth.arm_inputs**2 / 2 + truth.seed_inputs**2)
    of_inputs = _difficulty(generator, truth, (200_000,)) + generator.normal(0, 1, 200_000) * deviation
    return moved, np.array([np.clip(of_inputs + one, 0, 1).mean() for one in moved])


def expected_of_adapter(truth: Truth, moved: np.ndarray) -> np.ndarray:
    """The score of a training over all inputs, by how it is moved. Within about 0.001."""
    return moved if truth.difficulty is None else np.interp(moved, *_of_adapters(truth))
