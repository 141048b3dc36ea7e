"""Take the pictures of docs/pictures of the fleet: `python -m tests.tui.played.fleet OUT_FOLDER [NAME …]`.

The home is invented, down to scored answers; console and terminal are real. There is no runner, so that nothing moves.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from core.authoring.scaffold import new_project
from core.home import Home
from core.store.database import transaction
from core.store.fleet import Target, set_current, set_observed
from core.store.fleet_changes import open_change
from tests.support.stored_fleet import PROJECT, TEMPLATE, VERSION, StoredFleet, identity
from tests.support.stored_tasks import task_named
from tests.tui.played.answering_fleet import answering
from tests.tui.played.shipping import NO_OLLAMA, Bakery, picture
from tests.tui.played.taking import in_both_sizes, take_pictures

OLD: Mapping[str, float] = {
    "judge": 0.3,
    "planner": 0.75,
    "quizzer": 0.6,
    "reflector": 0.5,
    "spacer": 0.8,
    "summarizer": 0.7,
}
"""By task the chance that the former model gets a line right."""
NEW: Mapping[str, float] = {
    "judge": 1.0,
    "planner": 0.9,
    "quizzer": 0.95,
    "reflector": 0.9,
    "spacer": 0.7,
    "summarizer": 0.97,
}
SIZES = (8_500_000_000, 4_300_000_000)
DAYS = 24 * 3600.0


class PicturedFleet(StoredFleet):
    """Its jobs have the times and the reasons that a person sees."""

    def __init__(self, folder: Path) -> None:
        self.records = Bakery(folder)
        self.home, self.connection = self.records.home, self.records.connection

    def serve(self, task: str, number: int) -> None:
        """A task whose alias was adopted with the 7B, and became the 4B by a bake-off."""
        old, new = f"{task}:qwen2.5-7b", f"{task}:qwen3-4b"
        before, after = f"{2 * number:02x}" * 32, f"{2 * number + 1:02x}" * 32
        self.deployment(new, f"sha256:{after}", after)
        names = {f"ollama:{old}": identity(old, before), f"ollama:{new}": identity(new, after)}
        bakeoff = self.bakeoff(names, {f"ollama:{old}": OLD[task], f"ollama:{new}": NEW[task]}, task=task_named(task))
        alias = self.alias(f"vault-{task}")
        self.assign(task, alias)
        known = partial(Target, template=TEMPLATE, server_version=VERSION)
        was = known(old, f"sha256:{before}", f"sha256:{before}", size_bytes=SIZES[0], model="Qwen2.5-7B")
        now = known(new, f"sha256:{after}", f"sha256:{after}", size_bytes=SIZES[1], model="Qwen3-4B")
        kept = f"vault-{task}:bakehouse-1"
        self.becomes(alias, replace(was, kept_as=kept), task=task)
        version = self.becomes(
            alias,
            replace(now, bakeoff_job_id=bakeoff),
            "promote",
            origin="promoted",
            task=task,
            author="anna@gpubox, console",
        )
        with transaction(self.connection):
            set_current(self.connection, alias.id, version.id, since=time.time() - (3 + 2 * number) * DAYS)
            set_observed(
                self.connection,
                alias.id,
                at=time.time() - 12,
                digest=f"sha256:{'ee' * 32}" if task == "reflector" else f"sha256:{after}",
                server_version="0.25.1" if task == "planner" else VERSION,
                error=None,
            )

    def move(self, task: str) -> None:
        """A promotion that is under way."""
        with transaction(self.connection):
            open_change(
                self.connection,
                alias_id=self.alias(f"vault-{task}").id,
                kind="promote",
                author="anna@gpubox, console",
                target=Target(f"{task}:qwen3-1.7b", f"sha256:{'dd' * 32}"),
                from_version=None,
                task=task,
                phase="verifying",
            )


def serving(folder: Path) -> Home:
    """Six tasks: one is stale, one was changed by somebody else, one is on its way to another model."""
    new_project(folder / "project")
    file = folder / "project" / "bakehouse.yaml"
    file.write_text(re.sub(r"(?m)^id: \S+", f"id: {PROJECT}", file.read_text()))
    made = PicturedFleet(folder)
    for number, task in enumerate(OLD):
        made.serve(task, number)
    made.move("spacer")
    return made.home


@contextmanager
def unanswering(folder: Path) -> Iterator[tuple[Home, str]]:
    yield serving(folder), NO_OLLAMA


Scene: TypeAlias = Callable[[Path], AbstractContextManager[tuple[Home, str]]]
"""From an empty folder to a home and the address of its Ollama."""
REASON = "half the size, and not one of twelve marks is another"
PICTURES: Mapping[str, tuple[Scene, str]] = {
    "fleet": (unanswering, "1{3}"),
    "fleet-task": (unanswering, "1{2}{enter}{3}"),
    "promotion": (answering, f"1{{2}}u{{4}}{{enter}}{REASON}"),
    "adopt": (answering, "1{2}A{4}{end}"),
    "versions": (answering, "1{2}V{4}"),
    "challenge": (answering, "1{2}C{5}"),
}


def take(name: str, folder: Path, out: Path) -> None:
    scene, keys = PICTURES[name]
    with scene(folder) as (home, ollama):
        project = folder / "project"
        in_both_sizes(name, out, lambda file, size: picture(home, project, file, keys, size, wait=8.0, ollama=ollama))


if __name__ == "__main__":
    take_pictures(__doc__, PICTURES, take)
