"""An experiment before it is queued: what is missing of it, and what the runs are told. Nothing is put into the queue.

What many arms have in common is looked up once: the data of a task and its leaks, the files of a model, the tokens of its
examples, the packages of a method, the memory of the machine.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.config.experiment import Experiment
from core.config.model import ModelEntry
from core.config.project import Project
from core.config.recipe import Recipe
from core.config.task import Task
from core.data.text_faults import refuse_thoughts
from core.errors import BakehouseError, InputError
from core.experiments.arms import Arm, ArmRun, Expansion, RunKey, expand, final_recipe, place_of, trial_recipe
from core.experiments.file_check import where_named
from core.files import sha256_json
from core.home import Home
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from core.models.files import check_model_files, model_folder
from core.models.shapes import with_shape
from core.models.targets import check_targets
from core.store.database import open_database
from core.store.experiments import (
    ExperimentKind,
    Place,
    StoredExperiment,
    StoredRun,
    find_experiment,
    kept_finals,
    runs_of,
    stopped_finals,
)
from core.submission.audit_process import longest_example
from core.submission.bakeoff import golden_task
from core.submission.enqueue import check_host_memory
from core.submission.gates import ask_gates, told_later
from core.submission.input_store import golden_file
from core.submission.memory_check import MeasuredMemory, Planned, measured_machine, plan_training
from core.submission.python_environment import find_python, require
from core.submission.submit import check_leaks, train_file
from core.telemetry.newest import jobs_vendor
from core.vram.estimate import Device
from core.vram.layers import NotPredicted

BEHIND = ("merge", "convert", "quantize")
"""Roles of what is made of a trained adapter; what they are told follows from the training's job."""


@dataclass(frozen=True)
class PreparedTask:
    """A task as all arms are trained for it. `fingerprint` is a hash of what training sees of it; `examples` and golden
    `inputs` are counted.
    """

    task: Task
    train: InputFile
    golden: InputFile
    fingerprint: str
    examples: int
    inputs: int


@dataclass(frozen=True)
class LeftOutArm:
    """An arm that cannot be trained for a task here, and why."""

    task: str
    arm: Arm
    error: BakehouseError


@dataclass(frozen=True)
class ExperimentPlan:
    """`missing` are the runs without a job, in the order in which they are queued; `specs` what a trial or a final is told, but
    for what it chooses, by arm, task, role and learning rate.

    `known` is the experiment as it was queued before. `about` is kept with its definition: how a tournament came to its arms.
    """

    experiment: Experiment
    kind: ExperimentKind
    expansion: Expansion
    missing: tuple[ArmRun, ...]
    specs: Mapping[tuple[str, str, str, float | None], TrainSpec]
    tasks: Mapping[str, PreparedTask]
    models: Mapping[str, ModelEntry]
    left_out: tuple[LeftOutArm, ...] = ()
    remarks: tuple[str, ...] = ()
    known: StoredExperiment | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    device: Device | None = None
    """What trains here; None where the memory of the machine is unknown."""
    revived: Mapping[Place, int] = field(default_factory=dict)
    """Trainings among the missing ones that a race had stopped, and that would go on by the rule of now; with their jobs."""

    @property
    def revived_arms(self) -> tuple[tuple[str, Arm], ...]:
        """Tasks and arms of which such a training is missing."""
        found = [(run.task, run.arm) for run in self.missing if run.role == "final" and run.place in self.revived]
        return tuple({(task, arm.key): (task, arm) for task, arm in found}.values())

    def spec_of(self, run: ArmRun) -> TrainSpec:
        """What a trial or a final is told, but for what it chooses."""
        spec = self.specs[run.task, run.arm.key, run.role, run.lr]
        return spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"seed": run.seed})})

    def only(self, runs: Collection[ArmRun]) -> ExperimentPlan:
        """The same with no other runs than these: those that there is time for."""
        chosen = {run.key for run in runs}
        return replace(self, missing=tuple(run for run in self.missing if run.key in chosen))


