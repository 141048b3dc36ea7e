"""The fleet as people see it: a row a task, with what serves it and what did before."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.reasons import Reason
from core.store.fleet import Alias, AliasVersion, aliases, current_version, fleet_tasks, versions
from core.store.fleet_changes import FleetChange, changes


@dataclass(frozen=True)
class Before:
    """The version that an alias was before its present one."""

    version: AliasVersion
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionLineage:
    """What a version was made of; None is what is not known."""

    model: str | None = None
    recipe: str | None = None
    data: str | None = None
    train_job: int | None = None
    deploy_job: int | None = None


@dataclass(frozen=True)
class DriftState:
    """What the newest drift run of a task's alias said (`code`), at `time` (Unix seconds)."""

    code: str
    time: float
    job_id: int


@dataclass(frozen=True)
class Challenger:
    """What may take the place of what serves: a model on its way, the stage it has reached, its progress in [0, 1]."""

    model: str
    stage: str
    progress: float | None


@dataclass(frozen=True)
class FleetRow:
    """One task (None: an alias that no task is assigned to). None is what is not known."""

    project_id: str | None
    task: str | None
    alias: Alias
    version: AliasVersion | None
    scores: Mapping[str, float] = field(default_factory=dict)
    n_inputs: int | None = None
    before: Before | None = None
    resident: bool | None = None
    vram_bytes: int | None = None
    lineage: VersionLineage = VersionLineage()
    stale: tuple[Reason, ...] = ()
    foreign: bool = False
    drift: DriftState | None = None
    change: FleetChange | None = None
    challenger: Challenger | None = None

    def to_json(self) -> dict[str, Any]:
        version, change = self.version, self.change
        return {
            "task": self.task,
            "alias": self.alias.name,
            "server": self.alias.server,
            "version": None if version is None else version.number,
            "model": None if version is None else version.model,
            "digest": None if version is None else version.digest,
            "origin": None if version is None else version.origin,
            "since": self.alias.since,
            "size_bytes": None if version is None else version.size_bytes,
            "change": None if change is None else {"id": change.id, "kind": change.kind, "phase": change.phase},
        }


def fleet_rows(connection: sqlite3.Connection, project_id: str | None = None) -> list[FleetRow]:
    """A row a task of the project (of all where it is None), then the aliases that no task is assigned to."""
    known = {one.id: one for one in aliases(connection)}
    moving = {one.alias_id: one for one in changes(connection, open_only=True)}
    assigned = fleet_tasks(connection)
    shown = [(one.project_id, one.task, one.alias_id) for one in assigned if project_id in (None, one.project_id)]
    taken = {one.alias_id for one in assigned}
    free = [(None, None, alias_id) for alias_id in known if alias_id not in taken]
    rows = []
    for project, task, alias_id in [*shown, *free]:
        alias = known[alias_id]
        current = current_version(connection, alias)
        former = [one for one in versions(connection, alias_id) if current is not None and one.number < current.number]
        before = Before(former[-1]) if former else None
        rows.append(FleetRow(project, task, alias, current, before=before, change=moving.get(alias_id)))
    return rows
