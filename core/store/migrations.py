"""The schema's steps, in order. `SCHEMA_VERSION` counts them; a released step is never changed, only followed by another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from sqlite_utils import Database, Migrations

migrations = Migrations("bakehouse")


def statements(script: str) -> Iterator[str]:
    """The single statements of an SQL script.

    `executescript` would commit the transaction that a migration runs in, so the script is cut where SQLite says that a
    statement is complete (a trigger holds semicolons of its own).
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


@migrations()
def the_gpu_and_its_watch(db: Any) -> None:
    """The runner may end a run of itself, and knows what an attempt did to the GPU."""
    db.execute("ALTER TABLE jobs ADD COLUMN device_memory_bytes INTEGER CHECK (device_memory_bytes > 0)")
    db.execute("ALTER TABLE attempts ADD COLUMN telemetry TEXT")
    # SQLite cannot alter a CHECK, and a new table would take the triggers along: the text of the schema is changed instead,
    # as sqlite.org/lang_altertable.html describes it for what leaves the rows as they are.
    version = db.execute("PRAGMA schema_version").fetchone()[0]
    db.execute("PRAGMA writable_schema = on")
    db.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'jobs'",
        ["'cancel', 'pause', 'disk'", "'cancel', 'pause', 'disk', 'watch', 'room'"],
    )
    db.execute(f"PRAGMA schema_version = {version + 1}")
    db.execute("PRAGMA writable_schema = off")


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the steps that are missing, each in a transaction of its own."""
    migrations.apply(Database(connection))