def plan_experiment(
    home: Home,
    project: Project,
    experiment: Experiment,
    *,
    kind: ExperimentKind = "experiment",
    about: Mapping[str, Any] | None = None,
) -> ExperimentPlan:
    """What is missing of an experiment, looked up and checked.

    An arm that cannot be trained here is left out with its reason. Raises `InputError` and `NotFoundError` for what is wrong
    with all of it: a name, the data of a task, data that has changed since the first arms were trained on it, a package that
    is not installed; and where no arm is left.
    """
    expansion = expand(experiment, project)
    models = {name: _model(home, project, experiment, name) for name in dict.fromkeys(a.model for a in expansion.arms)}
    with contextlib.closing(open_database(home)) as connection:
        known = find_experiment(connection, project.id, experiment.name)
        runs = [] if known is None else runs_of(connection, known.id)
        keep = None if experiment.race is None else experiment.race.keep
        again = {} if known is None else revived(stopped_finals(connection, known.id), keep)
        stay = [] if known is None or keep is None else _kept_by_a_former_rule(connection, known, keep)
    there = {_same_run(run.key) for run in runs if run.role == "trial" or run.place not in again}
    missing = [run for run in expansion.runs if _same_run(run.key) not in there]
    tasks = {name: _task(home, project, experiment, place, name) for place, name in enumerate(experiment.tasks)}
    if known is not None:
        _require_same_data(known, tasks)
    preparing = _Preparing(home, project, experiment, tasks, models)
    specs, left_out = preparing.all(missing)
    out = {(one.task, one.arm.key) for one in left_out}
    missing = [run for run in missing if (run.task, run.arm.key) not in out]
    if left_out and not missing and not there:
        raise none_left(experiment, left_out)
    remarks = tuple(dict.fromkeys([*preparing.remarks, *stay]))
    return ExperimentPlan(
        experiment,
        kind,
        expansion,
        tuple(missing),
        specs,
        tasks,
        models,
        tuple(left_out),
        remarks,
        known,
        about or {},
        preparing.device,
        again,
    )


def _kept_by_a_former_rule(connection: sqlite3.Connection, known: StoredExperiment, keep: int) -> list[str]:
    """What is to be said of arms that were trained when more went on than do now: nothing of them is taken back."""
    found: dict[str, list[str]] = {}
    for run, rank in kept_finals(connection, known.id).items():
        arm = known.arm(run.arm_key)
        if rank > keep and arm is not None and arm.name not in found.setdefault(run.task, []):
            found[run.task].append(arm.name)
    return [
        f"{task}: trained by a former rule of the race, and stays in the answer: {', '.join(names)}"
        for task, names in found.items()
    ]


def revived(stopped: Mapping[StoredRun, int], keep: int | None) -> dict[Place, int]:
    """Of the trainings that a race has stopped (`stopped_finals`) those that go on where `keep` arms do, or all with None; with
    their jobs."""
    return {run.place: run.job_id for run, rank in stopped.items() if keep is None or rank <= keep}


def none_left(experiment: Experiment, left_out: Collection[LeftOutArm]) -> InputError:
    """No arm can be trained: all reasons in one refusal."""
    reasons = dict.fromkeys(f"{one.arm.name}: {one.error.message}" for one in left_out)
    first = next(iter(left_out)).error
    return InputError(
        f"no arm of {experiment.name} can be trained here: {'; '.join(reasons)}", code=first.code, remedy=first.remedy
    )


def _same_run(key: RunKey) -> tuple[Any, ...]:
    """A trial counts with whatever seed it was made: a list of seeds that begins with another one tries nothing anew."""
    task, arm, role, seed, lr = key
    return task, arm, role, lr if role == "trial" else seed


def _model(home: Home, project: Project, experiment: Experiment, name: str) -> ModelEntry:
    try:
        return with_shape(home, project.model(name))
    except BakehouseError as error:
        raise _placed(experiment, where_named(experiment, name), error) from error


def _task(home: Home, project: Project, experiment: Experiment, place: int, name: str) -> PreparedTask:
    """The data of a task, copied, read and held to its gates once for all arms."""
    try:
        task = golden_task(project, name).task
    except BakehouseError as error:
        if error.file is None:
            raise _placed(experiment, ("tasks", place), error) from error
        raise
    train, examples = train_file(home, project, task)
    golden = check_leaks(project, task, examples, train.source)
    refuse_thoughts(examples, task, train.source)
    seen = [train.sha256, task.system, task.system_role, task.thinking, task.data.loss, task.data.system]
    kept = golden_file(home, project, task, golden)
    return PreparedTask(task, train, kept, sha256_json(seen), len(examples), len(golden.inputs))


def _placed(experiment: Experiment, path: tuple[str | int, ...], error: BakehouseError) -> BakehouseError:
    """An error with the place in the experiment's file that it comes of."""
    placed = place_of(experiment, path, error.message, code=error.code, remedy=error.remedy)
    error.file, error.line, error.key = placed.file, placed.line, placed.key
    return error


def _require_same_data(known: StoredExperiment, tasks: Mapping[str, PreparedTask]) -> None:
    """Arms that were trained on other data cannot be compared with those that are still to be trained."""
    before = known.definition.get("data", {})
    for name, prepared in tasks.items():
        if name in before and before[name] != prepared.fingerprint:
            raise InputError(
                f"what is learnt for {name} has changed since {known.name} was first run (training data, system text or what "
                "is learnt of an example): arms trained before and after cannot be compared",
                code="data_changed",
                file=prepared.train.source,
                remedy="give the experiment another name, or bring the former data back",
            )


