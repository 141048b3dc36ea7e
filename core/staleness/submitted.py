"""What a person has changed since a job was submitted: a retry takes what the job was told, and does not see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from core.config.project import Project
from core.config.recipe import Recipe
from core.config.task import Task
from core.errors import BakehouseError
from core.files import sha256_file
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, TaskUnderTest
from core.jobfile.spec import InputFile, JobFile, Spec
from core.jobfile.train import TrainSpec
from core.results.rescoring import project_of
from core.staleness.staleness import StaleCause, golden_causes


@dataclass(frozen=True)
class ChangedInput:
    """A task, its golden inputs, a recipe or a training file that is another one by now. `keys` are those of the task or the
    recipe that differ; `gone`: the project has nothing of that name any more."""

    what: Literal["task", "golden", "recipe", "data"]
    name: str
    keys: tuple[str, ...] = ()
    gone: bool = False


def changed_since_submission(home: Home, job_id: int) -> tuple[ChangedInput, ...]:
    """What differs between a job file and the project's files now. Raises `BakehouseError` where either cannot be read.

    A recipe's key that was overridden for the job differs from its file as well: keys count where the file was written since.
    """
    file = JobFile.load(home.run_dir(job_id))
    project = project_of(file)
    found = list(_of_tasks(project, file.spec))
    if isinstance(file.spec, TrainSpec):
        found += [*_of_recipe(project, file.spec.recipe, file.submitted_at), *_of_data(project, file.spec)]
    return tuple(dict.fromkeys(found))


def _tasks(spec: Spec) -> Iterator[tuple[Task, InputFile | None]]:
    """The tasks that a job was told in full, each with its golden inputs where it was told those."""
    if isinstance(spec, BakeoffSpec):
        yield from ((one.task, one.golden) for one in spec.tasks)
        return
    golden = getattr(spec, "golden", None)
    for task in (getattr(spec, "task", None), getattr(getattr(spec, "served", None), "task", None)):
        if isinstance(task, Task):
            yield task, golden


def _of_tasks(project: Project, spec: Spec) -> Iterator[ChangedInput]:
    for then, golden in _tasks(spec):
        if then.name not in project.task_names():
            yield ChangedInput("task", then.name, gone=True)
            continue
        now = project.task(then.name)
        if keys := _differing(then, now):
            yield ChangedInput("task", then.name, keys)
        if golden is not None:
            under_test = TaskUnderTest(task=then, golden=golden, repeats=1)
            for cause in golden_causes(project, now, under_test):
                if isinstance(cause, StaleCause):
                    yield ChangedInput("golden", then.name, gone=cause.now is None)


def _of_recipe(project: Project, then: Recipe, submitted_at: float) -> Iterator[ChangedInput]:
    if then.name not in project.recipe_names():
        yield ChangedInput("recipe", then.name, gone=True)
        return
    now = project.recipe(then.name)
    keys = _differing(then, now)
    if keys and project.origin(now).stat().st_mtime > submitted_at:
        yield ChangedInput("recipe", then.name, keys)


def _of_data(project: Project, spec: TrainSpec) -> Iterator[ChangedInput]:
    if spec.task.name not in project.task_names():
        return
    try:
        file = project.train_file(project.task(spec.task.name))
        same = sha256_file(file) == spec.train.sha256
    except (BakehouseError, OSError):
        yield ChangedInput("data", spec.train.source, gone=True)
        return
    if not same:
        yield ChangedInput("data", str(file))


def _differing(then: Task | Recipe, now: Task | Recipe) -> tuple[str, ...]:
    before, present = then.model_dump(mode="json"), now.model_dump(mode="json")
    return tuple(key for key in present if before.get(key) != present[key])
