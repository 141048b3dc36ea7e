"""The fleet as it is stored: aliases, what each of them was (versions), and which alias answers for a task.

Functions on a connection; whoever writes calls them in a transaction. Moves of aliases stand in `core.store.fleet_changes`.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from core.errors import NotFoundError

LLAMA_SERVER = "llama-server"
"""`Alias.server` of a served model of this home."""

Origin: TypeAlias = Literal["adopted", "promoted", "found"]


@dataclass(frozen=True)
class Alias:
    """A production name on a server. `version_id` is None until something is known to serve under it.

    `observed_*` is what the server said last, at `observed_at` (Unix seconds; None: never asked): the digest of what is there
    (None: nothing, or not known where `observed_error` says why), the server's version.
    """

    id: int
    server: str
    url: str
    name: str
    name_key: str
    version_id: int | None
    since: float | None
    observed_at: float | None
    observed_digest: str | None
    observed_server_version: str | None
    observed_error: str | None

    @property
    def is_served_here(self) -> bool:
        """Whether it is a served model of this home, else it is a tag of an Ollama."""
        return self.server == LLAMA_SERVER


@dataclass(frozen=True)
class Target:
    """What an alias is asked to become: a model that its server has under `source` (a tag, or the name of a served model).

    `digest` is that of Ollama's manifest, else the SHA-256 of the GGUF file; a move is refused where the source has another by
    then. `number` is the version's, `kept_as` the tag that keeps it. What is not known is None.
    """

    source: str
    digest: str | None
    weights: str | None = None
    template: str | None = None
    server_version: str | None = None
    size_bytes: int | None = None
    model: str | None = None
    deploy_job_id: int | None = None
    bakeoff_job_id: int | None = None
    number: int | None = None
    kept_as: str | None = None
    record: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Target:
        """Names that this version does not know are left out."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return replace(cls(source="", digest=None), **known)


@dataclass(frozen=True)
class AliasVersion:
    """What an alias was at some time. `number` counts from 1 for each alias; None is what is not known."""

    id: int
    alias_id: int
    number: int
    digest: str | None
    weights: str | None
    template: str | None
    server_version: str | None
    size_bytes: int | None
    model: str | None
    source: str | None
    deploy_job_id: int | None
    kept_as: str | None
    record: Mapping[str, Any] | None
    origin: Origin
    created_at: float
    bakeoff_job_id: int | None

    def as_target(self) -> Target:
        """This version, asked for again: from the tag that keeps it, else from where it came."""
        given = {name: getattr(self, name) for name in Target.__dataclass_fields__ if name != "source"}
        return Target(source=self.kept_as or self.source or "", **given)


@dataclass(frozen=True)
class FleetTask:
    """The alias that answers for a task of a project."""

    project_id: str
    project_root: str
    task: str
    alias_id: int
    since: float
    author: str


def aliases(connection: sqlite3.Connection) -> list[Alias]:
    """All of them, by server and name."""
    return [Alias(**row) for row in _rows(connection, "SELECT * FROM aliases ORDER BY server, url, name_key")]


def get_alias(connection: sqlite3.Connection, alias_id: int) -> Alias:
    """Raises `NotFoundError`."""
    found = _rows(connection, "SELECT * FROM aliases WHERE id = ?", [alias_id])
    if not found:
        raise NotFoundError(f"no alias {alias_id}", code="alias_not_found", remedy="`bakehouse fleet list` shows them")
    return Alias(**found[0])


def find_alias(connection: sqlite3.Connection, server: str, url: str, name_key: str) -> Alias | None:
    """The alias of this name on this server; `name_key` is the name as its server compares names."""
    found = _rows(
        connection, "SELECT * FROM aliases WHERE server = ? AND url = ? AND name_key = ?", [server, url, name_key]
    )
    return Alias(**found[0]) if found else None


def insert_alias(connection: sqlite3.Connection, *, server: str, url: str, name: str, name_key: str) -> Alias:
    """A name of which nothing is known yet."""
    cursor = connection.execute(
        "INSERT INTO aliases (server, url, name, name_key) VALUES (?, ?, ?, ?)", [server, url, name, name_key]
    )
    return get_alias(connection, int(cursor.lastrowid or 0))


def set_current(connection: sqlite3.Connection, alias_id: int, version_id: int, since: float | None = None) -> None:
    """The alias is this version from now on: what the one truth of the store is about."""
    connection.execute(
        "UPDATE aliases SET version_id = ?, since = ? WHERE id = ?",
        [version_id, time.time() if since is None else since, alias_id],
    )


def set_observed(
    connection: sqlite3.Connection,
    alias_id: int,
    *,
    at: float,
    digest: str | None,
    server_version: str | None,
    error: str | None,
) -> None:
    """What its server said of an alias, or why it said nothing: what was observed before stays beside an error."""
    if error is not None:
        connection.execute("UPDATE aliases SET observed_error = ? WHERE id = ?", [error, alias_id])
        return
    connection.execute(
        """
        UPDATE aliases SET observed_at = ?, observed_digest = ?, observed_server_version = ?, observed_error = NULL
        WHERE id = ?
        """,
        [at, digest, server_version, alias_id],
    )


