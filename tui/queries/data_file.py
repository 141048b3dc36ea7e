"""What a data file holds, as the form of a new task asks it; and the task that is made of it. All of it in threads."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from core.errors import BakehouseError, InputError
from core.format import plural
from core.home import expanded

if TYPE_CHECKING:
    from core.config.project import Project
    from core.data.inspection import Inspection
    from core.data.reading import DataFile
    from core.data.turns import ReadOptions

MOST_SAMPLES = 1000
"""Examples of a file that can be paged through."""
FEWEST_HELD_OUT, MOST_HELD_OUT = 6, 24
"""Golden inputs that are proposed: with fewer than six no difference can be proved, and each costs an example."""


@dataclass(frozen=True)
class DataQuery:
    """A path as it was typed, the columns that were named (empty: those with the usual names), the keys that are left out,
    with commas between them, and the encoding (empty: found)."""

    path: str
    prompt_column: str = ""
    completion_column: str = ""
    ignored: str = ""
    encoding: str = ""

    @property
    def ignored_keys(self) -> tuple[str, ...]:
        return tuple(key for key in map(str.strip, self.ignored.split(",")) if key)

    @property
    def file(self) -> Path:
        return expanded(self.path)

    @property
    def options(self) -> ReadOptions:
        from core.data.turns import ReadOptions

        return ReadOptions(
            prompt_column=self.prompt_column or None,
            completion_column=self.completion_column or None,
            ignore=frozenset(self.ignored_keys),
            encoding=self.encoding or None,
        )


@dataclass(frozen=True)
class DataAnswer:
    """What is in the file, or why nobody can say; `refused` is true of a file that is there and cannot be read as it is."""

    query: DataQuery
    found: Inspection | None = None
    problem: str = ""
    refused: bool = False
    data: DataFile | None = None


def look_into(query: DataQuery) -> DataAnswer:
    """Read the file and tell what it is. A pipe is left alone: it can be read once, and the task needs it."""
    from core.data.inspection import inspect
    from core.data.reading import open_data

    try:
        if not stat.S_ISREG(query.file.stat().st_mode):
            return DataAnswer(query, problem="This is not a file. Name a data file.")
        data = open_data(query.file, query.options)
        return DataAnswer(query, inspect(data, MOST_SAMPLES), data=data)
    except FileNotFoundError:
        return DataAnswer(query, problem="There is no such file")
    except (BakehouseError, OSError, ValueError, RuntimeError, MemoryError) as error:
        return DataAnswer(query, problem=str(error) or type(error).__name__, refused=True)


def proposed_held_out(found: Inspection) -> int:
    """How many examples become golden inputs unless told otherwise: a fifth, within bounds; none of fewer than twelve."""
    if found.trainable < 2 * FEWEST_HELD_OUT:
        return 0
    return max(FEWEST_HELD_OUT, min(MOST_HELD_OUT, found.trainable // 5))


def proposed_name(path: str) -> str:
    """A name for the task of a file: `Mail titles (2).csv.gz` gives `Mail-titles-2`; empty where nothing of it can be one."""
    from core.data.conversion import ENDINGS

    stem = path.strip().rstrip("/").rpartition("/")[2]
    while ending := next((one for one in ENDINGS if stem.lower().endswith(one)), None):
        stem = stem[: -len(ending)]
    return re.sub(r"[^A-Za-z0-9_]+", "-", stem).strip("-_")[:64].rstrip("-_")


def name_problem(name: str) -> str:
    """Why this cannot be a task's name; empty when it can."""
    from core.authoring.scaffold import TASK_NAME

    if not name:
        return "Enter a name"
    return "" if TASK_NAME.fullmatch(name) else "Letters, digits, - and _ only; a letter or digit comes first"


