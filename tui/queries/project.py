"""Which project the console works on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import BakehouseError
from core.files import read_json, write_json
from core.home import Home

if TYPE_CHECKING:
    from core.config.project import Project


def project_finder(home: Home, named: Path | None) -> Callable[[], Project]:
    """A function that finds the project: the one named, else the nearest folder upwards with `bakehouse.yaml`, else the
    console's last one, else the shipped one alone. It imports pydantic and reads files, so it is called in threads only."""
    note = home.cache / "console.json"

    def find() -> Project:
        from core.config.project import Project

        project = Project.find(explicit=named)
        if not project.is_shipped:
            remember(note, project.root)
            return project
        last = recall(note)
        if named is not None or last is None:
            return project
        try:
            return Project.find(explicit=last)
        except BakehouseError:
            return project  # the last one is gone or broken: it was only a guess

    return find


def remember_project(home: Home, root: Path) -> None:
    """The project that a console without one of its own works on from now on."""
    remember(home.cache / "console.json", root)


def remember(note: Path, root: Path) -> None:
    if recall(note) != root:
        write_json(note, {"project": str(root)})


def recall(note: Path) -> Path | None:
    try:
        document = read_json(note)
    except ValueError:
        return None
    return Path(document["project"]) if isinstance(document, dict) and "project" in document else None