def versions(connection: sqlite3.Connection, alias_id: int) -> list[AliasVersion]:
    """What an alias has been, oldest first."""
    rows = _rows(connection, "SELECT * FROM alias_versions WHERE alias_id = ? ORDER BY number", [alias_id])
    return [_version(row) for row in rows]


def get_version(connection: sqlite3.Connection, version_id: int) -> AliasVersion:
    """Raises `NotFoundError`."""
    found = _rows(connection, "SELECT * FROM alias_versions WHERE id = ?", [version_id])
    if not found:
        raise NotFoundError(
            f"no version {version_id} of an alias",
            code="version_not_found",
            remedy="`bakehouse fleet list` shows what there is",
        )
    return _version(found[0])


def versions_by_id(connection: sqlite3.Connection, version_ids: Collection[int]) -> dict[int, AliasVersion]:
    """Versions of any aliases, by their ids; what is not there is left out."""
    wanted = json.dumps(sorted(version_ids))
    rows = _rows(connection, "SELECT * FROM alias_versions WHERE id IN (SELECT value FROM json_each(?))", [wanted])
    return {row["id"]: _version(row) for row in rows}


def current_version(connection: sqlite3.Connection, alias: Alias) -> AliasVersion | None:
    return None if alias.version_id is None else get_version(connection, alias.version_id)


def next_number(connection: sqlite3.Connection, alias_id: int) -> int:
    """The number of an alias' next version. One that a failed change was to have is not given again: its tag may be there."""
    (number,) = connection.execute(
        """
        SELECT max(number) FROM (
          SELECT number FROM alias_versions WHERE alias_id = ?
          UNION ALL SELECT json_extract(target, '$.number') FROM fleet_changes WHERE alias_id = ?
        )
        """,
        [alias_id, alias_id],
    ).fetchone()
    return int(number or 0) + 1


def insert_version(
    connection: sqlite3.Connection, alias_id: int, target: Target, origin: Origin, *, created_at: float | None = None
) -> AliasVersion:
    """Keep what an alias becomes, or is found to be, as its next version."""
    values = {
        **{name: getattr(target, name) for name in Target.__dataclass_fields__},
        "alias_id": alias_id,
        "number": target.number or next_number(connection, alias_id),
        "record": None if target.record is None else json.dumps(target.record),
        "origin": origin,
        "created_at": time.time() if created_at is None else created_at,
    }
    names = list(values)
    cursor = connection.execute(
        f"INSERT INTO alias_versions ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", list(values.values())
    )
    return get_version(connection, int(cursor.lastrowid or 0))


def set_kept(connection: sqlite3.Connection, version_id: int, kept_as: str) -> None:
    """Under which tag a version's server keeps it."""
    connection.execute("UPDATE alias_versions SET kept_as = ? WHERE id = ?", [kept_as, version_id])


def fleet_tasks(connection: sqlite3.Connection, project_id: str | None = None) -> list[FleetTask]:
    """Which alias answers for which task; of one project, or of all."""
    where, values = ("", []) if project_id is None else ("WHERE project_id = ?", [project_id])
    return [
        FleetTask(**row)
        for row in _rows(connection, f"SELECT * FROM fleet_tasks {where} ORDER BY task, project_id", values)
    ]


def alias_of(connection: sqlite3.Connection, project_id: str, task: str) -> Alias | None:
    """The alias that answers for a task, None where none does."""
    row = connection.execute(
        "SELECT alias_id FROM fleet_tasks WHERE project_id = ? AND task = ?", [project_id, task]
    ).fetchone()
    return None if row is None else get_alias(connection, int(row["alias_id"]))


def tasks_of(connection: sqlite3.Connection, alias_id: int) -> list[FleetTask]:
    """The tasks that an alias does, by name."""
    return [one for one in fleet_tasks(connection) if one.alias_id == alias_id]


def assign_task(connection: sqlite3.Connection, given: FleetTask) -> None:
    """The task has this alias from now on, whatever it had before."""
    connection.execute(
        """
        INSERT INTO fleet_tasks (project_id, project_root, task, alias_id, since, author) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (project_id, task) DO UPDATE
        SET project_root = excluded.project_root, alias_id = excluded.alias_id, since = excluded.since,
            author = excluded.author
        """,
        [given.project_id, given.project_root, given.task, given.alias_id, given.since, given.author],
    )


def release_task(connection: sqlite3.Connection, project_id: str, task: str) -> bool:
    """The task has no alias any more; whether it had one."""
    cursor = connection.execute("DELETE FROM fleet_tasks WHERE project_id = ? AND task = ?", [project_id, task])
    return cursor.rowcount > 0


def _version(row: Mapping[str, Any]) -> AliasVersion:
    record = None if row["record"] is None else json.loads(row["record"])
    return AliasVersion(**{**row, "record": record})


def _rows(connection: sqlite3.Connection, query: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query, values)]
