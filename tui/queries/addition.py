"""What an answer can add to the golden inputs, and the adding: in threads."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.errors import BakehouseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.config.project import Project
    from core.home import Home
    from core.marking.addition import Addition

EXPECTATIONS, AS_INPUT = "its input", "the answer itself"
"""What becomes a golden input: what was asked, with what this answer shows; or the answer as what is asked."""


@dataclass(frozen=True)
class ShownAnswer:
    """An answer on the screen: of which job, task, candidate, input and repeat."""

    job_id: int
    task: str
    candidate: str
    input_id: str
    repeat: int


@dataclass(frozen=True)
class AdditionOutlook:
    """What could be added, by (what, task); the tasks there are; `problem` why nothing is known."""

    additions: dict[tuple[str, str], Addition] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By task what its checks ask for under `expect`."""
    problem: str = ""


def read_additions(home: Home, find_project: Callable[[], Project], shown: ShownAnswer) -> AdditionOutlook:
    """What the shown answer can add to its own task and to the others. Raises `BakehouseError`."""
    from core.marking.addition import from_answer
    from core.marking.expectations import asked_keys
    from core.store.database import open_database

    project = find_project()
    found, tasks, keys = dict[tuple[str, str], "Addition"](), [shown.task], dict[str, tuple[str, ...]]()
    own = project.own_task_names() if not project.is_shipped else project.task_names()
    tasks += [name for name in own if name != shown.task]
    with contextlib.closing(open_database(home)) as connection:
        for name in tuple(tasks):
            for what in (EXPECTATIONS, AS_INPUT):
                if what == EXPECTATIONS and name != shown.task:
                    continue
                try:
                    found[what, name] = from_answer(
                        home,
                        connection,
                        project,
                        shown.job_id,
                        shown.input_id,
                        shown.candidate,
                        task=name,
                        of_task=shown.task,
                        as_input=what == AS_INPUT,
                        repeat=shown.repeat,
                    )
                    keys[name] = asked_keys(project.task(name))
                except BakehouseError:
                    if name == shown.task:
                        raise
                    tasks.remove(name)  # a task that is wrong takes nothing
                    break
    return AdditionOutlook(found, tuple(tasks), keys)
