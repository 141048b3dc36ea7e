"""What trainings took in this home, and by that what another one will take."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.recipe import Recipe
from core.errors import BakehouseError
from core.telemetry.run_record import stored_summary
from core.vram.estimate import Device
from core.vram.layers import NotPredicted, require_shape, total_parameters

Basis = Literal["measured", "scaled"]
"""`measured`: on the same model and weights. `scaled`: by parameters from others, which holds within a factor of about two."""
NEWEST = 500


@dataclass(frozen=True)
class MeasuredTraining:
    """A training of this home. `step_seconds` is for one example of a step, `extra_seconds` what it took beside its steps."""

    task: str
    model: str
    weights: str
    rank: int
    parameters: int | None
    step_seconds: float
    extra_seconds: float
    watts: float | None
    longest_tokens: int | None = None


def measured_trainings(
    connection: sqlite3.Connection, project: Project, device: Device | None = None
) -> list[MeasuredTraining]:
    """The newest trainings of the home that are done, newest first; the size of a model is that of the project's entry.

    With `device` only those on such a one: a CPU's step says nothing of a GPU's.
    """
    sizes: dict[str, int | None] = {}
    rows = connection.execute(
        """
        SELECT j.id, j.task, j.model, j.settings, j.result,
               (SELECT group_concat(telemetry, char(31)) FROM attempts a WHERE a.job_id = j.id) AS telemetry
        FROM jobs j WHERE j.kind = 'train' AND j.state = 'done' AND j.result IS NOT NULL ORDER BY j.ended_at DESC LIMIT ?
        """,
        [NEWEST],
    ).fetchall()
    found = []
    for row in rows:
        summary = json.loads(row["result"]).get("summary") or {}
        used, steps = summary.get("recipe_used"), summary.get("steps")
        if not isinstance(used, dict) or not steps or summary.get("censored"):
            continue
        ran_on = (summary.get("device") or {}).get("type")
        if device is not None and ran_on is not None and (ran_on == "cuda") != (device == "gpu"):
            continue
        if (name := row["model"] or "") not in sizes:
            sizes[name] = size_of_model(project, name)
        whole = float(summary.get("seconds") or 0.0)
        a_step = float(summary.get("seconds_per_step") or whole / steps)
        if a_step <= 0:
            continue
        examples = used["batch_size"] * used["accumulation"]
        found.append(
            MeasuredTraining(
                task=row["task"] or "",
                model=name,
                weights=_weights(used),
                rank=used["rank"],
                parameters=sizes[name],
                step_seconds=a_step / examples,
                extra_seconds=max(0.0, whole - steps * a_step),
                watts=_watts(row["telemetry"]),
                longest_tokens=summary.get("longest_tokens"),
            )
        )
    return found


def size_of_model(project: Project, name: str) -> int | None:
    """Parameters of a model of the project by its name; None where that is not known."""
    with contextlib.suppress(BakehouseError):  # a model that is no longer in the project's files
        return parameters_of(project.model(name))
    return None


def _weights(used: Mapping[str, Any]) -> str:
    hqq = used.get("hqq")
    return f"{hqq['bits']}-bit" if hqq else "plain"


def _watts(telemetry: str | None) -> float | None:
    for text in (telemetry or "").split("\x1f"):
        figures = stored_summary(text)
        if figures is not None and figures.energy_joules and figures.seconds:
            return figures.energy_joules / figures.seconds
    return None


def pace_of(
    model: ModelEntry,
    recipe: Recipe,
    task: str | None,
    measured: Sequence[MeasuredTraining],
    longest: int | None = None,
) -> tuple[float, float, float | None, Basis] | None:
    """Seconds an example, seconds beside the steps, watts. Of the same model and weights those with the nearest rank count, of
    the same task before others; else all others, scaled by parameters. None where nothing like it was measured.

    What was measured for another task is scaled to `longest`, the tokens of the longest example, where both are known;
    without a task all of it is, so that two models that were trained on different data can be compared.
    """
    measured = [one if task is not None and one.task == task else _at_length(one, longest) for one in measured]
    weights = "plain" if recipe.hqq is None else f"{recipe.hqq.bits}-bit"
    same = [one for one in measured if (one.model, one.weights) == (model.name, weights)]
    same = [one for one in same if one.task == task] or same
    if same:
        nearest = min(abs(one.rank - recipe.rank) for one in same)
        near = [one for one in same if abs(one.rank - recipe.rank) == nearest]
        is_same = (
            near[0].task == task if task is not None else all(longest in (None, one.longest_tokens) for one in near)
        )
        return *_medians(near), "measured" if is_same else "scaled"
    own = parameters_of(model)
    others = [one for one in measured if one.parameters]
    if not own or not others:
        return None
    alike = [one for one in others if one.weights == weights] or others
    scaled = [(one.step_seconds * own / (one.parameters or own), one.extra_seconds, one.watts) for one in alike]
    return statistics.median(one[0] for one in scaled), *_beside(scaled), "scaled"


def _medians(trainings: Sequence[MeasuredTraining]) -> tuple[float, float, float | None]:
    figures = [(one.step_seconds, one.extra_seconds, one.watts) for one in trainings]
    return statistics.median(one[0] for one in figures), *_beside(figures)


def _beside(figures: Sequence[tuple[float, float, float | None]]) -> tuple[float, float | None]:
    watts = [one[2] for one in figures if one[2] is not None]
    return statistics.median(one[1] for one in figures), statistics.median(watts) if watts else None


def _at_length(one: MeasuredTraining, longest: int | None) -> MeasuredTraining:
    if not longest or not one.longest_tokens:
        return one
    return replace(one, step_seconds=one.step_seconds * longest / one.longest_tokens)


def parameters_of(model: ModelEntry) -> int | None:
    """Of the base model: its entry's count, else that of its shape."""
    if model.parameters:
        return model.parameters
    try:
        return total_parameters(model, require_shape(model))
    except NotPredicted:
        return None
