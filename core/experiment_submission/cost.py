"""What the missing part of an experiment takes: hours, energy and disk, from what trainings here have taken."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from core.config.project import Project
from core.config.recipe import Recipe
from core.experiment_submission.plan import ExperimentPlan
from core.experiments.arms import CONVERTED, Arm, ArmRun
from core.home import Home
from core.jobfile.train import TrainSpec
from core.models.files import pull_bytes
from core.submission.measured_trainings import (
    Basis,
    MeasuredTraining,
    measured_trainings,
    pace_of,
    parameters_of,
    size_of_model,
)
from core.submission.measured_work import (
    MeasuredAnswers,
    MeasuredFile,
    Sizes,
    measured_answers,
    measured_files,
    seconds_of_answer,
    seconds_of_file,
)
from core.vram.layers import lora_parameters

FORWARD_SHARE = 1 / 3
"""Of an example that is only evaluated: the backward pass of a training takes about twice its forward pass."""
BYTES_OF_FILE = {"Q8_0": 1.06, "Q6_K": 0.82, "Q5_K_M": 0.71, "Q4_K_M": 0.6, "F16": 2.0, "BF16": 2.0, "F32": 4.0}
"""A parameter in a GGUF file, about; a format that is not here is counted as Q8_0."""


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
    pull_bytes: int = 0
    """What the models take of the disk that are still to be pulled."""

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
        """What stays on the disk, with the models that it is made of."""
        return self.pull_bytes + sum(one.disk_bytes or 0 for one in self.counted(self.runs))

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
            "pull_bytes": self.pull_bytes,
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


def experiment_cost(
    home: Home, connection: sqlite3.Connection, project: Project, plan: ExperimentPlan
) -> ExperimentCost:
    """The cost of what is missing of an experiment, by what this home has measured."""
    measured = measured_trainings(connection, project, plan.device)
    files = measured_files(connection) if plan.experiment.measure != "adapter" else []
    sizes: dict[str, int | None] = {name: parameters_of(model) for name, model in plan.models.items()}

    def size_of(name: str) -> int | None:
        if name not in sizes:
            sizes[name] = size_of_model(project, name)
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
    used = {run.arm.model for run in plan.missing}
    pulls = sum(pull_bytes(home, model) for name, model in plan.models.items() if name in used)
    return ExperimentCost(runs, tuple(_bakeoffs(plan, answers, size_of)), keep, pulls)


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
