"""The moves of aliases that were asked for: the open one of an alias is the intent that a runner carries on, the others are
history. Beside them stands what was noticed of an alias. Their ids are one sequence: the order in which all of it happened,
whatever the clock said.

Functions on a connection; whoever writes calls them in a transaction.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from core.errors import NotFoundError
from core.reasons import Reason
from core.store.fleet import Target
from core.store.job_reasons import from_columns, values_to_json

ChangeKind: TypeAlias = Literal["adopt", "assign", "release", "promote", "rollback"]
ChangeState: TypeAlias = Literal["open", "done", "taken_back", "failed"]


_NEXT_ID = """
(SELECT 1 + max(coalesce((SELECT max(id) FROM fleet_changes), 0), coalesce((SELECT max(id) FROM fleet_notes), 0)))
"""


@dataclass(frozen=True)
class FleetChange:
    """One asked move of an alias. `phase` is where an open one is, `reason` why it ended as it did.

    `from_version` is what the alias was when it was asked; `to_version` what it became (of a rollback: is to become). `gate`
    is the evidence as it stood on the screen, `override_reason` why the change was asked for against it. `kept` is None until
    something may have been done on the server: the names under which it keeps what the move replaces and brings.
    """

    id: int
    alias_id: int
    project_id: str | None
    project_root: str | None
    task: str | None
    kind: ChangeKind
    state: ChangeState
    phase: str
    from_version: int | None
    to_version: int | None
    target: Target
    kept: Mapping[str, Any] | None
    gate: Mapping[str, Any] | None
    override_reason: str | None
    author: str
    asked_at: float
    ended_at: float | None
    reason: Reason | None


@dataclass(frozen=True)
class FleetNote:
    """Something noticed of an alias, or of a task of its."""

    id: int
    alias_id: int
    task: str | None
    time: float
    reason: Reason
    change_id: int | None


def open_change(
    connection: sqlite3.Connection,
    *,
    alias_id: int,
    kind: ChangeKind,
    author: str,
    target: Target,
    from_version: int | None,
    to_version: int | None = None,
    project_id: str | None = None,
    project_root: str | None = None,
    task: str | None = None,
    gate: Mapping[str, Any] | None = None,
    override_reason: str | None = None,
    phase: str = "",
    is_done: bool = False,
) -> FleetChange:
    """Store the intent, or what is done already. sqlite3.IntegrityError where the alias has an open change, and this is to be
    one: look before (`open_change_of`)."""
    now = time.time()
    cursor = connection.execute(
        f"""
        INSERT INTO fleet_changes (
          id, alias_id, project_id, project_root, task, kind, state, phase, from_version, to_version, target, gate,
          override_reason, author, asked_at, ended_at
        ) VALUES ({_NEXT_ID}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        [
            alias_id,
            project_id,
            project_root,
            task,
            kind,
            "done" if is_done else "open",
            phase,
            from_version,
            to_version,
            json.dumps(target.to_json()),
            None if gate is None else json.dumps(gate),
            override_reason,
            author,
            now,
            now if is_done else None,
        ],
    )
    return get_change(connection, int(cursor.lastrowid or 0))


def set_phase(connection: sqlite3.Connection, change_id: int, phase: str) -> None:
    """Where an open change is now."""
    connection.execute("UPDATE fleet_changes SET phase = ? WHERE id = ?", [phase, change_id])


def set_kept_names(
    connection: sqlite3.Connection, change_id: int, target: Target, kept: Mapping[str, Any], phase: str
) -> None:
    """From now on something may have been done on the server for an open change, under these names."""
    connection.execute(
        "UPDATE fleet_changes SET target = ?, kept = ?, phase = ? WHERE id = ?",
        [json.dumps(target.to_json()), json.dumps(kept), phase, change_id],
    )


def finish_change(
    connection: sqlite3.Connection,
    change_id: int,
    state: ChangeState,
    reason: Reason | None = None,
    *,
    to_version: int | None = None,
) -> None:
    """End an open change for good."""
    connection.execute(
        """
        UPDATE fleet_changes
        SET state = ?, ended_at = ?, phase = '', reason_code = ?, reason_values = ?, to_version = coalesce(?, to_version)
        WHERE id = ?
        """,
        [
            state,
            time.time(),
            None if reason is None else reason.code,
            None if reason is None else values_to_json(reason),
            to_version,
            change_id,
        ],
    )


def get_change(connection: sqlite3.Connection, change_id: int) -> FleetChange:
    """Raises `NotFoundError`."""
    found = connection.execute("SELECT * FROM fleet_changes WHERE id = ?", [change_id]).fetchone()
    if found is None:
        raise NotFoundError(
            f"no change {change_id} of the fleet",
            code="change_not_found",
            remedy="`bakehouse fleet list` shows what there is",
        )
    return _change(found)


