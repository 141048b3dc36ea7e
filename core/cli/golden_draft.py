"""`bakehouse golden draft`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from core.cli.common import by, find_project, json_option, project_option
from core.cli.data_options import options_of, reading_options
from core.cli.output import say
from core.cli.submitted import submitted
from core.home import Home
from core.marking.draft_inputs import MOST


@click.command(epilog="Example: bakehouse golden draft judge --inputs requests.jsonl --candidates ollama:judge job:12")
@click.argument("task")
@click.option(
    "--inputs",
    "inputs",
    type=click.Path(path_type=Path),
    required=True,
    help="Production inputs without answers: JSON lines, CSV, Parquet, …, a text, or a folder of those.",
)
@click.option("--candidates", nargs=2, required=True, metavar="A B", help="The two whose answers are compared.")
@click.option("--of", "of_job", type=int, metavar="JOB", help="A and B are names of candidates of this bake-off.")
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=MOST,
    show_default=True,
    metavar="N",
    help="Take at the most N of the inputs, drawn by chance.",
)
@click.option("--wait", is_flag=True, help="Follow the job to its end.")
@reading_options
@project_option
@json_option
def draft(
    task: str,
    inputs: Path,
    candidates: tuple[str, str],
    of_job: int | None,
    most: int,
    wait: bool,
    project: Path | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Ask two candidates what TASK meets in production; `bakehouse golden mark` makes golden inputs of their answers.

    Left out is what is golden already, what is nearly the same as another input, and what stands in the training data.
    """
    from core.submission.drafts import WantedDrafts, submit_drafts

    home, remarks = Home.find(), list[str]()
    wanted = WantedDrafts(task, inputs, candidates, most, options_of(reading), of_job)
    job = submit_drafts(home, find_project(project), wanted, author=by(), remarks=remarks)
    for remark in remarks:
        say(f"note: {remark}", error=True)
    submitted(home, job, wait=wait, as_json=as_json)
