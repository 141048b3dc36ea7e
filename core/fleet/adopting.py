"""Taking what serves into the fleet, and giving tasks to it: commands of the runner, which touch no server."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.config.project import Project
from core.errors import InputError, NotFoundError
from core.fleet.adoptable import Adoptable, named
from core.home import Home
from core.reasons import Reason
from core.runner.client import ensure_runner, request, wait_for
from core.runner.commands import RefusedError
from core.store.commands import insert_command
from core.store.database import open_database, transaction
from core.store.fleet import Alias, alias_of


@dataclass(frozen=True)
class Adoption:
    """What is asked for: a model, and the task that it is given at once (None: none). `refused`: why it was not done."""

    model: Adoptable
    task: str | None = None
    refused: Reason | None = None

    @property
    def is_needless(self) -> bool:
        """It is in the fleet as it is, and does that task already, if one was named."""
        return self.model.is_current and self.task in (None, *self.model.tasks)


def chosen(found: Collection[Adoptable], names: Sequence[str]) -> list[Adoptable]:
    """Those that a person names, each once. Raises `NotFoundError`, and `InputError` for a name that several servers have."""
    wanted: dict[tuple[str, str, str], Adoptable] = {}
    for name in names:
        meant = named(found, name)
        if not meant:
            raise NotFoundError(
                f"no server has a model called `{name}`",
                code="model_not_found",
                key=name,
                remedy="`bakehouse fleet adopt` lists what serves",
            )
        if len(meant) > 1:
            raise InputError(
                f"several servers have a model called `{name}`",
                code="ambiguous_name",
                key=name,
                remedy=f"name one: {', '.join(one.reference for one in meant)}",
            )
        wanted[meant[0].key] = meant[0]
    return list(wanted.values())


def adopt(home: Home, project: Project, asked: Sequence[Adoption], *, by: str) -> list[Adoption]:
    """Have the runner take them in, each by itself; the same with why one was refused. What is needless is left alone.

    Raises `BakehouseError` when no runner answers: what it has not taken by then stays queued.
    """
    needed = [one for one in asked if not one.is_needless]
    if not needed:
        return list(asked)
    refused: dict[tuple[str, str, str], Reason] = {}
    with contextlib.closing(open_database(home)) as connection:
        with transaction(connection):
            ids = {
                one.model.key: insert_command(connection, "fleet-adopt", None, _arguments(connection, project, one), by)
                for one in needed
            }
        ensure_runner(home)
        for key, command_id in ids.items():
            try:
                wait_for(home, connection, command_id)
            except RefusedError as error:
                refused[key] = error.reason
    return [replace(one, refused=refused.get(one.model.key)) for one in asked]


def _arguments(connection: sqlite3.Connection, project: Project, asked: Adoption) -> dict[str, Any]:
    """Of the command: it names what was seen as current, so that of two who ask one is told."""
    one = asked.model
    server, url, key = one.key
    told: dict[str, Any] = {
        "server": server,
        "url": url,
        "name": one.name,
        "name_key": key,
        "target": one.target.to_json(),
        "expected_version": None if one.alias is None else one.alias.version_id,
    }
    if asked.task is not None:
        present = alias_of(connection, project.id, asked.task)
        told |= {"project_id": project.id, "project_root": str(project.root), "task": asked.task}
        told["expected_alias"] = None if present is None else present.id
    return told


def assign(home: Home, project: Project, task: str, alias: Alias | None, *, by: str) -> None:
    """Have a task answered by this alias from now on, by none where it is None. Raises `RefusedError`."""
    with contextlib.closing(open_database(home)) as connection:
        present = alias_of(connection, project.id, task)
    arguments = {
        "project_id": project.id,
        "project_root": str(project.root),
        "task": task,
        "alias_id": None if alias is None else alias.id,
        "expected_alias": None if present is None else present.id,
    }
    request(home, "fleet-assign", arguments=arguments, by=by)
