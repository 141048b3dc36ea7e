"""SQLite's errors, told apart once for every way that leads to the database, and connections that raise them so.

A database is called damaged only where SQLite has read it and says so. Whatever else refuses (no room, a read-only disk, no
rights, a lock, a limit) is named, with a remedy that leaves the database where it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from core.errors import BakehouseError
from core.failures import PROBE_BYTES, leads_nowhere, refusal_of, write_refused

T = TypeVar("T")

# Beside these, SQLite's codes are faults of a statement: they are raised as they are.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REFUSED = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOLFS,
}
_EXTENDED = 0xFF


class StoreError(BakehouseError, sqlite3.OperationalError):
    """The database could not be read or written, and why."""


def store_error(error: sqlite3.Error, database: Path) -> StoreError | None:
    """What an error of SQLite means for a person; None for one of a statement."""
    extended: int = getattr(error, "sqlite_errorcode", None) or 0
    code = extended & _EXTENDED
    if code in _BUSY:
        return _in_use(database)
    if code in _DAMAGED:
        return _damaged(database, no_database=code == sqlite3.SQLITE_NOTADB)
    if extended == sqlite3.SQLITE_READONLY_DBMOVED:
        return StoreError(
            "The home was moved or replaced while this was running.",
            code="home_moved",
            file=database,
            remedy="start it again: nothing was written",
        )
    if code in _REFUSED:
        return _refused(error, code, database)
    return None


def _refused(error: sqlite3.Error, code: int, database: Path) -> StoreError:
    """A refusal of the operating system. SQLite hardly tells which, so it is found by trying the same beside the database."""
    cause = _not_a_file(database) or write_refused(database.parent) or _not_opened(database)
    if cause is None and code == sqlite3.SQLITE_IOERR:
        cause = _at_the_limit(database)
    if cause is None and code == sqlite3.SQLITE_FULL:
        cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # there was no room, and now there is a little
    if cause is not None:
        said = refusal_of(cause, database, of_home=True)
        return StoreError(said.message, code=said.code, file=database, remedy=said.remedy)
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(
            f"The disk did not read or write the database ({error}).",
            code="disk_error",
            file=database,
            remedy="try again; if it happens again, copy the home to another disk and look into the kernel's log (dmesg)",
        )
    return StoreError(f"The database was not opened: {error}.", code="not_opened", file=database, remedy="try again")


def _not_a_file(database: Path) -> OSError | None:
    """That what stands in the database's place, or in that of its log, is a folder or a device."""
    for path in _files(database):
        if leads_nowhere(path) is not None:
            return OSError(errno.ENOENT, os.strerror(errno.ENOENT))  # `refusal_of` says where it leads
        # One look: SQLite makes and removes the log and its index whenever another connection is the first or the last.
        found = _look(path)
        if found is not None and not stat.S_ISREG(found.st_mode):
            return OSError(errno.EISDIR, f"Not a regular file: {path.name}")
    return None


def _look(path: Path) -> os.stat_result | None:
    """None of what is not there, or is not there any more."""
    try:
        return path.stat()
    except OSError:
        return None


