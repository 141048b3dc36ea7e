"""`bakehouse bakeoff`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from core.cli.common import by, find_project, job_line, json_option, opened, print_json, project_option
from core.cli.follow import wait_and_exit
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
    from core.queue.submit import submit_bakeoff

    home = Home.find()
    job = submit_bakeoff(home, find_project(project), task, list(candidates), repeats, incumbent, author=by())
    if not wait:
        if as_json:
            print_json({"job": job.to_json()})
        else:
            print(job_line(job))
        return
    from core.cli.results import show_leaderboard

    with opened(home) as connection:
        code = wait_and_exit(home, connection, [job.id])
        if code == 0:
            show_leaderboard(home, connection, job.id, as_json=as_json)
        sys.exit(code)
