"""The experiments of a project, a row each: those that were queued, and files that were not."""

from __future__ import annotations

import sqlite3
from typing import Any

from core.config.project import Project
from core.errors import InputError
from core.store.experiments import count_jobs, list_experiments


def experiment_rows(connection: sqlite3.Connection, project: Project) -> list[dict[str, Any]]:
    """An experiment a row: `jobs` by state, None before it was run; `problem` is what is wrong with its file."""
    rows: list[dict[str, Any]] = []
    for stored in list_experiments(connection, project.id):
        asked = stored.definition["experiment"]
        rows.append(
            {
                "name": stored.name,
                "kind": stored.kind,
                "question": asked.get("question"),
                "tasks": asked["tasks"],
                "arms": [arm.name for arm in stored.arms],
                "jobs": count_jobs(connection, stored.id),
                "changed_at": stored.changed_at,
                "problem": None,
            }
        )
    known = {row["name"] for row in rows}
    return rows + [_of_file(project, name) for name in project.experiment_names() if name not in known]


def _of_file(project: Project, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "kind": "experiment", "question": None, "tasks": [], "arms": []}
    row |= {"jobs": None, "changed_at": None, "problem": None}
    try:
        experiment = project.experiment(name)
    except InputError as error:
        return row | {"problem": str(error)}
    return row | {"question": experiment.question, "tasks": experiment.tasks}
