"""The schema's steps, in order: `schema.sql` is the first. A released step is never changed, only followed by another, and each
new one raises `database.SCHEMA_VERSION`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from sqlite_utils import Database, Migrations

migrations = Migrations("bakehouse")


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


@migrations()
def the_queue_and_its_results(db: Any) -> None:
    for statement in statements(files("core.store").joinpath("schema.sql").read_text()):
        db.execute(statement)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the steps that are missing, each in a transaction of its own."""
    migrations.apply(Database(connection))
