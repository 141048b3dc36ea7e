"""A task that comes with Bakehouse, copied into the project with what it names: what a person changes is the project's own."""

from __future__ import annotations

from pathlib import Path

from core.authoring.new_files import write_new_files
from core.config.project import TASKS, Project
from core.config.task import Task
from core.errors import InputError


def is_own(project: Project, task: Task) -> bool:
    """Whether the task's files are the project's, and so may be written."""
    return not project.owner(task).is_shipped


def require_own(project: Project, task: Task) -> None:
    """Refuse to write into what comes with Bakehouse. Raises `InputError`."""
    if project.is_shipped:
        raise InputError(
            "there is no project here: the golden inputs that come with Bakehouse are never written",
            code="no_project",
            file=task.file,
            remedy="`bakehouse new project .` makes this folder one",
        )
    if not is_own(project, task):
        raise InputError(
            f"the task `{task.name}` comes with Bakehouse, and its golden inputs are never written",
            code="shipped_task",
            file=task.file,
            remedy=f"`bakehouse golden add {task.name} --copy-task` copies the task into the project first",
        )


def copy_task(project: Project, name: str) -> list[Path]:
    """Copy a shipped task, its golden inputs, its data and the files of its checks into the project. Returns the files written.

    Raises InputError where one of them is there already; nothing is written then.
    """
    task = project.task(name)
    if project.is_shipped or is_own(project, task):
        require_own(project, task)
        return []
    shipped = project.owner(task)
    named = [TASKS / f"{name}.yaml", task.golden, task.data.train]
    named += [getattr(check, "file", None) for check in (*task.format, *task.content)]
    files = {
        project.root / place: shipped.root / place
        for place in dict.fromkeys(Path(one) for one in named if one is not None)
        if (shipped.root / place).is_file()
    }
    if there := [file for file in files if file.exists()]:
        raise InputError(
            "the file is there already, so the task is not copied over it",
            code="exists",
            file=there[0],
            remedy="move it elsewhere",
        )
    return write_new_files({target: source.read_bytes() for target, source in files.items()})
