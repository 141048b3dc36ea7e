"""The commands about the fleet. Each is checked and stored in one transaction; no server is asked in it.

A promotion and a rollback become an open change, which `core.aliases.keeper` carries on; the others say what is so, and are
done at once. Who asks names the version that was seen as current (`expected_version`), so that of two who ask at the same time
one is done and the other is told.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Any

from core.aliases.digests import is_same
from core.aliases.foreign import note_found
from core.runner.commands.base import RefusedError, Request
from core.serving.replies import name_key
from core.store.fleet import (
    Alias,
    AliasVersion,
    FleetTask,
    Target,
    alias_of,
    assign_task,
    current_version,
    find_alias,
    fleet_tasks,
    get_alias,
    get_version,
    insert_alias,
    insert_version,
    next_number,
    release_task,
    set_current,
    set_observed,
    versions,
)
from core.store.fleet_changes import ChangeKind, changes, finish_change, former_versions, open_change, open_change_of
from core.store.fleet_reasons import FleetRefusalCode, change_reason, fleet_refusal

PASSED = "pass"
NOT_PASSED = ("fail", "cannot_tell")
"""Outcomes of a gate."""


def adopt(request: Request) -> None:
    """What is under a name now is what the alias is.

    Arguments: `server`, `url`, `name`, `name_key`; `target` (a `Target`, as the server has it); `expected_version` (id); and to
    assign it: `project_id`, `project_root`, `task`, `expected_alias` (id).
    """
    given, connection = request.arguments, request.connection
    target = _target(given)
    alias = _named(connection, given)
    _require_at_rest(connection, alias)
    _require_current(connection, alias, given.get("expected_version"))
    if given.get("task") is not None:
        _require_alias_of_task(connection, given, given.get("expected_alias"), or_this=alias)
    former = current_version(connection, alias)
    if former is not None and is_same(former.digest, target.digest):
        if given.get("task") is None:
            raise _refused("already_current", alias=alias.name, version=former.number)
        _assign(request, alias, "assign")
        return
    change = open_change(
        connection,
        alias_id=alias.id,
        kind="adopt",
        author=request.author,
        target=target,
        from_version=alias.version_id,
        project_id=given.get("project_id"),
        project_root=given.get("project_root"),
        task=given.get("task"),
    )
    version = insert_version(connection, alias.id, target, "adopted" if former is None else "found")
    _is_now(connection, alias, version)
    if given.get("task") is not None:
        assign_task(connection, _fleet_task(request, alias))
    finish_change(connection, change.id, "done", to_version=version.id)


def assign(request: Request) -> None:
    """A task has another alias, or none, also while either alias is on its way to another model: a server that never answers
    again keeps no task.

    Arguments: `project_id`, `project_root`, `task`; `alias_id`, None to release it; `expected_alias`: the one that it has.
    """
    given, connection = request.arguments, request.connection
    present = _require_alias_of_task(connection, given, given.get("expected_alias"))
    if given.get("alias_id") is None:
        if present is None:
            raise _refused("no_alias", task=given["task"])
        _assign(request, present, "release")
        return
    _assign(request, _known(connection, given["alias_id"]), "assign")


def promote(request: Request) -> None:
    """An alias becomes another model. What its gate does not pass and nobody overrides is kept as a change that has ended.

    Arguments: `project_id`, `project_root`, `task`; the alias as `alias_id`, or, where there is none yet, as `server`, `url`,
    `name`, `name_key`; `expected_version`, `expected_alias` (that of the task); `target`; `gate`; `override_reason`.
    """
    given, connection = request.arguments, request.connection
    target = _target(given)
    alias = _known(connection, given["alias_id"]) if given.get("alias_id") else _named(connection, given)
    if target.source == alias.name or (not alias.is_served_here and name_key(target.source) == alias.name_key):
        raise _refused("is_alias_itself", alias=alias.name)
    _require_at_rest(connection, alias)
    _require_current(connection, alias, given.get("expected_version"))
    _require_alias_of_task(connection, given, given.get("expected_alias"), or_this=alias)
    former = current_version(connection, alias)
    if former is not None and is_same(former.digest, target.digest):
        raise _refused("already_current", alias=alias.name, version=former.number)
    gate, override = given.get("gate"), (given.get("override_reason") or "").strip() or None
    outcome = gate.get("outcome") if isinstance(gate, Mapping) else None
    is_held = outcome != PASSED and override is None
    if is_held and outcome not in NOT_PASSED:
        raise _refused("gate_not_asked", task=given["task"])
    number = None if is_held else next_number(connection, alias.id)
    change = open_change(
        connection,
        alias_id=alias.id,
        kind="promote",
        author=request.author,
        target=Target.from_json({**target.to_json(), "number": number, "kept_as": None}),
        from_version=alias.version_id,
        project_id=given["project_id"],
        project_root=given["project_root"],
        task=given["task"],
        gate=gate,
        override_reason=None if outcome == PASSED else override,
    )
    if is_held:
        finish_change(connection, change.id, "failed", change_reason("gate_not_passed"))


def rollback(request: Request) -> None:
    """An alias becomes what it was before, or one of its versions.

    Arguments: `alias_id`; `expected_version`; `to_version` (id; None: what was before the present one); `task`, `project_id`,
    `project_root` (for the history). `found`: a `Target`, where somebody else's model is under the name, which may be
    replaced: it is kept as a version of its own first. `missing`: whoever asks saw that nothing is under the name any more.
    With either, and without `to_version`, what was recorded comes back.
    """
    given, connection = request.arguments, request.connection
    alias = _known(connection, given["alias_id"])
    _require_at_rest(connection, alias)
    _require_current(connection, alias, given.get("expected_version"))
    present = current_version(connection, alias)
    if present is None:
        raise _refused("no_former_version", alias=alias.name)
    found = None if given.get("found") is None else _target(given, "found")
    if found is not None and is_same(found.digest, present.digest):
        found = None
    wanted = given.get("to_version")
    missing = found is None and bool(given.get("missing"))
    to = present if found or missing else _before(connection, present)
    if wanted is not None:
        to = _own_version(connection, alias, int(wanted))
    if to is None:
        raise _refused("no_former_version", alias=alias.name)
    if found is None and not missing and to.id == present.id:
        raise _refused("already_current", alias=alias.name, version=present.number)
    if found is not None:
        note_found(connection, present, found.digest)
        present = insert_version(connection, alias.id, found, "found")
        _is_now(connection, alias, present)
    open_change(
        connection,
        alias_id=alias.id,
        kind="rollback",
        author=request.author,
        target=to.as_target(),
        from_version=present.id,
        to_version=to.id,
        task=given.get("task"),
        project_id=given.get("project_id"),
    )


FLEET_COMMANDS: dict[str, Callable[[Request], None]] = {
    "fleet-adopt": adopt,
    "fleet-assign": assign,
    "fleet-promote": promote,
    "fleet-rollback": rollback,
}


def _target(given: Mapping[str, Any], key: str = "target") -> Target:
    target = Target.from_json(given[key])
    if target.digest is None:
        raise _refused("no_digest", source=target.source)
    return target


def _named(connection: sqlite3.Connection, given: Mapping[str, Any]) -> Alias:
    """The alias of this name, a new one where there is none."""
    place = (given["server"], given["url"], given["name_key"])
    found = find_alias(connection, *place)
    return found or insert_alias(connection, server=place[0], url=place[1], name=given["name"], name_key=place[2])


def _known(connection: sqlite3.Connection, alias_id: int) -> Alias:
    row = connection.execute("SELECT 1 FROM aliases WHERE id = ?", [alias_id]).fetchone()
    if row is None:
        raise _refused("alias_unknown", alias=str(alias_id))
    return get_alias(connection, alias_id)


def _own_version(connection: sqlite3.Connection, alias: Alias, version_id: int) -> AliasVersion:
    found = next((one for one in versions(connection, alias.id) if one.id == version_id), None)
    if found is None:
        raise _refused("version_unknown", alias=alias.name, version=version_id)
    return found


def _before(connection: sqlite3.Connection, version: AliasVersion) -> AliasVersion | None:
    former = former_versions(connection).get(version.id)
    return None if former is None else get_version(connection, former)


def _require_at_rest(connection: sqlite3.Connection, alias: Alias) -> None:
    moving = open_change_of(connection, alias.id)
    if moving is not None:
        raise _refused("change_open", alias=alias.name, kind=moving.kind, author=moving.author, at=moving.asked_at)


def _require_current(connection: sqlite3.Connection, alias: Alias, expected: int | None) -> None:
    """The alias is still the version that whoever asks saw (id; None: none)."""
    if alias.version_id == expected:
        return
    present = current_version(connection, alias)
    by = next(
        (one for one in changes(connection, alias.id) if one.state == "done" and one.to_version == alias.version_id),
        None,
    )
    raise _refused(
        "not_current",
        alias=alias.name,
        version=None if present is None else present.number,
        author=None if by is None else by.author,
        at=None if by is None else by.ended_at,
    )


def _require_alias_of_task(
    connection: sqlite3.Connection, given: Mapping[str, Any], expected: int | None, *, or_this: Alias | None = None
) -> Alias | None:
    """The task's alias, which is the one that whoever asks saw (id; None: none), or the one that it is to have."""
    present = alias_of(connection, given["project_id"], given["task"])
    if present is None and expected is None:
        return None
    if present is not None and (present.id == expected or (or_this is not None and present.id == or_this.id)):
        return present
    by = next((one for one in fleet_tasks(connection, given["project_id"]) if one.task == given["task"]), None)
    raise _refused(
        "task_moved",
        task=given["task"],
        alias=None if present is None else present.name,
        author=None if by is None else by.author,
        at=None if by is None else by.since,
    )


