"""What a new run can be made of: tasks, models and recipes, each with a note. Read in a thread; a broken file spoils itself
only."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import BakehouseError
from core.format import data_size, parameters, plural
from core.home import Home
from tui.queries.form_values import Remembered, recall

if TYPE_CHECKING:
    from core.config.model import ModelEntry
    from core.config.project import Project
    from core.config.recipe import Recipe
    from core.config.task import Task
    from core.data.examples import Example

SHOWN_EXAMPLES = 50


@dataclass(frozen=True)
class Choice:
    """One name to choose, what is said beside it, and why it cannot be taken (empty when it can)."""

    name: str
    note: str = ""
    problem: str = ""
    parameters: int | None = None
    """Of a model."""


@dataclass(frozen=True)
class Lesson:
    """What a task's data teaches: how many examples, the lengths of their completions in characters, a few of them whole."""

    examples: int
    median_characters: int
    longest_characters: int
    duplicates: int
    system_characters: int
    shown: tuple[tuple[str, str, int], ...]
    """Of the first examples: the last question, the answer, and how many messages stand before them (without the system's)."""


@dataclass(frozen=True)
class Catalogue:
    """Everything the form of a new run needs."""

    tasks: tuple[Choice, ...] = ()
    models: tuple[Choice, ...] = ()
    recipes: tuple[Choice, ...] = ()
    lessons: Mapping[str, Lesson] = field(default_factory=dict)
    recipe_objects: Mapping[str, Recipe] = field(default_factory=dict)
    model_objects: Mapping[str, ModelEntry] = field(default_factory=dict)
    thinking: Mapping[str, str] = field(default_factory=dict)
    """By task: `on` or `off`."""
    project: str = ""
    """The project's id."""
    remembered: Remembered = field(default_factory=Remembered)
    """What was last queued from the form."""
    project_option: tuple[str, ...] = ()
    """The option by which a command finds the project from here; empty where none is needed."""

    def check(self, recipe: str, written: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
        """(problems by key, the values that differ from the recipe's) of what is written in the fields."""
        from core.config.overrides import override, typed_value

        base = self.recipe_objects.get(recipe)
        if base is None:
            return {}, {}
        problems: dict[str, str] = {}
        changed: dict[str, Any] = {}
        for key, text in written.items():
            try:
                value = typed_value(key, text)
            except BakehouseError as error:
                problems[key] = error.message
                continue
            if value != getattr(base, key):
                changed[key] = value
        if not problems:
            try:
                override(base, changed)
            except BakehouseError as error:  # values that do not go together
                problems[next((key for key in changed if key == error.key), next(iter(changed)))] = error.message
        return problems, changed

    def made(self, recipe: str, changed: Mapping[str, Any]) -> Recipe | None:
        """The recipe with values that `check` found nothing wrong with; None when there is no such recipe."""
        from core.config.overrides import with_epochs_asked_for

        base = self.recipe_objects.get(recipe)
        return None if base is None else base.model_copy(update=with_epochs_asked_for(changed))

    def steps(self, task: str, recipe: Recipe) -> int | None:
        """Optimizer steps of a run, from the number of lines in the task's training data."""
        lesson = self.lessons.get(task)
        if lesson is None:
            return None
        return recipe.steps_of(lesson.examples)


def read_catalogue(home: Home, project: Project) -> Catalogue:
    """Read all names; raises only when the project itself cannot be read."""
    from core.config.project import project_option
    from core.models.shapes import with_shape

    lessons: dict[str, Lesson] = {}
    recipes: dict[str, Recipe] = {}
    models: dict[str, ModelEntry] = {}
    thinking: dict[str, str] = {}

    def about_task(name: str) -> str:
        task = project.task(name)
        thinking[name] = task.thinking
        return task_note(project, task, lessons)

    def about_model(name: str) -> str:
        models[name] = with_shape(home, project.model(name))
        return model_note(home, models[name])

    def about_recipe(name: str) -> str:
        recipes[name] = project.recipe(name)
        return recipe_note(recipes[name])

    def choices(names: list[str], about: Any) -> tuple[Choice, ...]:
        found = []
        for name in names:
            try:
                note = about(name)
                found.append(Choice(name, note, parameters=models[name].parameters if name in models else None))
            except (BakehouseError, OSError) as error:
                found.append(Choice(name, problem=str(error)))
        return tuple(found)

    return Catalogue(
        choices(project.task_names(), about_task),
        choices(project.model_names(), about_model),
        choices(project.recipe_names(), about_recipe),
        lessons,
        recipes,
        models,
        thinking,
        project.id,
        recall(home, project.id),
        project_option(project),
    )


def task_note(project: Project, task: Task, lessons: dict[str, Lesson]) -> str:
    """How many examples and golden inputs. Raises `InputError` for a line that cannot be used, `GateError` for a leak."""
    from core.data.examples import load_examples
    from core.data.leaks import refuse_leaks

    if task.data.train is None:
        return "no training data named"
    path = project.resolve(task.data.train, task)
    examples, report = load_examples(path, task)
    lengths = [len(example.completion) for example in examples]
    lessons[task.name] = Lesson(
        examples=report.examples,
        median_characters=round(statistics.median(lengths)),
        longest_characters=max(lengths),
        duplicates=report.duplicates,
        system_characters=len(task.system),
        shown=tuple((example.last_user, example.completion, earlier(example)) for example in examples[:SHOWN_EXAMPLES]),
    )
    parts = [plural(report.examples, "example")]
    if task.golden is not None:
        golden = project.golden(task).inputs
        refuse_leaks(examples, golden, path.name)
        parts += [plural(len(golden), "golden input"), "no leak"]
    return ", ".join(parts)


def earlier(example: Example) -> int:
    """How many messages of a conversation the model sees before the last question."""
    asked = [message for message in example.messages if message.role != "system"]
    return max(index for index, message in enumerate(asked) if message.role == "user")


def model_note(home: Home, model: ModelEntry) -> str:
    """Its size and where it is. Raises `InputError` for files that a submission would refuse."""
    from core.models.files import check_model_files, needs_pull

    check_model_files(home, model)
    parts = []
    if model.parameters:
        count = model.parameters
        parts.append(f"{parameters(count)} parameters")
    if model.wheel is not None:
        there = not needs_pull(home, model)
        parts.append("on disk" if there else f"fetched first, {data_size(model.wheel.size_bytes)}")
    elif model.path is not None:
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
