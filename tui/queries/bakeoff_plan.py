"""What a bake-off of a training run would be: its task, its base, how much is answered. Read in a thread."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import BakehouseError
from core.home import Home

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

    @property
    def command_line(self) -> str:
        return " ".join(shlex.quote(part) for part in ("bakehouse", "bakeoff", self.task, *self.candidates))


def read_plan(home: Home, find_project: Callable[[], Project], job_id: int) -> BakeoffPlan:
    """The task of a training job and its base, and what the golden set holds now. Raises `BakehouseError`, `OSError`."""
    from core.jobfile.spec import JobFile, TrainSpec

    spec = JobFile.load(home.run_dir(job_id)).spec
    if not isinstance(spec, TrainSpec):
        raise BakehouseError(f"job {job_id} trains nothing")
    project = find_project()
    task = project.task(spec.task.name)
    return BakeoffPlan(task.name, spec.model.name, len(project.golden(task).inputs), task.repeats)
