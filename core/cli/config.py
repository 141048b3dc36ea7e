"""`bakehouse config`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from core.cli.common import find_project, json_option, print_json, project_option


@click.group()
def config() -> None:
    """What is written in a project."""


@config.command(epilog="Example: bakehouse config check --project ~/notes")
@project_option
@json_option
def check(project: Path | None, as_json: bool) -> None:
    """Read every task, golden file, data file, model and recipe, and say all that is wrong, with file and line."""
    from core.config.check import check_project

    found = find_project(project)
    problems = check_project(found)
    if as_json:
        print_json({"project": str(found.root), "problems": [problem.to_json() for problem in problems]})
    else:
        for problem in problems:
            print(problem)
        if not problems:
            names = ", ".join(found.task_names())
            print(f"✓ {found.root}: all is well (tasks {names})")
    sys.exit(2 if problems else 0)
