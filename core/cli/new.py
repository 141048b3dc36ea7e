"""`bakehouse new`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import find_project, json_option, project_option
from core.cli.data_options import options_of, reading_options, tell_waiting
from core.cli.output import print_json, say
from core.config.project import Project
from core.errors import InputError

if TYPE_CHECKING:
    from core.data.inspection import Inspection


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
    type=click.Path(path_type=Path),
    help="Becomes the task's training data: JSON lines, a JSON array, CSV, Parquet, … (see `bakehouse data inspect`).",
)
@click.option(
    "--hold-out",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Make N of the examples golden inputs, and leave them out of the training data.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out examples that cannot be trained on, and say how many.")
@reading_options
@project_option
@json_option
def task(
    name: str,
    examples: Path | None,
    hold_out: int,
    skip_bad: bool,
    project: Path | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Write a commented task, its golden inputs and its data into the project."""
    from core.authoring.lint import task_warnings
    from core.authoring.scaffold import new_task
    from core.data.inspection import inspect
    from core.data.reading import open_data, without_bad

    options = options_of(reading)
    found = find_project(project)
    if found.is_shipped:
        raise InputError(
            "there is no project here to write the task into",
            code="no_project",
            file=Path.cwd(),
            remedy="`bakehouse new project .` makes this folder one",
        )
    data = None if examples is None else open_data(examples, options, tell_waiting)
    if data is not None and skip_bad:
        data = without_bad(data)
    written = new_task(found, name, examples=data, hold_out=hold_out)
    warnings = task_warnings(found, written[0])
    left_out = 0 if data is None else data.left_out
    then = next_steps(found, name, written[0])
    show(written, as_json, then, warnings, None if data is None else inspect(data), left_out)


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


def show(
    written: list[Path],
    as_json: bool,
    then: str,
    warnings: Sequence[InputError] = (),
    data: Inspection | None = None,
    left_out: int = 0,
) -> None:
    if as_json:
        document: dict[str, Any] = {
            "written": [str(path) for path in written],
            "warnings": [warning.to_json() for warning in warnings],
        }
        print_json(document if data is None else {**document, "data": data.to_json(), "left_out": left_out})
        return
    for path in written:
        say(f"written  {path}")
    for line in () if data is None else data_lines(data, left_out):
        say(line)
    for warning in warnings:
        say(f"warning  {warning}")
    for line in then.split("\n"):
        say(line)


def data_lines(data: Inspection, left_out: int = 0) -> Iterator[str]:
    """What was made of the examples, and what of them is not used."""
    from core.wording.data import counted_keys, form_words, learnt_words, left_out_words, units, warning_words

    how = "" if data.own else ", converted"
    yield f"examples {units(data, data.records)} of {form_words(data)}{how}: {learnt_words(data)}"
    if data.ignored:
        yield f"ignored  {counted_keys(data.ignored)}"
    if left_out:
        yield f"warning  {left_out_words(data, left_out)}"
    for warning in warning_words(data):
        yield f"warning  {warning}"
