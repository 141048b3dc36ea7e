"""What a new run can be made of: tasks, models and recipes, each with a note. Read in a thread; a broken file spoils itself
only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BakehouseError
from core.home import Home
from tui.words import gigabytes, plural

if TYPE_CHECKING:
    from core.config.model import ModelEntry
    from core.config.project import Project
    from core.config.recipe import Recipe
    from core.config.task import Task


@dataclass(frozen=True)
class Choice:
    """One name to choose, what is said beside it, and why it cannot be taken (empty when it can)."""

    name: str
    note: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Catalogue:
    """Everything the form of a new run needs."""

    tasks: tuple[Choice, ...] = ()
    models: tuple[Choice, ...] = ()
    recipes: tuple[Choice, ...] = ()
    examples: Mapping[str, int] = field(default_factory=dict)
    recipe_objects: Mapping[str, Recipe] = field(default_factory=dict)

    def check(self, recipe: str, written: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
        """(problems by key, the values that differ from the recipe's) of what is written in the fields."""
        from core.config.yaml import parse_scalar
        from core.queue.submit import override

        base = self.recipe_objects.get(recipe)
        if base is None:
            return {}, {}
        problems: dict[str, str] = {}
        changed: dict[str, Any] = {}
        for key, text in written.items():
            if not text.strip():
                problems[key] = "a number is wanted"
                continue
            value = parse_scalar(text.strip())
            if value == getattr(base, key):
                continue
            try:
                override(base, {key: value})
            except BakehouseError as error:
                problems[key] = error.message
            else:
                changed[key] = value
        return problems, changed

    def steps(self, task: str, recipe: str, epochs: float) -> int | None:
        """Optimizer steps of a run, from the number of lines in the task's training data."""
        base, examples = self.recipe_objects.get(recipe), self.examples.get(task)
        if base is None or not examples:
            return None
        return math.ceil(math.ceil(examples / (base.batch_size * base.accumulation)) * epochs)


def read_catalogue(home: Home, project: Project) -> Catalogue:
    """Read all names; raises only when the project itself cannot be read."""
    examples: dict[str, int] = {}
    recipes: dict[str, Recipe] = {}

    def about_task(name: str) -> str:
        task = project.task(name)
        return task_note(project, task, examples)

    def about_model(name: str) -> str:
        return model_note(home, project.model(name))

    def about_recipe(name: str) -> str:
        recipes[name] = project.recipe(name)
        return recipe_note(recipes[name])

    def choices(names: list[str], about: Any) -> tuple[Choice, ...]:
        found = []
        for name in names:
            try:
                found.append(Choice(name, about(name)))
            except (BakehouseError, OSError) as error:
                found.append(Choice(name, problem=str(error)))
        return tuple(found)

    tasks = choices(project.task_names(), about_task)
    models = choices(project.model_names(), about_model)
    return Catalogue(tasks, models, choices(project.recipe_names(), about_recipe), examples, recipes)


def task_note(project: Project, task: Task, examples: dict[str, int]) -> str:
    parts = []
    if task.data.train is None:
        parts.append("no training data named")
    else:
        examples[task.name] = count_lines(project.resolve(task.data.train, task))
        parts.append(plural(examples[task.name], "example"))
    if task.golden is not None:
        parts.append(plural(len(project.golden(task).inputs), "golden input"))
    return f"{', '.join(parts)}; thinking {task.thinking}"


def count_lines(path: Path) -> int:
    """Lines that are not blank; raises OSError."""
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def model_note(home: Home, model: ModelEntry) -> str:
    from core.queue.modelfiles import check_model_files, needs_pull

    parts = []
    if model.parameters:
        count = model.parameters
        parts.append(f"{count / 1e9:.1f} B parameters" if count >= 1e9 else f"{count / 1e6:.0f} M parameters")
    if model.wheel is not None:
        there = not needs_pull(home, model)
        parts.append("on disk" if there else f"fetched first, {gigabytes(model.wheel.size_bytes)}")
    elif model.path is not None:
        check_model_files(model)
        parts.append("on disk")
    else:
        parts.append(f"from the hub: {model.hub}")
    return ", ".join(parts)


def recipe_note(recipe: Recipe) -> str:
    batch = (
        f"batch {recipe.batch_size} × {recipe.accumulation}"
        if recipe.accumulation > 1
        else f"batch {recipe.batch_size}"
    )
    return f"{recipe.method}, {recipe.dtype}, lr {recipe.lr:g} {recipe.schedule}, {batch}"
