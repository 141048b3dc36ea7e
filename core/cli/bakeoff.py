"""`bakehouse bakeoff`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import by, find_project, json_option, project_option
from core.cli.submitted import submitted
from core.home import Home


@click.command(epilog="Example: bakehouse bakeoff judge SmolLM2-135M job:2 --wait")
@click.argument("task")
@click.argument("candidates", nargs=-1, required=True)
@click.option("--repeats", type=click.IntRange(1), help="Answers to each input, instead of the task's number.")
@click.option("--incumbent", help="The candidate the others are measured against, else the base model.")
@click.option("--wait", is_flag=True, help="Follow it to its end and print the leaderboard.")
@project_option
@json_option
def bakeoff(
    task: str,
    candidates: tuple[str, ...],
    repeats: int | None,
    incumbent: str | None,
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Queue a comparison of CANDIDATES on the golden inputs of TASK.

    A candidate is a model of models.yaml, `job:ID` (what a training or merge job makes, also of one not yet done),
    `artefact:SHA`, or the path of a model.
    """
    from core.cli.results_boards import leaderboard_of
    from core.submission.submit import submit_bakeoff

    home = Home.find()
    job = submit_bakeoff(home, find_project(project), task, list(candidates), repeats, incumbent, author=by())
    submitted(home, job, wait=wait, as_json=as_json, show=leaderboard_of(home, as_json=as_json))
