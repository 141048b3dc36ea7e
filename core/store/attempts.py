"""The process runs of jobs: what is known of each, and how it ended."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass, fields
from typing import Any, Literal

from core.progress import Progress

Outcome = Literal["done", "failed", "cancelled", "stopped", "interrupted", "lost"]


@dataclass(frozen=True)
class AttemptRow:
    """One process run of a job; `outcome` is None while it lives."""

    job_id: int
    number: int
    outcome: Outcome | None
    orphaned: bool
    boot_id: str
    protection: str
    created_at: float
    ended_at: float | None
    exit_code: int | None
    signal: int | None
    events_offset: int
    telemetry: str | None = None
    """What the attempt did to the GPU, as JSON of a `run_record.Summary`. None where there is none to measure."""


def to_row(row: sqlite3.Row) -> AttemptRow:
    values = {field.name: row[field.name] for field in fields(AttemptRow)}
    return AttemptRow(**{**values, "orphaned": bool(values["orphaned"])})


def living_attempts(connection: sqlite3.Connection) -> list[AttemptRow]:
    """The attempts whose end is not known, oldest first."""
    rows = connection.execute("SELECT * FROM attempts WHERE outcome IS NULL ORDER BY created_at")
    return [to_row(row) for row in rows]


def list_attempts(connection: sqlite3.Connection, job_id: int) -> list[AttemptRow]:
    """All attempts of a job, oldest first."""
    rows = connection.execute("SELECT * FROM attempts WHERE job_id = ? ORDER BY number", [job_id])
    return [to_row(row) for row in rows]


def note_protection(connection: sqlite3.Connection, job_id: int, number: int, protection: str) -> None:
    connection.execute(
        "UPDATE attempts SET protection = ? WHERE job_id = ? AND number = ?", [protection, job_id, number]
    )


def note_telemetry(connection: sqlite3.Connection, job_id: int, number: int, summary: dict[str, Any]) -> None:
    """Store what an attempt did to the GPU."""
    connection.execute(
        "UPDATE attempts SET telemetry = ? WHERE job_id = ? AND number = ?", [json.dumps(summary), job_id, number]
    )


def mark_orphaned(connection: sqlite3.Connection, job_id: int, number: int) -> None:
    """Its shim died, the job itself runs on."""
    connection.execute("UPDATE attempts SET orphaned = 1 WHERE job_id = ? AND number = ?", [job_id, number])


def end_attempt(
    connection: sqlite3.Connection,
    job_id: int,
    number: int,
    outcome: Outcome,
    *,
    exit_code: int | None = None,
    signal: int | None = None,
) -> None:
    """Write down how an attempt ended; a second call for the same attempt changes nothing."""
    connection.execute(
        """
        UPDATE attempts SET outcome = ?, ended_at = ?, exit_code = ?, signal = ?
        WHERE job_id = ? AND number = ? AND outcome IS NULL
        """,
        [outcome, time.time(), exit_code, signal, job_id, number],
    )


def note_progress(
    connection: sqlite3.Connection, job_id: int, number: int, progress: Progress, events_offset: int
) -> None:
    """Store the summary of the events read so far together with where reading goes on."""
    connection.execute("UPDATE jobs SET progress = ? WHERE id = ?", [progress.to_json(), job_id])
    connection.execute(
        "UPDATE attempts SET events_offset = ? WHERE job_id = ? AND number = ?", [events_offset, job_id, number]
    )
