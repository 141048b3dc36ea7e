"""Opening the database: write-ahead log, foreign keys, and a schema of exactly this version."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from core.errors import BakehouseError
from core.failures import leads_nowhere
from core.files import private
from core.format import plural
from core.home import Home
from core.process.locks import held
from core.store.store_error import StoreError, open_connection

BUSY_TIMEOUT_SECONDS = 10.0
ANOTHER_LOOK_SECONDS = 0.05
FIRST_VERSION = 3
"""Lower versions were never released, and their databases are refused."""
SCHEMA_VERSION = 11


class NewerDatabaseError(BakehouseError):
    """The database was written by a newer Bakehouse than this one."""


class OlderDatabaseError(BakehouseError):
    """The database was written before the first version whose databases are kept."""


def open_database(home: Home, *, as_runner: bool = False, briefly: bool = False) -> sqlite3.Connection:
    """A connection to the home's database, which is created or migrated when it has to be.

    The connection is in autocommit mode: every write goes through `transaction`. `as_runner` is for the process that holds
    the runner's lock itself; `briefly` as in `connect`. Raises `NewerDatabaseError` when a newer Bakehouse has been here,
    `OlderDatabaseError` when one has whose databases cannot be migrated, and `StoreError`.
    """
    home.create()
    refuse_without_database(home)
    connection = connect(home, briefly=briefly)
    try:
        version = schema_version(connection)
        if 0 < version < FIRST_VERSION:
            raise OlderDatabaseError(
                f"This database has schema {version}, from before the first release. Bakehouse cannot migrate it.",
                code="older_database",
                file=home.database,
                remedy=f"move {home.root} away, or set BAKEHOUSE_HOME to another folder; the old runs stay readable as files",
            )
        if version == 0:
            refuse_other_programs(home, connection)
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


def connect(home: Home, *, briefly: bool = False) -> sqlite3.Connection:
    """A bare connection, whatever the schema. On a read-only disk it can be read and refuses to write.

    `briefly`: so it can on a disk without room, where SQLite can't make its index. Only for who soon closes it again: what
    others write once there is room is not seen. Raises `StoreError`, here and at each statement.
    """
    try:
        return _prepared(open_connection(home.database, BUSY_TIMEOUT_SECONDS))
    except StoreError as error:
        can_be_read = error.code == "read_only" or (briefly and error.code == "disk_full")
        if not can_be_read or not home.database.is_file():
            raise
        return _read_only(home, error)


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        _keep_a_log(connection)
        connection.execute("PRAGMA synchronous = normal")
        connection.execute("PRAGMA foreign_keys = on")
    except BaseException:
        connection.close()
        raise
    return connection


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Have writes go to a log, which a new database does not have yet.

    While somebody else opens the same new database, SQLite refuses that change at once and waits for nobody: two that wait for
    each other, each with a lock that the other needs, would never end. So it is asked for again, after letting go of both.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = wal")
            return
        except StoreError as error:
            if error.code != "database_locked" or time.monotonic() >= deadline:
                raise
        time.sleep(ANOTHER_LOOK_SECONDS)


def _read_only(home: Home, refused: StoreError) -> sqlite3.Connection:
    """The database of a disk that nobody can write: as it was when it was closed, or with a log that can still be read."""
    log = home.database.with_name(f"{home.database.name}-wal")
    whole = not _has_content(log)
    uri = f"file:{quote(str(home.database))}?mode=ro{'&immutable=1' if whole else ''}"
    connection = open_connection(home.database, BUSY_TIMEOUT_SECONDS, uri=uri)
    try:
        schema_version(connection)
    except StoreError:
        connection.close()
        raise refused from None
    return connection


def schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_without_database(home: Home) -> None:
    """Make no new database where one is missing: it would say that there were no jobs, and SQLite would delete the log.

    A log alone, or runs without rows, is what a copy or a restore leaves that took only a part. Raises `StoreError`.
    """
    if _has_content(home.database) or leads_nowhere(home.database) is not None:
        return
    left = _what_it_left(home)
    # Looked at again: somebody else may have made it since, with these as its first runs.
    if left is not None and not _has_content(home.database):
        raise _database_missing(home, left)


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


def _what_it_left(home: Home) -> str | None:
    """What of a database is here beside its file, in words; None for nothing."""
    log = home.database.with_name(f"{home.database.name}-wal")
    return f"its log {log.name} is" if _has_content(log) else _what_runs_left(home)


def _what_runs_left(home: Home) -> str | None:
    runs = sum(folder.name.isdigit() and (folder / "job.yaml").exists() for folder in home.runs.iterdir())
    return f"{plural(runs, 'run')} of its jobs {'is' if runs == 1 else 'are'}" if runs else None


def _database_missing(home: Home, left: str) -> StoreError:
    return StoreError(
        f"The database is not here, but {left}.",
        code="database_missing",
        file=home.database,
        remedy=f"copy {home.database.name} and {home.database.name}-wal from where this home was, or from a backup; "
        f"to begin anew, move {home.root} away",
    )


def refuse_other_programs(home: Home, connection: sqlite3.Connection) -> None:
    """Leave a database alone that was never one of ours, or that is new beside runs of another. Raises `StoreError`."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "_sqlite_migrations" not in tables:
        raise StoreError(
            "This database belongs to another program.",
            code="other_database",
            file=home.database,
            remedy="set BAKEHOUSE_HOME to a folder of its own",
        )
    if not tables and (left := _what_runs_left(home)) is not None:
        raise _database_missing(home, left)


def migrate_alone(home: Home, connection: sqlite3.Connection, *, as_runner: bool = False) -> None:
    """Migrate while nobody else does, and never under a running runner of an older version."""
    with open(home.root / "migrate.lock", "w", opener=private) as lock:
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
        _roll_back(connection)
        raise
    try:
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


@contextmanager
def savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """A part of the open transaction: all of the part or nothing, and what was written before stays. Parts can be nested."""
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite has not rolled back all of it by itself
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")


def _roll_back(connection: sqlite3.Connection) -> None:
    """SQLite has rolled back by itself where the disk was full or failed; what was wrong is told by the first error."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
