"""What the missing part of an experiment takes: hours, energy and disk, from what trainings here have taken."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.recipe import Recipe
from core.errors import BakehouseError
from core.experiments.arms import CONVERTED, Arm, ArmRun
from core.jobfile.train import TrainSpec
from core.submission.experiment_plan import ExperimentPlan
from core.submission.measured_work import (
    MeasuredAnswers,
    MeasuredFile,
    Sizes,
    measured_answers,
    measured_files,
    seconds_of_answer,
    seconds_of_file,
)
from core.telemetry.run_record import stored_summary
from core.vram.estimate import Device
from core.vram.layers import NotPredicted, lora_parameters, require_shape, total_parameters

Basis = Literal["measured", "scaled"]
"""`measured`: on the same model and weights. `scaled`: by parameters from others, which holds within a factor of about two."""
NEWEST = 500
FORWARD_SHARE = 1 / 3
"""Of an example that is only evaluated: the backward pass of a training takes about twice its forward pass."""
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
    longest_tokens: int | None = None


@dataclass(frozen=True)
class ExpectedRun:
    """A run that is missing. None: not known; `disk_bytes` stays behind when it has ended. `fits` is the memory forecast of a
    training."""

    run: ArmRun
    seconds: float | None
    joules: float | None
    disk_bytes: int | None
    basis: Basis | None
    fits: bool | None = None


@dataclass(frozen=True)
class ExpectedBakeoff:
    """The bake-off of a task behind a block of seeds, from 1; `seconds` are those of the answers that are new in it."""

    task: str
    block: int
    seconds: float | None


@dataclass(frozen=True)
class ExperimentCost:
    """All that is missing. Sums are over what is known; `unknown` are the arms of which no time is.

    In a race only `keep` arms are trained in full: of each task and seed the dearest are counted, so that the sum holds
    whichever go on.
    """

    runs: tuple[ExpectedRun, ...]
    bakeoffs: tuple[ExpectedBakeoff, ...]
    keep: int | None = None

    @property
    def unknown(self) -> tuple[Arm, ...]:
        return tuple({one.run.arm.key: one.run.arm for one in self.runs if _no_time(one)}.values())

    @property
    def bakeoffs_known(self) -> bool:
        return all(one.seconds is not None for one in self.bakeoffs)

    @property
    def seconds(self) -> float:
        of_runs = sum(one.seconds or 0.0 for one in self.counted(self.runs))
        return of_runs + sum(one.seconds or 0.0 for one in self.bakeoffs)

    @property
    def is_scaled(self) -> bool:
        """Whether any of it was told from other models or weights."""
        return any(one.basis == "scaled" for one in self.runs)

    @property
    def joules(self) -> float | None:
        """Of the trainings; None where nothing measured power."""
        known = [one.joules for one in self.counted(self.runs) if one.joules is not None]
        return sum(known) if known else None

    @property
    def disk_bytes(self) -> int:
        return sum(one.disk_bytes or 0 for one in self.counted(self.runs))

    @property
    def may_not_fit(self) -> tuple[Arm, ...]:
        """The arms whose training does not fit by the central figure of its forecast."""
        return tuple({one.run.arm.key: one.run.arm for one in self.runs if one.fits is False}.values())

    def counted(self, runs: Sequence[ExpectedRun]) -> Sequence[ExpectedRun]:
        """Those of these runs that the sums are over."""
        if self.keep is None:
            return runs
        places: dict[tuple[str, int], dict[str, float]] = {}
        for one in runs:
            if one.run.role != "trial":
                arms = places.setdefault((one.run.task, one.run.seed), {})
                arms[one.run.arm.key] = arms.get(one.run.arm.key, 0.0) + (one.seconds or 0.0)
        dearest = {place: sorted(arms, key=arms.__getitem__)[-self.keep :] for place, arms in places.items()}
        return [
            one for one in runs if one.run.role == "trial" or one.run.arm.key in dearest[one.run.task, one.run.seed]
        ]

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
                | {"disk_bytes": one.disk_bytes, "fits": one.fits}
                for one in self.runs
            ],
            "bakeoffs": [{"task": one.task, "block": one.block, "seconds": one.seconds} for one in self.bakeoffs],
        }


def _no_time(one: ExpectedRun) -> bool:
    return one.seconds is None and one.run.role in ("trial", "final")


def experiment_cost(connection: sqlite3.Connection, project: Project, plan: ExperimentPlan) -> ExperimentCost:
    """The cost of what is missing of an experiment, by what this home has measured."""
    measured = measured_trainings(connection, project, plan.device)
    files = measured_files(connection) if plan.experiment.measure != "adapter" else []
    sizes: dict[str, int | None] = {name: parameters_of(model) for name, model in plan.models.items()}

    def size_of(name: str) -> int | None:
        if name not in sizes:
            sizes[name] = _size(project, name)
        return sizes[name]

    memory: dict[tuple[str, str], tuple[float, float, float | None, Basis] | None] = {}
    runs = tuple(
        _expected(plan, run, measured, memory)
        if run.role in ("trial", "final")
        else _expected_file(plan, run, files, size_of)
        for run in plan.missing
    )
    answers = measured_answers(connection, project.id)
    keep = None if plan.experiment.race is None else plan.experiment.race.keep
    return ExperimentCost(runs, tuple(_bakeoffs(plan, answers, size_of)), keep)


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
                longest_tokens=summary.get("longest_tokens"),
            )
        )
    return found


def _size(project: Project, name: str) -> int | None:
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


def _expected(
    plan: ExperimentPlan,
    run: ArmRun,
    measured: Sequence[MeasuredTraining],
    memory: dict[tuple[str, str], tuple[float, float, float | None, Basis] | None],
) -> ExpectedRun:
    spec = plan.specs[run.task, run.arm.key, run.role, run.lr]
    key = run.task, run.arm.key
    if key not in memory:
        forecast = spec.forecast
        longest = forecast.length if forecast is not None and forecast.of_data else None
        memory[key] = pace_of(spec.model, spec.recipe, run.task, measured, longest)
    pace, disk = memory[key], _adapter_bytes(spec) if run.role == "final" else 0
    fits = None if spec.forecast is None else spec.forecast.fits
    if pace is None:
        return ExpectedRun(run, None, None, disk, None, fits)
    an_example, extra, watts, basis = pace
    recipe = spec.recipe
    examples = plan.tasks[run.task].examples
    held_out = round(examples * recipe.eval_fraction)
    trained = max(1, examples - held_out)
    steps, a_step = recipe.steps_of(trained), recipe.batch_size * recipe.accumulation
    evaluations = math.ceil(steps / (recipe.eval_steps or math.ceil(trained / a_step))) if held_out else 0
    seconds = (steps * a_step + evaluations * held_out * FORWARD_SHARE) * an_example + extra
    return ExpectedRun(run, seconds, None if watts is None else seconds * watts, disk, basis, fits)


def _expected_file(plan: ExperimentPlan, run: ArmRun, measured: Sequence[MeasuredFile], size_of: Sizes) -> ExpectedRun:
    """A step between a training and the file that is asked."""
    parameters = size_of(run.arm.model)
    measure = plan.experiment.measure if run.role == "quantize" or plan.experiment.measure in CONVERTED else "F16"
    each = BYTES_OF_FILE.get(measure, 1.06)
    size = None if parameters is None else int(parameters * each)
    seconds = seconds_of_file(measured, run.role, run.arm.model, size_of)
    own = any((one.role, one.model) == (run.role, run.arm.model) for one in measured)
    return ExpectedRun(run, seconds, None, size, None if seconds is None else "measured" if own else "scaled")


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


def _adapter_bytes(spec: TrainSpec) -> int | None:
    """The adapter as it is kept: its parameters in its own dtype."""
    recipe: Recipe = spec.recipe
    if spec.model.shape is None:
        return None
    return lora_parameters(spec.model.shape, recipe.targets, recipe.rank) * (2 if recipe.lora_dtype == "bf16" else 4)


def _bakeoffs(plan: ExperimentPlan, measured: Sequence[MeasuredAnswers], size_of: Sizes) -> Iterator[ExpectedBakeoff]:
    """The bake-offs, by what candidates of the same model took to answer. In a race the dearest that can go on are counted."""
    experiment, known = plan.experiment, {}
    for task, model, is_tuned in product(experiment.tasks, plan.models, (False, True)):
        as_file = experiment.measure != "adapter"
        pace = seconds_of_answer(measured, task, model, size_of, is_tuned=is_tuned, as_file=as_file)
        each = plan.tasks[task].inputs * (experiment.repeats or plan.tasks[task].task.repeats)
        known[task, model, is_tuned] = None if pace is None else pace * each
    finals = [run for run in plan.missing if run.role == "final"]
    for (block, seed), task in product(enumerate(experiment.seed_list, 1), experiment.tasks):
        tuned = [known[task, run.arm.model, True] for run in finals if (run.task, run.seed) == (task, seed)]
        if not tuned:
            continue
        if experiment.race is not None:
            tuned = sorted(tuned, key=lambda seconds: seconds or 0.0)[-experiment.race.keep :]
        if block == 1 and plan.known is None and experiment.untrained:
            tuned += [known[task, model, False] for model in plan.models]
        yield ExpectedBakeoff(task, block, None if None in tuned else sum(one for one in tuned if one is not None))
