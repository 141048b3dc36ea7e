"""The schema's steps. `schema.sql` is the schema of `FIRST_VERSION`; each later version is one step in `STEPS`.

Versions below the first were never released, and their databases are refused. A released step is never changed, only followed
by another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

FIRST_VERSION = 3

STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {}
"""By the version that it leads to, from the one before: the first will be number 4. A step runs inside a transaction."""

SCHEMA_VERSION = max(STEPS, default=FIRST_VERSION)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a database from `version` (0: an empty one) to the newest.

    Each step and its version number are stored in one transaction, so a migration that is cut off is resumed at its step.
    """
    if version == 0:
        run_step(connection, create, FIRST_VERSION)
        version = FIRST_VERSION
    for number in sorted(number for number in STEPS if number > version):
        run_step(connection, STEPS[number], number)


def run_step(connection: sqlite3.Connection, step: Callable[[sqlite3.Connection], None], number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        step(connection)
        connection.execute(f"PRAGMA user_version = {number}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def create(connection: sqlite3.Connection) -> None:
    from importlib.resources import files

    for statement in statements(files("core.store").joinpath("schema.sql").read_text()):
        connection.execute(statement)


def statements(script: str) -> Iterator[str]:
    """The single statements of an SQL script.

    `executescript` would commit the transaction that a step runs in, so the script is cut where SQLite says that a statement is
    complete (a trigger holds semicolons of its own).
    """
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
