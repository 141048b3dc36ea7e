"""What became of aliases and why: every asked move and everything that was noticed, in the order in which it happened."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.fleet.names import aliases_meant
from core.store.fleet import Alias, AliasVersion, aliases, versions_by_id
from core.store.fleet_changes import FleetChange, FleetNote, changes, notes


@dataclass(frozen=True)
class HistoryEntry:
    """A move of an alias or a note about one: one of the two. `before` and `after` are the versions of a move, as far as it has
    got. `id` says where it stands; the times are those of the clock then, which can have been set back since."""

    id: int
    time: float
    alias: Alias
    change: FleetChange | None = None
    note: FleetNote | None = None
    before: AliasVersion | None = None
    after: AliasVersion | None = None

    @property
    def task(self) -> str | None:
        return self.change.task if self.change is not None else None if self.note is None else self.note.task

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"id": self.id, "time": self.time, "alias": self.alias.name, "server": self.alias.server}
        told |= {"task": self.task}
        if self.note is not None:
            note = self.note
            return told | {"note": note.reason.to_json(), "change": note.change_id}
        change = self.change
        assert change is not None  # one of the two
        return told | {
            "kind": change.kind,
            "state": change.state,
            "phase": change.phase or None,
            "author": change.author,
            "ended": change.ended_at,
            "from_version": None if self.before is None else self.before.number,
            "to_version": None if self.after is None else self.after.number,
            "source": change.target.source or None,
            "digest": change.target.digest,
            "gate": change.gate,
            "override_reason": change.override_reason,
            "reason": None if change.reason is None else change.reason.to_json(),
        }


def fleet_history(connection: sqlite3.Connection, name: str | None = None, limit: int = -1) -> list[HistoryEntry]:
    """The newest `limit` entries (below 0: all), oldest first; of one task or alias by its name, or of all.

    Of a task: the moves of each alias that has ever answered for it. Raises `NotFoundError` for a name that is neither.
    """
    known = {one.id: one for one in aliases(connection)}
    wanted, task = (None, None) if name is None else aliases_meant(connection, name)
    of_aliases: list[int | None] = [None] if wanted is None else [*sorted(wanted)]
    # Of a task some are left out again below, so that all have to be read.
    newest = limit if task is None else -1
    moves = [one for alias_id in of_aliases for one in changes(connection, alias_id, limit=newest)]
    chosen = [one for one in moves if _is_told(one.task, task if one.kind in ("assign", "release") else None)]
    noted = [one for alias_id in of_aliases for one in notes(connection, alias_id, limit=newest)]
    noted = [one for one in noted if _is_told(one.task, task)]
    numbers = {number for one in chosen for number in (one.from_version, one.to_version) if number is not None}
    by_id = versions_by_id(connection, numbers)
    entries = [_of_change(one, known[one.alias_id], by_id) for one in chosen]
    entries += [HistoryEntry(one.id, one.time, known[one.alias_id], note=one) for one in noted]
    entries.sort(key=lambda one: one.id)
    return entries if limit < 0 else entries[max(0, len(entries) - limit) :]


def _is_told(of: str | None, task: str | None) -> bool:
    """Whether an entry that is of one task, or of all of its alias' (None), concerns the task that is asked about. A move of an
    alias does in any case: it is one for each of its tasks."""
    return task is None or of is None or of == task


def _of_change(change: FleetChange, alias: Alias, by_id: Mapping[int, AliasVersion]) -> HistoryEntry:
    before, after = (None if one is None else by_id.get(one) for one in (change.from_version, change.to_version))
    return HistoryEntry(change.id, change.asked_at, alias, change=change, before=before, after=after)
