"""Checks for drift in the queue, by the version of an alias and the task that they look at."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.store.jobs import ENDED, SELECT_JOBS, JobRow, to_row


@dataclass(frozen=True)
class DriftCheck:
    """One check, whatever its state. `observed` names what was seen of the server when it was asked for."""

    job: JobRow
    version_id: int
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
        """The word for what it found (`core.drift.outcome`); None until it is done."""
        found = self.summary.get("outcome")
        return None if found is None else str(found)


def drift_checks(connection: sqlite3.Connection, version_id: int, project_id: str, task: str) -> list[DriftCheck]:
    """The checks of a version at a task of a project, newest first."""
    rows = connection.execute(
        f"""
        {SELECT_JOBS} WHERE kind = 'drift' AND project_id = ? AND task = ?
        AND json_extract(settings, '$.version_id') = ? ORDER BY id DESC
        """,
        [project_id, task, version_id],
    )
    return [DriftCheck(job, version_id, str(job.settings.get("observed", ""))) for job in map(to_row, rows.fetchall())]
