"""`bakehouse new`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from core.cli.common import find_project, json_option, project_option
from core.cli.output import print_json, say
from core.config.project import Project
from core.errors import InputError


@click.group()
def new() -> None:
    """Make a project, or a task in it."""


@new.command(epilog="Example: bakehouse new project ~/notes")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@json_option
def project(folder: Path, as_json: bool) -> None:
    """Make FOLDER a project: `bakehouse.yaml` with an id of its own, and the folders of its parts."""
    from core.authoring.scaffold import new_project

    show(new_project(folder), as_json, f"next: cd {folder} && bakehouse new task NAME --examples YOUR.jsonl")


@new.command(epilog="Example: bakehouse new task titles --examples ~/titles.jsonl")
@click.argument("name")
@click.option(
    "--examples",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSONL with `messages` or `prompt`/`completion`: becomes the task's training data.",
)
@click.option(
    "--hold-out",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Make N of the examples golden inputs, and leave them out of the training data.",
)
@project_option
@json_option
def task(name: str, examples: Path | None, hold_out: int, project: Path | None, as_json: bool) -> None:
    """Write a commented task, its golden inputs and its data into the project."""
    from core.authoring.lint import task_warnings
    from core.authoring.scaffold import new_task

    found = find_project(project)
    if found.is_shipped:
        raise InputError(
            "there is no project here to write the task into",
            code="no_project",
            file=Path.cwd(),
            remedy="`bakehouse new project .` makes this folder one",
        )
    written = new_task(found, name, examples=examples, hold_out=hold_out)
    warnings = task_warnings(found, written[0])
    show(written, as_json, next_steps(found, name, written[0]), warnings)


def next_steps(project: Project, name: str, file: Path) -> str:
    """What is left to fill in, or, when nothing is, how to train."""
    from core.authoring.lint import check_task

    open_points = [f"to do    {problem}" for problem in check_task(project, file)]
    if open_points:
        return "\n".join([*open_points, "then     bakehouse config check"])
    return (
        f"next:    read {file.name}, say in `system:` what is asked, then\n"
        f"         bakehouse train {name} --model SmolLM2-135M --recipe demo --wait"
    )


def show(written: list[Path], as_json: bool, then: str, warnings: Sequence[InputError] = ()) -> None:
    if as_json:
        print_json(
            {"written": [str(path) for path in written], "warnings": [warning.to_json() for warning in warnings]}
        )
        return
    for path in written:
        say(f"written  {path}")
    for warning in warnings:
        say(f"warning  {warning}")
    for line in then.split("\n"):
        say(line)
