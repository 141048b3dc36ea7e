"""All that is wrong with a project, found without loading a model or a tokenizer: `bakehouse config check`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.bakeoff.checks import check_id
from core.config.golden import GoldenInput, check_document, golden_document
from core.config.model import ModelEntry
from core.config.project import MODELS, RECIPES, TASKS, Project, named
from core.config.recipe import Recipe
from core.config.task import Task
from core.config.validation import check
from core.config.yaml import Marked, found, load_mapping
from core.data.examples import find_leaks, load_examples
from core.errors import InputError


def check_project(project: Project) -> list[InputError]:
    """Every problem in the project's own files (not in the shipped ones behind it), by file and line."""
    problems = [
        *_check_settings(project),
        *_check_folder(project, TASKS),
        *_check_folder(project, RECIPES),
        *_check_models(project),
    ]
    return sorted(problems, key=lambda problem: (problem.file or "", problem.line or 0))


def check_task(project: Project, file: Path) -> list[InputError]:
    """Every problem of one task: its file, its golden inputs, its training data, and leaks between the two."""
    try:
        document = named(file)
    except InputError as problem:
        return [problem]
    task, problems = check(Task, document, given={"name": file.stem})
    if task is None:
        return problems
    golden, golden_problems = _check_golden(project, task, document)
    return [*golden_problems, *_check_data(project, task, golden)]


def _check_settings(project: Project) -> Iterator[InputError]:
    python = project.settings.jobs.python
    if python and "/" in python and not Path(python).is_file():
        message = f"jobs.python: there is no interpreter {python}"
        yield InputError(message, code="missing_file", file=project.root / "bakehouse.yaml", key="jobs.python")


def _check_folder(project: Project, folder: Path) -> Iterator[InputError]:
    for file in sorted((project.root / folder).glob("*")):
        if file.name.startswith(".") or file.is_dir():
            continue
        if file.suffix != ".yaml":
            remedy = f"rename it to {file.stem}.yaml" if file.suffix == ".yml" else "move it elsewhere"
            yield InputError("is not read: only *.yaml is", code="unknown_file", file=file, remedy=remedy)
        elif folder == TASKS:
            yield from check_task(project, file)
        else:
            yield from _check_recipe(file)


def _check_recipe(file: Path) -> list[InputError]:
    try:
        document = named(file)
    except InputError as problem:
        return [problem]
    return check(Recipe, document, given={"name": file.stem})[1]


def _check_models(project: Project) -> Iterator[InputError]:
    file = project.root / MODELS
    if not file.exists():
        return
    try:
        document = load_mapping(file)
    except InputError as problem:
        yield problem
        return
    for name, entry in document.data.items():
        if not isinstance(entry, dict):
            yield document.error(f"expected a mapping of keys, found {found(entry)}", (name,))
            continue
        model, problems = check(ModelEntry, document, (name,), {"name": name})
        yield from problems
        if model and model.path and not project.resolve(model.path, model).exists():
            message = f"there is no {project.resolve(model.path, model)}"
            yield document.error(message, (name, "path"), code="missing_file")


def _check_golden(project: Project, task: Task, document: Marked) -> tuple[list[GoldenInput], list[InputError]]:
    if task.golden is None:
        return [], []
    problems: list[InputError] = []
    if not task.format and not task.content:
        remedy = "write at least one under `format:` or `content:`: without it every answer scores the same"
        problems.append(document.error("the task has no check yet", ("format",), code="no_checks", remedy=remedy))
    file = project.resolve(task.golden, task)
    if not file.is_file():
        message = f"there is no file {file}"
        return [], [*problems, document.error(message, ("golden",), code="missing_file")]
    try:
        written = golden_document(file)
    except InputError as problem:
        return [], [*problems, problem]
    golden, wrong = check_document(written, project.owner(task).root)
    if golden is None:
        return [], problems + wrong
    return golden.inputs, [*problems, *_check_expectations(task, golden.inputs, written)]


def _check_expectations(task: Task, inputs: list[GoldenInput], document: Marked) -> Iterator[InputError]:
    """A check that asks for `expect.KEY` is faulty on an input that has no such key."""
    for definition in (*task.format, *task.content):
        for key in definition.expect_keys():
            for index, item in enumerate(inputs):
                if key not in item.expect:
                    message = f"`{item.id}` has no `{key}`, which the check `{check_id(definition)}` asks for"
                    yield document.error(message, ("inputs", index, "expect"), code="missing_expect")


def _check_data(project: Project, task: Task, golden: list[GoldenInput]) -> Iterator[InputError]:
    if task.data.train is None:
        return
    try:
        file = project.train_file(task)
        examples, _ = load_examples(file, task)
    except InputError as problem:
        yield problem
        return
    for leak in find_leaks(examples, golden):
        message = f"its input is the golden input `{leak.golden_id}`, or holds it, or stands in it"
        remedy = "take it out here or there: what was learnt by heart proves nothing"
        yield InputError(message, code="leak", file=file, line=leak.line, remedy=remedy)
