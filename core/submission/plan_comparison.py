"""Trainings side by side before anything runs: base, weights, rank, memory, trainable share, seconds a step."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.recipe import Recipe
from core.errors import InputError
from core.home import Home
from core.models.shapes import with_shape
from core.submission.measured_trainings import Basis, MeasuredTraining, measured_trainings, pace_of, parameters_of
from core.vram.budget import Budget
from core.vram.calibration import Calibration, calibration_of
from core.vram.layers import NotPredicted, lora_parameters, require_shape
from core.vram.plan import Row, row


@dataclass(frozen=True)
class ComparedTraining:
    """A model by a recipe. `parameters` are the base model's, `trainable` the adapter's (rank · (inputs + outputs) a layer;
    DoRA's magnitudes not counted). `seconds_a_step` is of an optimizer step. None: unknown."""

    row: Row
    parameters: int | None
    trainable: int | None
    seconds_a_step: float | None
    basis: Basis | Literal["unknown"]

    @property
    def trainable_share(self) -> float | None:
        """Of the base model's parameters."""
        return self.trainable / self.parameters if self.trainable and self.parameters else None

    def to_json(self) -> dict[str, Any]:
        forecast = self.row.forecast
        hqq = self.row.recipe.hqq
        return {
            **self.row.to_json(),
            "bits": None if hqq is None else hqq.bits,
            "dtype": self.row.recipe.dtype,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
            "trainable_share": self.trainable_share,
            "peak_bytes": None if forecast is None else forecast.device_bytes,
            "peak_plus_minus_bytes": None if forecast is None else forecast.plus_minus_bytes,
            "examples_a_step": self.row.recipe.batch_size * self.row.recipe.accumulation,
            "seconds_a_step": self.seconds_a_step,
            "seconds_a_step_basis": self.basis,
        }


def pair(project: Project, said: str) -> tuple[ModelEntry, Recipe]:
    """What `MODEL:RECIPE` means. Raises `InputError` for another form, `NotFoundError` for a name that is not there."""
    model, colon, recipe = said.rpartition(":")
    if not (colon and model and recipe):
        raise InputError(
            f"`{said}` is no MODEL:RECIPE",
            code="wrong_value",
            key="--compare",
            remedy="name a model of models.yaml and a recipe with a colon between them: Qwen3-4B:lora-bf16",
        )
    return project.model(model), project.recipe(recipe)


def compare_trainings(
    connection: sqlite3.Connection,
    home: Home,
    project: Project,
    pairs: Sequence[tuple[ModelEntry, Recipe]],
    budget: Budget,
) -> list[ComparedTraining]:
    """Each pair as it would be trained under a budget, by what this home has measured on such a device."""
    shaped = [(with_shape(home, model), recipe) for model, recipe in pairs]
    measured = measured_trainings(connection, project, budget.kind)
    return compared(shaped, budget, calibration_of(connection, home, budget), measured)


def compared(
    pairs: Sequence[tuple[ModelEntry, Recipe]],
    budget: Budget,
    calibration: Calibration,
    measured: Sequence[MeasuredTraining],
) -> list[ComparedTraining]:
    """Each pair as it would be trained under a budget; `measured` are trainings on such a device."""
    # Steps of equal data alone compare: all are told for examples as long as those of the newest training.
    longest = next((one.longest_tokens for one in measured if one.longest_tokens), None)
    return [_one(model, recipe, budget, calibration, measured, longest) for model, recipe in pairs]


def _one(
    model: ModelEntry,
    recipe: Recipe,
    budget: Budget,
    calibration: Calibration,
    measured: Sequence[MeasuredTraining],
    longest: int | None,
) -> ComparedTraining:
    trainable = None
    with contextlib.suppress(NotPredicted):
        trainable = lora_parameters(require_shape(model), recipe.targets, recipe.rank)
    pace = pace_of(model, recipe, None, measured, longest)
    examples = recipe.batch_size * recipe.accumulation
    return ComparedTraining(
        row(model, recipe, budget, calibration),
        parameters_of(model),
        trainable,
        None if pace is None else pace[0] * examples,
        "unknown" if pace is None else pace[3],
    )
