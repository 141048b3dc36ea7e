"""`bakehouse export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from core.cli.common import by, find_project, job_line, json_option, opened, print_json, project_option
from core.cli.follow import wait_and_exit
from core.home import Home


@click.command(epilog="Example: bakehouse export 2 --wait")
@click.argument("job_id", metavar="JOB", type=int)
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@project_option
@json_option
def export(job_id: int, wait: bool, project: Path | None, as_json: bool) -> None:
    """Queue the merging of a training job's adapter into its base model, as safetensors with its tokenizer and template."""
    from core.queue.submit import submit_merge

    home = Home.find()
    job = submit_merge(home, find_project(project), job_id, author=by())
    if as_json:
        print_json({"job": job.to_json()})
    else:
        print(job_line(job))
    if wait:
        with opened(home) as connection:
            sys.exit(wait_and_exit(home, connection, [job.id]))