def _at_the_limit(database: Path) -> OSError | None:
    """That a file of the database is as large as this process may make one."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    largest = max((found.st_size for path in _files(database) if (found := _look(path)) is not None), default=0)
    if limit == resource.RLIM_INFINITY or largest + PROBE_BYTES < limit:
        return None
    return OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _not_opened(database: Path) -> OSError | None:
    """That the database's files may not be read or written by this user; None where they may, or are not there.

    Asked without opening them: closing a file lets go of every POSIX lock that this process has on it, SQLite's too.
    """
    for path in _files(database):
        if _look(path) is None or os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            continue
        if _look(path) is not None:  # not just removed in between
            return PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return None


def _files(database: Path) -> tuple[Path, ...]:
    return (database, *(database.with_name(f"{database.name}-{end}") for end in ("wal", "shm")))


def _damaged(database: Path, *, no_database: bool) -> StoreError:
    message = "This file is not an SQLite database." if no_database else "The database is damaged."
    return StoreError(
        message,
        code="bad_database",
        file=database,
        remedy=f"keep the file; restore a copy of it, or recover its rows with `sqlite3 {database.name} .recover`."
        " Runs and artefacts beside it are not affected",
    )


def _in_use(database: Path) -> StoreError:
    who = lock_holders(database)
    by = f" by {' and '.join(who)}" if who else " by another program"
    return StoreError(
        f"The database is locked{by}.",
        code="database_locked",
        file=database,
        remedy="try again when that program has finished; it is not named where it belongs to another user or container"
        if not who
        else "try again when it has finished, or end it",
    )


def lock_holders(database: Path, proc: Path = Path("/proc")) -> list[str]:
    """Who else holds a lock for writing on a database, as `pid 12 (sqlite3 bakehouse.db)`, as far as the kernel tells."""
    wanted = set()
    for path in _files(database):
        try:
            found = path.stat()
        except OSError:
            continue
        wanted.add((os.major(found.st_dev), os.minor(found.st_dev), found.st_ino))
    try:
        lines = (proc / "locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    pids = dict.fromkeys(
        pid for pid, write, file in map(_lock, lines) if write and file in wanted and pid != os.getpid()
    )
    return [f"pid {pid}{_command(proc, pid)}" for pid in pids if pid > 0]


def _lock(line: str) -> tuple[int, bool, tuple[int, int, int]]:
    """(pid, whether for writing, (major, minor, inode)) of a line of `/proc/locks`; pid 0 for one of no known form."""
    words = line.split()
    try:
        kind, pid, file = words[-5], int(words[-4]), words[-3].split(":")
        return pid, kind == "WRITE", (int(file[0], 16), int(file[1], 16), int(file[2]))
    except (IndexError, ValueError):
        return 0, False, (0, 0, 0)


def _command(proc: Path, pid: int) -> str:
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
    except OSError:
        return ""
    text = " ".join([Path(words[0]).name, *words[1:]])
    return f" ({text[:80]})" if text.strip() else ""


class Cursor(sqlite3.Cursor):
    """A cursor whose refusals are `StoreError`s."""

    connection: Connection

    def _told(self, act: Callable[..., T], *arguments: Any) -> T:
        try:
            return act(*arguments)
        except sqlite3.Error as error:
            if isinstance(error, StoreError) or (told := store_error(error, self.connection.database)) is None:
                raise
            raise told from error

    def execute(self, *arguments: Any) -> Cursor:
        self._told(super().execute, *arguments)
        return self

    def executemany(self, *arguments: Any) -> Cursor:
        self._told(super().executemany, *arguments)
        return self

    def fetchone(self) -> Any:
        return self._told(super().fetchone)

    def fetchmany(self, *arguments: Any) -> list[Any]:
        return self._told(super().fetchmany, *arguments)

    def fetchall(self) -> list[Any]:
        return self._told(super().fetchall)

    def __next__(self) -> Any:
        return self._told(super().__next__)


class Connection(sqlite3.Connection):
    """A connection whose refusals are `StoreError`s. `database` is set by whoever opens it."""

    database: Path = Path()

    def cursor(self, factory: type[sqlite3.Cursor] = Cursor) -> Any:  # type: ignore[override]
        return super().cursor(factory)

    def execute(self, *arguments: Any) -> Any:
        return self.cursor().execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        return self.cursor().executemany(*arguments)

    def commit(self) -> None:
        try:
            super().commit()
        except sqlite3.Error as error:
            if (told := store_error(error, self.database)) is None:
                raise
            raise told from error


def open_connection(database: Path, timeout_seconds: float, *, uri: str | None = None) -> Connection:
    """Open a database, made if it is not there, readable by its owner alone. Raises `StoreError`."""
    try:
        if (odd := _not_a_file(database)) is not None:
            raise odd
        if uri is None:
            # SQLite would make it by the umask; its log and its index get the same rights as this. One that is there is not
            # opened here: see `_not_opened`.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(database, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        said = refusal_of(error, database, of_home=True)
        raise StoreError(said.message, code=said.code, file=database, remedy=said.remedy) from error
    try:
        connection = sqlite3.connect(
            uri or database, timeout=timeout_seconds, isolation_level=None, factory=Connection, uri=uri is not None
        )
    except sqlite3.Error as error:
        raise store_error(error, database) or StoreError(
            f"The database was not opened: {error}.", code="not_opened", file=database
        ) from error
    connection.database = database
    connection.row_factory = sqlite3.Row
    return connection
