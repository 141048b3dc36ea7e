"""`bakehouse export`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import by, find_project, json_option, project_option
from core.cli.submitted import submitted
from core.home import Home


@click.command(epilog="Example: bakehouse export 2 --wait")
@click.argument("job_id", metavar="JOB", type=int)
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@project_option
@json_option
def export(job_id: int, wait: bool, project: Path | None, as_json: bool) -> None:
    """Queue the merging of a training job's adapter into its base model, as safetensors with its tokenizer and template."""
    from core.submission.submit import submit_merge

    home = Home.find()
    job = submit_merge(home, find_project(project), job_id, author=by())
    submitted(home, job, wait=wait, as_json=as_json)
