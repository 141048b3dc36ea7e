"""How long the answers of a bake-off will take, from what the same candidates took before in this home."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from core.jobfile.bakeoff import CandidateSpec

MOST_BAKEOFFS = 50
Pace = Mapping[tuple[str, str], float]
"""Seconds an answer by (task, candidate), the newest that were measured."""


def measured_candidates(connection: sqlite3.Connection, project_id: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(task, candidate as the summary has it) of the newest bake-offs of a project, the newest first."""
    rows = connection.execute(
        "SELECT result FROM jobs WHERE kind = 'bakeoff' AND state = 'done' AND project_id = ? AND result IS NOT NULL "
        "ORDER BY ended_at DESC LIMIT ?",
        [project_id, MOST_BAKEOFFS],
    ).fetchall()
    for row in rows:
        summary = json.loads(row["result"]).get("summary") or {}
        for board in summary.get("tasks") or [summary]:
            for one in board.get("candidates") or ():
                yield str(board.get("task")), one


def measured_paces(connection: sqlite3.Connection, project_id: str) -> Pace:
    """What the newest bake-offs of a project took."""
    found: dict[tuple[str, str], float] = {}
    for task, one in measured_candidates(connection, project_id):
        if (seconds := one.get("seconds_per_answer")) is not None:
            found.setdefault((task, _key(one)), float(seconds))
    return found


def measured_judges(connection: sqlite3.Connection, project_id: str) -> dict[str, float]:
    """Seconds a verdict by the judge's name, the newest that bake-offs and judgings of a project took."""
    rows = connection.execute(
        """
        SELECT coalesce(json_extract(result, '$.summary.judges'),
                        json_extract(result, '$.summary.rescoring.summary.judges')) AS judges
        FROM jobs WHERE kind IN ('bakeoff', 'judging') AND state = 'done' AND project_id = ? AND judges IS NOT NULL
        ORDER BY ended_at DESC LIMIT ?
        """,
        [project_id, MOST_BAKEOFFS],
    ).fetchall()
    found: dict[str, float] = {}
    for row in rows:
        for one in json.loads(row["judges"]):
            if one["verdicts"] > 0:
                found.setdefault(one["judge"], one["seconds"] / one["verdicts"])
    return found


def expected_seconds(candidate: CandidateSpec, answers: Mapping[str, int], paces: Pace) -> float | None:
    """What so many answers to each task take, by its name; None where nothing like it was measured.

    Of a task that was not measured, the mean of the others is taken. Loads of models are not counted.
    """
    key = _key({"name": candidate.name, "ref": candidate.made_ref})
    own = {task: pace for (task, who), pace in paces.items() if who == key}
    if not own:
        return None
    mean = sum(own.values()) / len(own)
    return sum(count * own.get(task, mean) for task, count in answers.items())


def _key(row: Mapping[str, Any]) -> str:
    """By which a candidate is known again: the job that makes it, else its name; and how it is asked."""
    model, _, variant = str(row.get("name")).partition(" @")
    return f"{row.get('ref') or model}@{variant}"
