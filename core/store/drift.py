"""Checks for drift in the queue, by the version of an alias and the task that they look at."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.store.jobs import ENDED, SELECT_JOBS, JobRow, to_row

OVERTAKEN = "overtaken"
"""The outcome of a check whose version was no longer the alias when it ended: nobody knows which of them it looked at."""


@dataclass(frozen=True)
class DriftCheck:
    """One check, whatever its state. `observed` names what was seen of the server when it was asked for."""

    job: JobRow
    observed: str

    @property
    def is_open(self) -> bool:
        return self.job.state not in ENDED

    @property
    def summary(self) -> Mapping[str, Any]:
        """What it found; empty until it is done."""
        found = (self.job.result or {}).get("summary") if self.job.state == "done" else None
        return found if isinstance(found, Mapping) else {}

    @property
    def outcome(self) -> str | None:
        """The word for what it found (`core.drift.outcome`); None until it is done, and where it looked at another version."""
        found = self.summary.get("outcome")
        return None if found in (None, OVERTAKEN) else str(found)


def drift_checks(connection: sqlite3.Connection, version_id: int, project_id: str, task: str) -> list[DriftCheck]:
    """The checks of a version at a task of a project, newest first."""
    rows = connection.execute(
        f"""
        {SELECT_JOBS} WHERE kind = 'drift' AND project_id = ? AND task = ?
        AND json_extract(settings, '$.version_id') = ? ORDER BY id DESC
        """,
        [project_id, task, version_id],
    )
    return [DriftCheck(job, str(job.settings.get("observed", ""))) for job in map(to_row, rows.fetchall())]


def set_overtaken(connection: sqlite3.Connection, job_id: int) -> None:
    """What this check found counts for no version."""
    connection.execute(
        "UPDATE jobs SET result = json_set(result, '$.summary.outcome', ?) WHERE id = ?", [OVERTAKEN, job_id]
    )