class _Preparing:
    """The runs of one experiment while they are made ready; each question is asked once, its refusal kept as its answer."""

    def __init__(
        self,
        home: Home,
        project: Project,
        experiment: Experiment,
        tasks: Mapping[str, PreparedTask],
        models: Mapping[str, ModelEntry],
    ) -> None:
        self.home, self.project, self.experiment, self.tasks, self.models = home, project, experiment, tasks, models
        self.remarks: list[str] = []
        self._answers: dict[Any, Any] = {}

    def all(
        self, missing: list[ArmRun]
    ) -> tuple[dict[tuple[str, str, str, float | None], TrainSpec], list[LeftOutArm]]:
        specs: dict[tuple[str, str, str, float | None], TrainSpec] = {}
        left_out: dict[tuple[str, str], LeftOutArm] = {}
        for run in missing:
            place = run.task, run.arm.key, run.role, run.lr
            if run.role in BEHIND or place in specs or place[:2] in left_out:
                continue
            try:
                specs[place] = self._spec(run)
            except BakehouseError as error:
                if error.code in ("no_interpreter", "no_bakehouse", "no_torch", "missing_package", "wrong_torch"):
                    raise
                left_out[place[:2]] = LeftOutArm(run.task, run.arm, error)
        return specs, list(left_out.values())

    def _spec(self, run: ArmRun) -> TrainSpec:
        model, prepared = self.models[run.arm.model], self.tasks[run.task]
        if run.role == "trial":
            assert run.lr is not None  # a trial is of one
            recipe = trial_recipe(self.experiment, run.arm, run.lr)
        else:
            recipe = final_recipe(run.arm, run.seed)
        self._once(("files", model.name), lambda: check_model_files(self.home, model))
        self._once(("targets", model.name, *recipe.targets), lambda: self._targets(model, recipe))
        examples = run.task, model.name, *_of_the_lengths(recipe)
        self._once(("gates", *examples), lambda: self._gates(prepared.task, model, recipe))
        longest = self._once(
            ("longest", *examples),
            lambda: longest_example(self.home, self.project, prepared.task, model, recipe),
        )
        planned = self._planned(run.arm, model, recipe, longest)
        spec = TrainSpec(
            task=prepared.task,
            model=model,
            recipe=planned.recipe,
            train=prepared.train,
            golden=prepared.golden,
            forecast=planned.forecast,
            not_predicted=planned.not_predicted,
            fitted=planned.fitted,
        )
        self._once(("packages", spec.packages), lambda: self._packages(spec))
        check_host_memory(spec.host_memory(self.home, self._vendor() is not None))
        return spec

    @property
    def device(self) -> Device | None:
        """What trains here."""
        machine: MeasuredMemory | None = self._once(("machine",), self._machine)
        return None if machine is None else machine.budget.kind

    def _targets(self, model: ModelEntry, recipe: Recipe) -> None:
        if (folder := model_folder(self.home, model)) is not None:
            check_targets(folder, model.name, recipe.targets)

    def _gates(self, task: Task, model: ModelEntry, recipe: Recipe) -> None:
        unasked = told_later([ask_gates(self.home, self.project, task.name, model, recipe)])
        if unasked:
            self.remarks.append(unasked)

    def _planned(self, arm: Arm, model: ModelEntry, recipe: Recipe, longest: int | None) -> Planned:
        # Neither the seed nor the learning rate changes what a training takes.
        alike = recipe.model_dump(mode="json", exclude={"seed", "lr", "name"})
        machine = self._once(("machine",), self._machine)
        planned: Planned = self._once(
            ("memory", model.name, longest, sha256_json(alike)),
            lambda: plan_training(self.home, model, recipe, longest, machine),
        )
        if planned.fitted:
            changed = ", ".join(f"{one.key} {one.before} → {one.after}" for one in planned.fitted)
            self.remarks.append(f"{arm.name}: changed so that its training fits: {changed}")
        elif planned.forecast is not None and planned.forecast.ladder:
            self.remarks.append(f"{arm.name}: {planned.forecast.ladder}")
        fitted = planned.recipe.model_copy(update={"seed": recipe.seed, "lr": recipe.lr, "name": recipe.name})
        return replace(planned, recipe=fitted)

    def _machine(self) -> MeasuredMemory | None:
        with contextlib.suppress(NotPredicted):
            return measured_machine(self.home)
        return None

    def _packages(self, spec: TrainSpec) -> None:
        require(self.home, find_python(self.project.settings.jobs.python), spec.packages, vendor=self._vendor())

    def _vendor(self) -> str | None:
        vendor: str | None = self._once(("vendor",), lambda: jobs_vendor(self.home))
        return vendor

    def _once(self, question: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        """What was answered before, or is now; a refusal is an answer, and is raised again."""
        if question not in self._answers:
            try:
                self._answers[question] = ask()
            except BakehouseError as error:
                self._answers[question] = error
        answer = self._answers[question]
        if isinstance(answer, BakehouseError):
            raise answer
        return answer


def _of_the_lengths(recipe: Recipe) -> Iterator[Any]:
    """What of a recipe decides how many tokens its examples have, and how many may be left out."""
    shown = None if recipe.few_shot is None else sha256_json(recipe.few_shot.model_dump())
    yield from (recipe.max_length, recipe.max_skipped, recipe.skeletons, shown)