def _assign(request: Request, alias: Alias, kind: ChangeKind) -> None:
    """The task has the alias from now on, or has it no more; that stands in the history of the alias."""
    given, connection = request.arguments, request.connection
    open_change(
        connection,
        alias_id=alias.id,
        kind=kind,
        author=request.author,
        target=Target(alias.name, None),
        from_version=alias.version_id,
        to_version=alias.version_id,
        project_id=given["project_id"],
        project_root=given.get("project_root"),
        task=given["task"],
        is_done=True,
    )
    if kind == "release":
        release_task(connection, given["project_id"], given["task"])
    else:
        assign_task(connection, _fleet_task(request, alias))


def _fleet_task(request: Request, alias: Alias) -> FleetTask:
    given = request.arguments
    return FleetTask(given["project_id"], given["project_root"], given["task"], alias.id, time.time(), request.author)


def _is_now(connection: sqlite3.Connection, alias: Alias, version: AliasVersion) -> None:
    """The alias is what was found under its name a moment ago."""
    now = time.time()
    set_current(connection, alias.id, version.id, since=now)
    set_observed(connection, alias.id, at=now, digest=version.digest, server_version=version.server_version, error=None)


def _refused(code: FleetRefusalCode, **values: Any) -> RefusedError:
    return RefusedError(fleet_refusal(code, **values))
