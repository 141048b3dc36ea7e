"""`bakehouse experiment list`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.cli.results_boards import terminal_width
from core.cli.text_grid import wrap
from core.config.project import Project
from core.errors import InputError
from core.home import Home
from core.store.experiments import count_jobs, list_experiments


@click.command("list", epilog="Example: bakehouse experiment list --project ~/notes")
@project_option
@json_option
def list_command(project: Path | None, as_json: bool) -> None:
    """The experiments of the project: those that were run, the last one first, then files that were not.

    An experiment is a file, configs/experiments/NAME.yaml; a tournament is one without a file.
    """
    from core.wording.experiment_plan import listed_words

    found = find_project(project)
    with opened(Home.find()) as connection:
        rows = experiment_rows(connection, found)
    if as_json:
        print_json({"experiments": rows})
        return
    if not rows:
        say("no experiment yet: write configs/experiments/NAME.yaml, or start a tournament")
    for row in rows:
        for line in wrap(listed_words(row), terminal_width()):
            say(line)


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
