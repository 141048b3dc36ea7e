"""What a person or a deployment must not do to a production name: an alias moves on promotion and rollback alone."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from core.aliases.places import WAITING_PHASES
from core.errors import InputError
from core.home import Home
from core.jobfile.raw import read_key
from core.serving.replies import name_key
from core.store.database import open_database
from core.store.fleet import LLAMA_SERVER, Alias, aliases, tasks_of, versions
from core.store.fleet_changes import open_change_of, open_changes
from core.store.jobs import JobRow

ON_ITS_WAY = frozenset({"placing", "verifying"}) | WAITING_PHASES
"""Phases of a change in which the alias may be touched at any moment. One that waits for a job that asks is among them: it
waits for what runs already, not for what is queued, or a rollback would come after all bake-offs of a night."""


def require_no_alias(connection: sqlite3.Connection, url: str, name: str, key: str) -> None:
    """For a deployment under `name` on a server (`url`, empty for a served model of this home); it knows names by `key`.

    InputError (`is_alias`) for an alias, and for a name that keeps a former version of one.
    """
    for alias in _on_server(connection, url):
        if alias.name_key == key:
            raise InputError(
                f"`{name}` is an alias{_of_tasks(connection, alias)}: it moves only on promotion",
                code="is_alias",
                key="--name",
                remedy="deploy under another name, have that measured, and `bakehouse fleet promote` it",
            )
        kept = [one for one in versions(connection, alias.id) if one.kept_as is not None]
        if number := next((one.number for one in kept if one.kept_as in (name, key)), None):
            raise InputError(
                f"`{name}` keeps version {number} of the alias {alias.name}, which a rollback needs",
                code="keeps_version",
                key="--name",
                remedy="deploy under another name",
            )


def require_deploys_beside(home: Home, connection: sqlite3.Connection, job: JobRow) -> None:
    """For a job that is about to start: what a deployment was to have as its name may have become an alias since it was queued.

    InputError as in `require_no_alias`, and for a job file that cannot be read.
    """
    if job.kind != "deploy":
        return
    spec = read_key(home.run_dir(job.id), "spec", dict)
    name, server = str(spec.get("name")), spec.get("server")
    url = str(server.get("url")) if isinstance(server, dict) else ""
    require_no_alias(connection, url, name, name_key(name) if url else name)


def served_alias_on_its_way(connection: sqlite3.Connection) -> str | None:
    """The first alias that is a served model of this home and is on its way to another model, or is next.

    A job that asks such servers has to wait: it would be answered by either, or by none.
    """
    moving = {one.alias_id for one in open_changes(connection) if one.phase in ON_ITS_WAY}
    return next((one.name for one in aliases(connection) if one.id in moving and one.is_served_here), None)


def require_removable(home: Home, name: str) -> None:
    """InputError (`is_alias`) for a served model that is the alias of a task, and as in `require_no_move`."""
    with _alias(home, name) as (connection, alias):
        if alias is None:
            return
        _require_no_move(connection, alias)
        if tasks := _of_tasks(connection, alias):
            raise InputError(
                f"`{name}` is the alias{tasks}, which nothing would serve any more",
                code="is_alias",
                key=name,
                remedy="`bakehouse fleet promote` puts another model there, `bakehouse fleet assign` gives the task another "
                f"alias; `bakehouse served stop {name}` only ends it",
            )


def require_no_move(home: Home, name: str) -> None:
    """InputError (`change_open`) for a served model that is an alias on its way to another model: what a person asked of it now
    would be for one of the two, and nobody knows which."""
    with _alias(home, name) as (connection, alias):
        if alias is not None:
            _require_no_move(connection, alias)


def _require_no_move(connection: sqlite3.Connection, alias: Alias) -> None:
    change = open_change_of(connection, alias.id)
    if change is not None:
        raise InputError(
            f"`{alias.name}` is on its way to another model: {change.author} has asked for that",
            code="change_open",
            key=alias.name,
            remedy="ask again when that has ended: `bakehouse fleet list` shows it",
        )


@contextlib.contextmanager
def _alias(home: Home, name: str) -> Iterator[tuple[sqlite3.Connection, Alias | None]]:
    with contextlib.closing(open_database(home)) as connection:
        yield connection, next((one for one in _on_server(connection, "") if one.name == name), None)


def _on_server(connection: sqlite3.Connection, url: str) -> list[Alias]:
    """Those that stand for something, or are about to."""
    here = [one for one in aliases(connection) if one.url == url and (url or one.server == LLAMA_SERVER)]
    return [one for one in here if one.version_id is not None or open_change_of(connection, one.id) is not None]


def _of_tasks(connection: sqlite3.Connection, alias: Alias) -> str:
    """` of judge and title`, empty for an alias that has no task."""
    tasks = sorted({one.task for one in tasks_of(connection, alias.id)})
    return f" of {' and '.join(tasks)}" if tasks else ""
