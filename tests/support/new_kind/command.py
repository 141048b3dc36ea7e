"""`bakehouse pack`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import by, find_project, json_option, project_option
from core.cli.submitted import submitted
from core.home import Home


@click.command(epilog="Example: bakehouse pack job:2/packed --wait")
@click.argument("artefact")
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@project_option
@json_option
def pack(artefact: str, wait: bool, project: Path | None, as_json: bool) -> None:
    """Queue the packing of ARTEFACT (`job:ID/KIND`, or a folder) into one file."""
    from core.submission.enqueue import store
    from tests.support.new_kind.spec import PackSpec

    home = Home.find()
    job = store(home, find_project(project), PackSpec(artefact=artefact), author=by())
    submitted(home, job, wait=wait, as_json=as_json)
