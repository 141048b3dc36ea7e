"""Opening the database: write-ahead log, foreign keys, and a schema of exactly this version."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import BakehouseError
from core.home import Home
from core.process.locks import held

BUSY_TIMEOUT_SECONDS = 10.0
FIRST_VERSION = 3
"""Lower versions were never released, and their databases are refused."""
SCHEMA_VERSION = 5


class NewerDatabaseError(BakehouseError):
    """The database was written by a newer Bakehouse than this one."""


class OlderDatabaseError(BakehouseError):
    """The database was written before the first version whose databases are kept."""


def open_database(home: Home, *, as_runner: bool = False) -> sqlite3.Connection:
    """A connection to the home's database, which is created or migrated when it has to be.

    The connection is in autocommit mode: every write goes through `transaction`. `as_runner` is for the process that holds
    the runner's lock itself. Raises `NewerDatabaseError` when a newer Bakehouse has been here, and `OlderDatabaseError` when
    one has whose databases cannot be migrated.
    """
    home.create()
    connection = connect(home)
    try:
        version = schema_version(connection)
        if 0 < version < FIRST_VERSION:
            raise OlderDatabaseError(
                f"This database has schema {version}, from before the first release. Bakehouse cannot migrate it.",
                code="older_database",
                file=home.database,
                remedy=f"move {home.root} away, or set BAKEHOUSE_HOME to another folder; the old runs stay readable as files",
            )
        if version < SCHEMA_VERSION:
            migrate_alone(home, connection, as_runner=as_runner)
        elif version > SCHEMA_VERSION:
            raise NewerDatabaseError(
                f"This database has schema {version}, from a newer Bakehouse. This version knows {SCHEMA_VERSION}.",
                code="newer_database",
                file=home.database,
                remedy="use the newer bakehouse, or another BAKEHOUSE_HOME",
            )
    except BaseException:
        connection.close()
        raise
    return connection


def connect(home: Home) -> sqlite3.Connection:
    """A bare connection, whatever the schema. Raises `BakehouseError` for a file that is no database."""
    connection = sqlite3.connect(home.database, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = normal")
        connection.execute("PRAGMA foreign_keys = on")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise BakehouseError(
            f"The database cannot be read: {error}.",
            code="bad_database",
            file=home.database,
            remedy="restore a copy, or move the file away: runs and artefacts stay where they are",
        ) from error
    return connection


def schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate_alone(home: Home, connection: sqlite3.Connection, *, as_runner: bool = False) -> None:
    """Migrate while nobody else does, and never under a running runner of an older version."""
    with (home.root / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        version = schema_version(connection)
        if version >= SCHEMA_VERSION:
            return
        if version > 0 and not as_runner and runner_lives(home):
            raise BakehouseError(
                "A runner of an older Bakehouse is using this home.",
                code="older_runner",
                remedy="stop the runner with `bakehouse runner stop` (running jobs are not affected), then try again",
            )
        # sqlite-utils takes longer to import than everything else here, and is needed once a version.
        from core.store.migrations import migrate

        migrate(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def runner_lives(home: Home) -> bool:
    """True while a runner holds this home's lock."""
    return held(home.runner_lock)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of it or nothing. The write lock is taken at the start, so that what was read is still true when it is written."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
