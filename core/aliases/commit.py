"""What a move of an alias leaves in the store, in one transaction: the version, the alias, the task, the end of the change."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from core.aliases.move import Ended
from core.reasons import Reason
from core.store.fleet import (
    AliasVersion,
    FleetTask,
    assign_task,
    get_alias,
    get_version,
    insert_version,
    set_current,
    set_kept,
    set_observed,
)
from core.store.fleet_changes import FleetChange, finish_change, get_change, given_since
from core.store.fleet_reasons import change_reason


def end_change(
    connection: sqlite3.Connection, change_id: int, ended: Ended, *, after_restart: bool, now: float
) -> AliasVersion | None:
    """Keep how a move ended. The version that the alias is by it, None where it is what it was. Call it in a transaction."""
    change = get_change(connection, change_id)
    if change.state != "open":
        return None
    _observed(connection, change, ended, now)
    if ended.kept_former is not None and change.from_version is not None:
        keeps_now(connection, change.from_version, ended.kept_former)
    reason = ended.reason
    if after_restart:
        reason = change_reason("finished_after_restart") if reason is None else _later(reason)
    if ended.state != "done":
        finish_change(connection, change.id, ended.state, reason)
        return None
    version = _version(connection, change, ended)
    set_current(connection, change.alias_id, version.id, since=now)
    if change.project_id is not None and change.project_root is not None and change.task is not None:
        given = FleetTask(change.project_id, change.project_root, change.task, change.alias_id, now, change.author)
        if not given_since(connection, change):
            assign_task(connection, given)
    finish_change(connection, change.id, "done", reason, to_version=version.id)
    return version


def keeps_now(connection: sqlite3.Connection, version_id: int, name: str) -> None:
    """A server keeps a version under this name."""
    if get_version(connection, version_id).kept_as != name:
        set_kept(connection, version_id, name)


def _version(connection: sqlite3.Connection, change: FleetChange, ended: Ended) -> AliasVersion:
    """The one that was asked for again, or a new one with what its server tells of it now."""
    if change.to_version is not None:
        if ended.kept_target is not None:
            keeps_now(connection, change.to_version, ended.kept_target)
        return get_version(connection, change.to_version)
    target, there = change.target, ended.there
    if there is not None:
        target = replace(
            target,
            weights=there.weights or target.weights,
            template=there.template or target.template,
            size_bytes=there.size_bytes or target.size_bytes,
            server_version=there.server_version or target.server_version,
            record=there.record or target.record,
        )
    return insert_version(connection, change.alias_id, replace(target, kept_as=ended.kept_target), "promoted")


def _observed(connection: sqlite3.Connection, change: FleetChange, ended: Ended, now: float) -> None:
    there = ended.there
    if there is None:
        return
    alias = get_alias(connection, change.alias_id)
    set_observed(
        connection,
        alias.id,
        at=now,
        digest=there.digest,
        server_version=there.server_version or alias.observed_server_version,
        error=None,
    )


def _later(reason: Reason) -> Reason:
    return Reason(reason.code, {**reason.values, "after_restart": True})