def changes(connection: sqlite3.Connection, alias_id: int | None = None, *, limit: int = -1) -> list[FleetChange]:
    """Moves of one alias, or of all, newest first; a `limit` below 0 is none."""
    rows = connection.execute(
        """
        SELECT * FROM fleet_changes WHERE (?1 IS NULL OR alias_id = ?1) ORDER BY id DESC LIMIT ?2
        """,
        [alias_id, limit],
    )
    return [_change(row) for row in rows]


def open_changes(connection: sqlite3.Connection) -> list[FleetChange]:
    """The intents, oldest first. A runner asks several times a second: the index of the open ones keeps that apart from how
    long the history is (`ORDER BY id` alone would have SQLite read all of it)."""
    rows = connection.execute("SELECT * FROM fleet_changes INDEXED BY one_open_change WHERE state = 'open' ORDER BY id")
    return [_change(row) for row in rows]


def open_change_of(connection: sqlite3.Connection, alias_id: int) -> FleetChange | None:
    """The move that an alias is in, None where it is in none."""
    row = connection.execute("SELECT * FROM fleet_changes WHERE alias_id = ? AND state = 'open'", [alias_id]).fetchone()
    return None if row is None else _change(row)


def newest_change_of_each(connection: sqlite3.Connection) -> dict[int, int]:
    """The newest change of each alias that has one: ids of both."""
    rows = connection.execute("SELECT alias_id, max(id) AS newest FROM fleet_changes GROUP BY alias_id")
    return {row["alias_id"]: row["newest"] for row in rows}


def former_versions(connection: sqlite3.Connection) -> dict[int, int]:
    """What a rollback goes to from each version, ids of both: what the alias was when it became the version for the first
    time, also after a rollback to that. A version that took nothing's place is not in it."""
    rows = connection.execute(
        """
        SELECT to_version, from_version, min(id) FROM fleet_changes
        WHERE state = 'done' AND kind IN ('adopt', 'promote') AND to_version IS NOT NULL GROUP BY to_version
        """
    )
    return {row["to_version"]: row["from_version"] for row in rows if row["from_version"] is not None}


def given_since(connection: sqlite3.Connection, change: FleetChange) -> bool:
    """Whether the task of a change was given to an alias, or taken from one, after the change was asked for."""
    found = connection.execute(
        """
        SELECT 1 FROM fleet_changes WHERE id > ? AND project_id = ? AND task = ? AND state = 'done' AND kind <> 'rollback'
        """,
        [change.id, change.project_id, change.task],
    ).fetchone()
    return found is not None


def add_note(
    connection: sqlite3.Connection,
    alias_id: int,
    reason: Reason,
    *,
    task: str | None = None,
    change_id: int | None = None,
) -> None:
    """Keep that something was noticed, now."""
    connection.execute(
        f"""
        INSERT INTO fleet_notes (id, alias_id, task, time, code, note_values, change_id)
        VALUES ({_NEXT_ID}, ?, ?, ?, ?, ?, ?)
        """,
        [alias_id, task, time.time(), reason.code, values_to_json(reason), change_id],
    )


def notes(connection: sqlite3.Connection, alias_id: int | None = None, *, limit: int = -1) -> list[FleetNote]:
    """What was noticed of one alias, or of all, newest first."""
    rows = connection.execute(
        "SELECT * FROM fleet_notes WHERE (?1 IS NULL OR alias_id = ?1) ORDER BY id DESC LIMIT ?2", [alias_id, limit]
    )
    return [
        FleetNote(
            row["id"],
            row["alias_id"],
            row["task"],
            row["time"],
            from_columns(row["code"], row["note_values"]),
            row["change_id"],
        )
        for row in rows
    ]


HistoryMark: TypeAlias = tuple[int | None, int | None, str | None]
"""(newest change, newest note, phase of the open change; None where there is none)"""


def history_mark(connection: sqlite3.Connection, alias_id: int) -> HistoryMark:
    """While it is the same, so are the moves and the notes of the alias: an ended change and a note stay as they are."""
    found = connection.execute(
        """
        SELECT
          (SELECT max(id) FROM fleet_changes WHERE alias_id = ?1),
          (SELECT max(id) FROM fleet_notes WHERE alias_id = ?1),
          (SELECT phase FROM fleet_changes WHERE alias_id = ?1 AND state = 'open')
        """,
        [alias_id],
    ).fetchone()
    return found[0], found[1], found[2]


def _change(row: sqlite3.Row) -> FleetChange:
    told: dict[str, Any] = dict(row)
    code, values = told.pop("reason_code"), told.pop("reason_values")
    return FleetChange(
        **{
            **told,
            "target": Target.from_json(json.loads(row["target"])),
            "kept": None if row["kept"] is None else json.loads(row["kept"]),
            "gate": None if row["gate"] is None else json.loads(row["gate"]),
            "reason": None if code is None else from_columns(code, values),
        }
    )