def held_out_problem(text: str, found: Inspection | None) -> str:
    """Why so many cannot be held out; empty when they can."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        return "Enter a whole number"
    if found is not None and int(text) >= max(1, found.trainable):
        return f"Nothing would be left to learn: the file has {plural(found.trainable, 'example')}"
    return ""


@dataclass(frozen=True)
class ProjectPlace:
    """The project that a task goes into; without a root one is to be made, in `proposed`."""

    root: Path | None = None
    proposed: str = ""
    problem: str = ""
    inside: bool = True
    """The console was started in the project: commands find the project by themselves there."""


def seen_project(find_project: Callable[[], Project]) -> ProjectPlace:
    """The person's project, or where one could be made: this folder, unless it is the person's home."""
    try:
        project = find_project()
    except (BakehouseError, OSError) as error:
        return ProjectPlace(problem=str(error))
    if not project.is_shipped:
        with contextlib.suppress(OSError):
            return ProjectPlace(project.root, inside=Path.cwd().is_relative_to(project.root))
        return ProjectPlace(project.root, inside=False)
    try:
        here = Path.cwd()
        folder = here if here not in (Path.home(), Path("/")) else Path.home() / "bakehouse-project"
    except (OSError, RuntimeError):
        return ProjectPlace()
    return ProjectPlace(proposed=str(folder))


def task_command(
    query: DataQuery, name: str, held_out: str, place: ProjectPlace, new_project: str, skip_bad: bool = False
) -> str:
    """The command line that makes the same task; `new_project`: the folder that becomes a project first, if any."""
    words = ["bakehouse", "new", "task", name, "--examples", query.path, "--hold-out", held_out]
    words += ["--skip-bad"] if skip_bad else []
    for option, value in (
        ("--prompt-column", query.prompt_column),
        ("--completion-column", query.completion_column),
        *(("--ignore", key) for key in query.ignored_keys),
        ("--encoding", query.encoding),
        ("--project", new_project or ("" if place.inside or place.root is None else str(place.root))),
    ):
        words += [option, value] if value else []
    first = f"bakehouse new project {shlex.quote(new_project)} && " if new_project else ""
    return first + shlex.join(words)


def completed_path(typed: str) -> str | None:
    """What was typed, completed to the first file or folder that begins so; None where there is none."""
    folder, _, begun = typed.rpartition("/")
    try:
        root = expanded(f"{folder}/" if folder or typed.startswith("/") else ".")
        names = sorted(
            f"{entry.name}/" if entry.is_dir() else entry.name
            for entry in os.scandir(root)
            if entry.name.startswith(begun) and (begun or not entry.name.startswith("."))
        )
    except (OSError, InputError, ValueError):
        return None
    return f"{typed[: len(typed) - len(begun)]}{names[0]}" if names else None


@dataclass(frozen=True)
class NewTaskWish:
    """What the form asks for. `project` is the folder that becomes a project first; None where there is one. `skip_bad`
    leaves out what cannot be trained on. `shown`: the file as the person saw it."""

    shown: DataFile
    name: str
    hold_out: int
    project: Path | None
    skip_bad: bool = False


@dataclass(frozen=True)
class NewTaskMade:
    """What was written, what is still to be filled in, and what one is warned of. `task_file` is the one that a person
    edits; `asks` is true where its `system:` says something."""

    name: str
    files: tuple[Path, ...]
    task_file: Path
    asks: bool
    open_points: tuple[str, ...]
    warnings: tuple[str, ...]


def make_task(wish: NewTaskWish, find_project: Callable[[], Project], remember: Callable[[Path], None]) -> NewTaskMade:
    """Write the task, in a new project if there is none. Raises InputError; nothing is written then, and no
    project made.

    `remember` is told the root of a new project.
    """
    from core.authoring.lint import check_task, task_warnings
    from core.authoring.scaffold import new_project_with_task, new_task
    from core.config.project import TASKS, Project
    from core.data.reading import without_bad
    from core.data.source import read_source

    if read_source(wish.shown.path).content != wish.shown.source.content:
        raise InputError(
            "has changed since it was shown", code="changing", file=wish.shown.path, remedy="look once more"
        )
    data = without_bad(wish.shown) if wish.skip_bad else wish.shown
    data.refuse_bad()
    if wish.project is not None:
        root = expanded(wish.project).absolute()
        written = new_project_with_task(root, wish.name, examples=data, hold_out=wish.hold_out)
        remember(root)
        project = Project.find(explicit=root)
    else:
        project = find_project()
        written = new_task(project, wish.name, examples=data, hold_out=wish.hold_out)
    task_file = project.root / TASKS / f"{wish.name}.yaml"
    return NewTaskMade(
        wish.name,
        tuple(written),
        task_file,
        bool(project.task(wish.name).system.strip()),
        tuple(str(problem) for problem in check_task(project, task_file)),
        tuple(str(warning) for warning in task_warnings(project, task_file)),
    )


class FileRead(Message):
    """A data file was looked into."""

    def __init__(self, answer: DataAnswer) -> None:
        super().__init__()
        self.answer = answer


class PlaceRead(Message):
    """The project is known."""

    def __init__(self, place: ProjectPlace) -> None:
        super().__init__()
        self.place = place


class TaskMade(Message):
    """The task is written."""

    def __init__(self, made: NewTaskMade) -> None:
        super().__init__()
        self.made = made
