"""All that is wrong with the experiments of a project: their files, and what they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.config.experiment import Experiment
from core.config.project import EXPERIMENTS, Project, named
from core.config.validation import check
from core.errors import BakehouseError, InputError, NotFoundError
from core.experiments.arms import expand, place_of
from core.text import printable


def check_experiments(project: Project) -> list[InputError]:
    """Every problem in the project's own files of experiments, by file and line; nothing is stored and no data is read."""
    problems = [
        problem
        for file in sorted((project.root / EXPERIMENTS).glob("*"))
        if not file.name.startswith(".") and not file.is_dir()
        for problem in _problems(project, file.stem, file.suffix)
    ]
    return sorted(problems, key=lambda problem: (problem.file or "", problem.line or 0))


def _problems(project: Project, name: str, suffix: str) -> Iterator[InputError]:
    file = project.root / EXPERIMENTS / f"{name}{suffix}"
    if suffix != ".yaml":
        remedy = f"rename it to {printable(name)}.yaml" if suffix == ".yml" else "move it elsewhere"
        yield InputError("is not read: only *.yaml is", code="unknown_file", file=file, remedy=remedy)
        return
    try:
        experiment, wrong = check(Experiment, named(file), given={"name": name})
    except InputError as problem:
        yield problem
        return
    yield from wrong
    if experiment is None:
        return
    try:
        expansion = expand(experiment, project)
    except NotFoundError as absent:
        yield place_of(experiment, ("recipe",), absent.message, code=absent.code, remedy=absent.remedy)
        return
    except InputError as problem:
        yield problem
        return
    for place, task in enumerate(experiment.tasks):
        if task not in project.task_names():
            yield _absent(project.task, task, experiment, ("tasks", place))
    known = project.model_names()
    for model in dict.fromkeys(arm.model for arm in expansion.arms):
        if model not in known:
            yield _absent(project.model, model, experiment, where_named(experiment, model))


def where_named(experiment: Experiment, model: str) -> tuple[str | int, ...]:
    """Where an experiment names a model."""
    if model in experiment.vary.get("model", ()):
        return "vary", "model", experiment.vary["model"].index(model)
    for place, arm in enumerate(experiment.arms):
        if arm.get("model") == model:
            return "arms", place, "model"
    return "hold", "model"


def _absent(
    find: Callable[[str], object], name: str, experiment: Experiment, path: tuple[str | int, ...]
) -> InputError:
    try:
        find(name)
    except BakehouseError as error:
        return place_of(experiment, path, error.message, code=error.code, remedy=error.remedy)
    raise AssertionError(f"{name} is there")
