"""What a bake-off of a training run would be: its task, its base, how much is answered. Read in a thread."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import BakehouseError
from core.home import Home
from core.store.jobs import JobRow

if TYPE_CHECKING:
    from core.config.project import Project


@dataclass(frozen=True)
class BakeoffPlan:
    """What is asked for. `candidates` are references as the command line takes them, the base first."""

    task: str
    base: str
    inputs: int
    repeats: int
    candidates: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    """The option by which a command finds the project from here; empty where none is needed."""

    @property
    def command_line(self) -> str:
        parts = ("bakehouse", "bakeoff", self.task, *self.candidates, *self.project)
        return " ".join(shlex.quote(part) for part in parts)


def read_plan(home: Home, find_project: Callable[[], Project], job: JobRow) -> BakeoffPlan:
    """The task of a job and its base model, and what the golden set holds now. Raises `BakehouseError`, `OSError`.

    Also for a base model whose files the submission would refuse.
    """
    from core.config.project import project_option
    from core.models.files import check_model_files

    if job.task is None or job.model is None:
        raise BakehouseError(f"job {job.id} has no task and base model to compare it by")
    project = find_project()
    task = project.task(job.task)
    check_model_files(home, project.model(job.model))
    inputs = len(project.golden(task).inputs)
    return BakeoffPlan(task.name, job.model, inputs, task.repeats, project=project_option(project))
