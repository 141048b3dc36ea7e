"""A database of a fresh home, and jobs in it without any process."""

from __future__ import annotations

import atexit
import itertools
import shutil
import sqlite3
from collections import deque
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import sqlite_utils
from sqlite_utils import Migrations

from core.home import Home
from core.reasons import Reason
from core.store import migrations
from core.store.database import connect, open_database, transaction
from core.store.jobs import ENDED, JobRow, State, change_state, get_job, insert_job


@cache
def template() -> Path:
    """A migrated database, made once: migrating is the slow part of a fresh home. It goes with the process."""
    folder = Path(mkdtemp(prefix="bakehouse-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    home = Home(folder / "home")
    open_database(home).close()
    return home.database


def fresh(folder: Path) -> tuple[Home, sqlite3.Connection]:
    home = Home(folder / "home").create()
    shutil.copy(template(), home.database)
    return home, open_database(home)


def database_before(home: Home, step: str, version: int) -> sqlite3.Connection:
    """A database as a release of schema `version` left it: with the migrations before `step`, and none behind it."""
    connection = connect(home)
    former = Migrations(migrations.migrations.name)
    for known in itertools.takewhile(lambda one: one.name != step, migrations.migrations._migrations):
        former(name=known.name)(known.fn)
    former.apply(sqlite_utils.Database(connection))
    connection.execute(f"PRAGMA user_version = {version}")
    return connection


def add_job(connection: sqlite3.Connection, **values: Any) -> int:
    """A job as submission inserts one; `values` are whatever of its columns matters to the test."""
    usual: dict[str, Any] = {
        "kind": "train",
        "title": "a job",
        "project_id": "p",
        "task": "judge",
        "lane": "gpu",
        "host_memory_bytes": 0,
        "on_restart": "requeue",
        "needs": (),
        "author": "tester",
    }
    with transaction(connection):
        return insert_job(connection, **{**usual, **values})


def allowed(connection: sqlite3.Connection) -> set[tuple[State, State]]:
    return {(row[0], row[1]) for row in connection.execute("SELECT from_state, to_state FROM allowed_transitions")}


def path_to(connection: sqlite3.Connection, wanted: State) -> list[State]:
    """The shortest way from `waiting` to a state."""
    ways: deque[list[State]] = deque([["waiting"]])
    steps = sorted(allowed(connection))
    while ways:
        way = ways.popleft()
        if way[-1] == wanted:
            return way[1:]
        ways.extend([*way, to_state] for from_state, to_state in steps if from_state == way[-1] and to_state not in way)
    raise AssertionError(f"no way leads to {wanted}")


def step(connection: sqlite3.Connection, job_id: int, to_state: State) -> None:
    """Change a job's state with the columns that go with it."""
    columns: dict[str, object] = {}
    if to_state == "starting":
        columns["attempt"] = get_job(connection, job_id).attempt + 1
    if to_state == "stopping":
        columns["stop_reason"] = "cancel"
    with transaction(connection):
        change_state(connection, job_id, to_state, Reason("a_test", {"state": to_state}), "tester", **columns)


def step_to(connection: sqlite3.Connection, job_id: int, state: State) -> None:
    """Take a job that waits to this state, by the shortest way."""
    for name in path_to(connection, state):
        step(connection, job_id, name)


def job_in(connection: sqlite3.Connection, state: State) -> JobRow:
    """A new job that was brought into a state by allowed steps."""
    job_id = add_job(connection)
    step_to(connection, job_id, state)
    job = get_job(connection, job_id)
    assert job.state == state
    assert (job.ended_at is not None) == (state in ENDED)
    return job
