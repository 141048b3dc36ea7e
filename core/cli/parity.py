"""`bakehouse parity`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import click

from core.cli.common import by, find_project, json_option, project_option
from core.cli.submitted import Show, submitted
from core.files import read_json
from core.home import Home
from core.store.jobs import JobRow


@click.command(epilog="Example: bakehouse parity 7 --wait")
@click.argument("source", metavar="JOB|FILE|SERVER:MODEL")
@click.option("--task", help="The task that the model is to do.  [default: that of the job]")
@click.option("--model", help="The base model, whose tokenizer and template trained.  [default: that of the job]")
@click.option("--wait", is_flag=True, help="Follow it to its end: exit code 3 where the prompts differ.")
@project_option
@json_option
def parity(source: str, task: str | None, model: str | None, wait: bool, project: Path | None, as_json: bool) -> None:
    """Check that a served model gets the prompts that it was trained on: a GGUF file, or what serves (served:NAME, of
    `bakehouse served list` or an Ollama; SERVER:MODEL, of another llama-server).

    The server renders conversations of the task and awkward ones (an empty message, several turns, unicode, text that looks
    like the template); training's template does the same, and the two are compared token by token. A file is served by a
    llama-server of the job's own. One real answer tells whether the count of the prompt agrees and whether answers end where
    training's do.
    """
    from core.submission.parity import submit_parity

    home = Home.find()
    reference = f"job:{source}" if source.isdecimal() else source
    job = submit_parity(home, find_project(project), reference, task=task, model=model, author=by())
    submitted(home, job, wait=wait, as_json=as_json, show=_found(home, as_json=as_json))


def _found(home: Home, *, as_json: bool) -> Show:
    def show(connection: sqlite3.Connection, job: JobRow) -> dict[str, Any] | str:
        document = read_json(home.run_dir(job.id).parity)
        found = document if isinstance(document, dict) else {}
        if as_json:
            return {"parity": found}
        return f"{len(found.get('cases', []))} prompts are the trained ones, token by token"

    return show
