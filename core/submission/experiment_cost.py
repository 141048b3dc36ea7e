"""What the missing part of an experiment takes: hours, energy and disk, from what trainings here have taken."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.recipe import Recipe
from core.errors import BakehouseError
from core.experiments.arms import Arm, ArmRun
from core.jobfile.train import TrainSpec
from core.submission.expected_time import measured_paces
from core.submission.experiment_plan import ExperimentPlan
from core.telemetry.run_record import stored_summary
from core.vram.estimate import Device
from core.vram.layers import NotPredicted, lora_parameters, require_shape, total_parameters

Basis = Literal["measured", "scaled"]
"""`measured`: on the same model and weights. `scaled`: by parameters from others, which holds within a factor of about two."""
NEWEST = 500
BYTES_OF_MERGED = 2
BYTES_OF_FILE = {"Q8_0": 1.06, "Q6_K": 0.82, "Q5_K_M": 0.71, "Q4_K_M": 0.6, "F16": 2.0, "BF16": 2.0, "F32": 4.0}
"""A parameter in a GGUF file, about; a format that is not here is counted as Q8_0."""


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


@dataclass(frozen=True)
class ExpectedRun:
    """A run that is missing. None: not known; `disk_bytes` stays behind when it has ended."""

    run: ArmRun
    seconds: float | None
    joules: float | None
    disk_bytes: int | None
    basis: Basis | None


@dataclass(frozen=True)
class ExpectedBakeoff:
    """The bake-off of a task behind a block of seeds, from 1; `seconds` are those of the answers that are new in it."""

    task: str
    block: int
    seconds: float | None


@dataclass(frozen=True)
class ExperimentCost:
    """All that is missing. Sums are over what is known; `unknown` are the arms of which no time is."""

    runs: tuple[ExpectedRun, ...]
    bakeoffs: tuple[ExpectedBakeoff, ...]

    @property
    def unknown(self) -> tuple[Arm, ...]:
        return tuple({one.run.arm.key: one.run.arm for one in self.runs if _no_time(one)}.values())

    @property
    def bakeoffs_known(self) -> bool:
        return all(one.seconds is not None for one in self.bakeoffs)

    @property
    def seconds(self) -> float:
        of_runs = sum(one.seconds or 0.0 for one in self.runs)
        return of_runs + sum(one.seconds or 0.0 for one in self.bakeoffs)

    @property
    def is_scaled(self) -> bool:
        """Whether any of it was told from other models or weights."""
        return any(one.basis == "scaled" for one in self.runs)

    @property
    def joules(self) -> float | None:
        """Of the trainings; None where nothing measured power."""
        known = [one.joules for one in self.runs if one.joules is not None]
        return sum(known) if known else None

    @property
    def disk_bytes(self) -> int:
        return sum(one.disk_bytes or 0 for one in self.runs)

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "scaled": self.is_scaled,
            "joules": self.joules,
            "disk_bytes": self.disk_bytes,
            "unknown_arms": [arm.key for arm in self.unknown],
            "bakeoffs_known": self.bakeoffs_known,
            "runs": [
                {"task": one.run.task, "arm": one.run.arm.key, "role": one.run.role, "seed": one.run.seed}
                | {"lr": one.run.lr, "seconds": one.seconds, "joules": one.joules, "basis": one.basis}
                for one in self.runs
            ],
            "bakeoffs": [{"task": one.task, "block": one.block, "seconds": one.seconds} for one in self.bakeoffs],
        }


def _no_time(one: ExpectedRun) -> bool:
    return one.seconds is None and one.run.role in ("trial", "final")


def experiment_cost(connection: sqlite3.Connection, project: Project, plan: ExperimentPlan) -> ExperimentCost:
    """The cost of what is missing of an experiment, by what this home has measured."""
    measured = measured_trainings(connection, project, plan.device)
    memory: dict[tuple[str, str], tuple[float, float, float | None, Basis] | None] = {}
    runs = tuple(_expected(plan, run, measured, memory) for run in plan.missing)
    paces = measured_paces(connection, project.id)
    return ExperimentCost(runs, tuple(_bakeoffs(plan, paces)))


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
            sizes[name] = _size(project, name)
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
            )
        )
    return found


def _size(project: Project, name: str) -> int | None:
    with contextlib.suppress(BakehouseError):  # a model that is no longer in the project's files
        return project.model(name).parameters
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


def _expected(
    plan: ExperimentPlan,
    run: ArmRun,
    measured: Sequence[MeasuredTraining],
    memory: dict[tuple[str, str], tuple[float, float, float | None, Basis] | None],
) -> ExpectedRun:
    model = plan.models[run.arm.model]
    if run.role not in ("trial", "final"):
        parameters = model.parameters or 0
        size = BYTES_OF_MERGED if run.role == "merge" else BYTES_OF_FILE.get(plan.experiment.measure, 1.06)
        return ExpectedRun(run, None, None, int(parameters * size), None)
    spec = plan.spec_of(run)
    key = run.task, run.arm.key
    if key not in memory:
        memory[key] = pace_of(spec.model, spec.recipe, run.task, measured)
    pace, disk = memory[key], _adapter_bytes(spec) if run.role == "final" else 0
    if pace is None:
        return ExpectedRun(run, None, None, disk, None)
    an_example, extra, watts, basis = pace
    recipe = spec.recipe
    held = 1 - recipe.eval_fraction
    steps = recipe.steps_of(max(1, round(plan.tasks[run.task].examples * held)))
    seconds = steps * recipe.batch_size * recipe.accumulation * an_example + extra
    return ExpectedRun(run, seconds, None if watts is None else seconds * watts, disk, basis)


def pace_of(
    model: ModelEntry, recipe: Recipe, task: str | None, measured: Sequence[MeasuredTraining]
) -> tuple[float, float, float | None, Basis] | None:
    """Seconds an example, seconds beside the steps, watts. Of the same model and weights those with the nearest rank count, of
    the same task before others; else all others, scaled by parameters. None where nothing like it was measured."""
    weights = "plain" if recipe.hqq is None else f"{recipe.hqq.bits}-bit"
    same = [one for one in measured if (one.model, one.weights) == (model.name, weights)]
    same = [one for one in same if one.task == task] or same
    if same:
        nearest = min(abs(one.rank - recipe.rank) for one in same)
        near = [one for one in same if abs(one.rank - recipe.rank) == nearest]
        return *_medians(near), "measured"
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


def parameters_of(model: ModelEntry) -> int | None:
    """Of the base model: its entry's count, else that of its shape."""
    if model.parameters:
        return model.parameters
    try:
        return total_parameters(model, require_shape(model))
    except NotPredicted:
        return None


def _adapter_bytes(spec: TrainSpec) -> int | None:
    """The adapter as it is kept: its parameters in its own dtype."""
    recipe: Recipe = spec.recipe
    if spec.model.shape is None:
        return None
    return lora_parameters(spec.model.shape, recipe.targets, recipe.rank) * (2 if recipe.lora_dtype == "bf16" else 4)


def _bakeoffs(plan: ExperimentPlan, paces: Mapping[tuple[str, str], float]) -> Sequence[ExpectedBakeoff]:
    seeds = plan.experiment.seed_list
    found = []
    for block, seed in enumerate(seeds, 1):
        for task in plan.experiment.tasks:
            new = sum((run.task, run.role, run.seed) == (task, "final", seed) for run in plan.missing)
            if not new:
                continue
            if block == 1 and plan.known is None and plan.experiment.untrained:
                new += len({arm.model for arm in plan.expansion.arms})
            own = [pace for (of_task, _), pace in paces.items() if of_task == task] or list(paces.values())
            each = plan.tasks[task].inputs * (plan.experiment.repeats or plan.tasks[task].task.repeats)
            seconds = statistics.median(own) * each * new if own else None
            found.append(ExpectedBakeoff(task, block, seconds))
    return found
