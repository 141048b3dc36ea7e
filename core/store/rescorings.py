"""Rescorings: the stored answers of a bake-off scored again with other checks, each a dated result beside the original one."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

ORIGINAL = 0
"""The number of the scores that the bake-off itself was made with; rescorings count from 1."""


@dataclass(frozen=True)
class CheckChange:
    """How a check differs from the original one, or (`judged`) that its judge has said more since the result before.

    `check` is its id; the `margin` of the task has no id of a check.
    """

    kind: Literal["added", "removed", "changed", "margin", "judged"]
    check: str = ""
    task: str = ""
    """Empty in bake-offs of one task."""


@dataclass(frozen=True)
class Rescoring:
    """One rescoring of a bake-off. `time` is in Unix seconds.

    `checks` has the keys `format`, `content` and `margin` of the task that it was made with, or these by the names of its
    tasks under `tasks`; `changes` is how they differ from the original ones, `summary` what it came to, as `result.json` of
    the bake-off has it.
    """

    job_id: int
    number: int
    time: float
    author: str
    message: str
    checks: Mapping[str, Any]
    changes: tuple[CheckChange, ...]
    summary: Mapping[str, Any]

    def checks_of(self, task: str) -> Mapping[str, Any]:
        """The checks and the margin of one of its tasks."""
        by_task = self.checks.get("tasks")
        found: Mapping[str, Any] = self.checks if by_task is None else by_task[task]
        return found


def to_row(row: sqlite3.Row) -> Rescoring:
    return Rescoring(
        job_id=row["job_id"],
        number=row["number"],
        time=row["time"],
        author=row["author"],
        message=row["message"],
        checks=json.loads(row["checks"]),
        changes=tuple(CheckChange(**change) for change in json.loads(row["changes"])),
        summary=json.loads(row["summary"]),
    )


def list_rescorings(connection: sqlite3.Connection, job_id: int) -> list[Rescoring]:
    """The rescorings of a bake-off, oldest first."""
    rows = connection.execute("SELECT * FROM rescorings WHERE job_id = ? ORDER BY number", [job_id])
    return [to_row(row) for row in rows]


def current_number(connection: sqlite3.Connection, job_id: int) -> int:
    """Which scores of a bake-off count: those of its newest rescoring, else the original ones."""
    row = connection.execute("SELECT max(number) FROM rescorings WHERE job_id = ?", [job_id]).fetchone()
    return int(row[0] or ORIGINAL)


def insert_rescoring(
    connection: sqlite3.Connection,
    job_id: int,
    *,
    author: str,
    message: str,
    checks: Mapping[str, Any],
    changes: Iterable[CheckChange],
    summary: Mapping[str, Any],
) -> int:
    """Store a rescoring and return its number, under which its scores belong. Call it in a transaction."""
    number = current_number(connection, job_id) + 1
    connection.execute(
        """
        INSERT INTO rescorings (job_id, number, time, author, message, checks, changes, summary)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        """,
        [
            job_id,
            number,
            time.time(),
            author,
            message,
            json.dumps(checks),
            json.dumps([asdict(change) for change in changes]),
            json.dumps(summary),
        ],
    )
    return number


def conclude_rescoring(
    connection: sqlite3.Connection, job_id: int, number: int, message: str, summary: Mapping[str, Any]
) -> None:
    """Say what a rescoring came to. Call it in the transaction that stored the rescoring."""
    connection.execute(
        "UPDATE rescorings SET message = ?, summary = ? WHERE job_id = ? AND number = ?",
        [message, json.dumps(summary), job_id, number],
    )
