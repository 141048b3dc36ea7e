"""Scores and ends of an experiment's arms at one task, made up for tests of what is concluded from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.experiments.evidence import ArmEnd, ArmEvidence, RunCost, TaskEvidence
from core.scoring.scorer import Part
from core.statistics.seed_scores import SeedScores

INPUTS = 12
PARTS: tuple[Part, ...] = ("format", "content")


def cluster_of(inputs: int = INPUTS) -> dict[str, str]:
    return {f"input-{number}": f"input-{number}" for number in range(inputs)}


def part_scores(
    name: str,
    mean: float,
    *,
    seeds: int = 3,
    noise: float = 0.05,
    inputs: int = INPUTS,
    seeded: bool = True,
    seed: int = 0,
) -> dict[Part, SeedScores]:
    """Scores about a mean on both parts; `seed` makes the noise another."""
    generator = np.random.default_rng([seed, sum(name.encode())])
    hard = np.linspace(-0.1, 0.1, inputs)
    found: dict[Part, SeedScores] = {}
    for part in PARTS:
        values = np.clip(mean + hard + generator.normal(0, noise, (seeds, inputs)), 0, 1)
        found[part] = SeedScores(name, values, tuple(cluster_of(inputs)), cluster_of(inputs), seeded)
    return found


def arm_evidence(
    name: str,
    mean: float | None,
    *,
    model: str | None = None,
    values: Mapping[str, Any] | None = None,
    end: ArmEnd = "measured",
    seeds: int = 3,
    noise: float = 0.05,
    inputs: int = INPUTS,
    place: int = 0,
    costs: Sequence[RunCost] = (),
    parameters: int | None = None,
) -> ArmEvidence:
    scores = {} if mean is None else part_scores(name, mean, seeds=seeds, noise=noise, inputs=inputs)
    return ArmEvidence(
        key=name,
        name=name,
        model=model or name,
        weights="bf16",
        place=place,
        values=values if values is not None else {"model": model or name},
        end=end,
        scores=scores,
        seeds=tuple(range(seeds)) if scores else (),
        costs=tuple(costs),
        parameters=parameters,
    )


def task_evidence(
    arms: Sequence[ArmEvidence],
    untrained: Mapping[str, float] | None = None,
    *,
    block: int = 3,
    blocks: int = 3,
    inputs: int = INPUTS,
    noise: float = 0.05,
) -> TaskEvidence:
    models = {
        model: part_scores(f"{model} untrained", mean, seeds=1, noise=noise, inputs=inputs, seeded=False)
        for model, mean in (untrained or {}).items()
    }
    return TaskEvidence("judge", PARTS, 0.05, cluster_of(inputs), tuple(arms), models, block, blocks)
