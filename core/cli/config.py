"""`bakehouse config`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from core.checks import code_files
from core.cli.common import find_project, json_option, project_option
from core.cli.output import print_json, say
from core.config.project import Project
from core.errors import InputError
from core.text import printable


@click.group()
def config() -> None:
    """What is written in a project."""


@config.command(epilog="Example: bakehouse config check --project ~/notes")
@click.option("--all", "with_shipped", is_flag=True, help="The tasks that come with Bakehouse as well.")
@project_option
@json_option
def check(with_shipped: bool, project: Path | None, as_json: bool) -> None:
    """Read every task, golden file, data file, model, recipe and experiment, and say all that is wrong, with file and line.

    The checks of a task are tried on the completions of its training data: one that none of them passes is told. Below stands
    what each task has: golden inputs, checks, examples and how long they are.
    """
    from core.authoring.lint import check_project, check_settings_file
    from core.authoring.task_rows import task_rows
    from core.cli.results_boards import terminal_width
    from core.cli.task_table import task_table
    from core.experiments.file_check import check_experiments

    try:
        found = find_project(project)
    except InputError as problem:
        root, problems, warnings, rows = Path(problem.file or "").parent, check_settings_file(problem), [], []
    else:
        for line in code_that_runs(found):
            say(line, error=True)
        rows, own = task_rows(found, own=not with_shipped, run_code=True), found.own_task_names()
        root = found.root
        problems = check_project(found, {row.name: row.problems for row in rows if row.name in own})
        problems += check_experiments(found)
        problems += [one for row in rows if row.name not in own for one in row.problems]
        warnings = [one for row in rows for one in row.warnings]
    if as_json:
        print_json(
            {
                "project": str(root),
                "problems": [one.to_json() for one in problems],
                "warnings": [warning.to_json() for warning in warnings],
                "tasks": [row.to_json() for row in rows],
            }
        )
    else:
        for one in problems:
            say(str(one))
        for warning in warnings:
            say(f"! {warning}")
        for line in task_table(rows, terminal_width()):
            say(line)
        if not problems:
            say(all_well(found))
    sys.exit(2 if problems else 0)


def code_that_runs(project: Project) -> Iterator[str]:
    """A line for each file of the project that is about to be run, so that nobody runs what came from elsewhere unawares."""
    for name in project.own_task_names():
        with suppress(InputError):
            task = project.task(name)
            files = code_files(task.format, task.content)
            if files and task.data.train is not None:
                named = printable(", ".join(files))
                yield f"{printable(name)} runs {named} here, with your rights: a check of the kind `python`"


def all_well(project: Project) -> str:
    where = "the shipped project (there is no bakehouse.yaml here or above)" if project.is_shipped else project.root
    return f"✓ {where}: all is well (tasks {', '.join(project.task_names())})"
