"""What people asked of the queue. The console and the commands write these rows; the runner carries them out."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from core.reasons import Reason
from core.store.job_reasons import from_columns, values_to_json


@dataclass(frozen=True)
class CommandRow:
    """One request, `kind` the name of a command; `done_at` is None until the runner has taken it, or has refused it."""

    id: int
    kind: str
    job_id: int | None
    arguments: dict[str, Any]
    author: str
    created_at: float
    done_at: float | None
    refusal: Reason | None


def to_row(row: sqlite3.Row) -> CommandRow:
    return CommandRow(
        id=row["id"],
        kind=row["kind"],
        job_id=row["job_id"],
        arguments=json.loads(row["arguments"]),
        author=row["author"],
        created_at=row["created_at"],
        done_at=row["done_at"],
        refusal=None if row["refusal_code"] is None else from_columns(row["refusal_code"], row["refusal_values"]),
    )


def insert_command(
    connection: sqlite3.Connection, kind: str, job_id: int | None, arguments: dict[str, Any], author: str
) -> int:
    cursor = connection.execute(
        "INSERT INTO commands (kind, job_id, arguments, author, created_at) VALUES (?, ?, ?, ?, ?)",
        [kind, job_id, json.dumps(arguments), author, time.time()],
    )
    return int(cursor.lastrowid or 0)


def open_commands(connection: sqlite3.Connection) -> list[CommandRow]:
    """The requests nobody has carried out yet, oldest first."""
    return [to_row(row) for row in connection.execute("SELECT * FROM commands WHERE done_at IS NULL ORDER BY id")]


def get_command(connection: sqlite3.Connection, command_id: int) -> CommandRow:
    return to_row(connection.execute("SELECT * FROM commands WHERE id = ?", [command_id]).fetchone())


def finish_command(connection: sqlite3.Connection, command_id: int, refusal: Reason | None = None) -> None:
    connection.execute(
        "UPDATE commands SET done_at = ?, refusal_code = ?, refusal_values = ? WHERE id = ?",
        [
            time.time(),
            None if refusal is None else refusal.code,
            None if refusal is None else values_to_json(refusal),
            command_id,
        ],
    )
