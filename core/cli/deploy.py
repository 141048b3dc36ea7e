"""`bakehouse deploy`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import click

from core.cli.common import by, find_project, json_option, project_option, told_if_slow
from core.cli.serving_options import at_boot_option, name_option, target_option
from core.cli.submitted import Show, submitted
from core.files import read_json
from core.home import Home
from core.jobfile.deploy import MOST_SLOTS, Target
from core.store.jobs import JobRow


@click.command(epilog="Example: bakehouse deploy 7 --wait")
@click.argument("source", metavar="JOB|FILE")
@target_option
@name_option
@click.option("--task", help="The task that the model is to do.  [default: that of the job]")
@click.option("--model", help="The base model, whose tokenizer and template trained.  [default: that of the job]")
@at_boot_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Of a served model of llama-server.  [default: the one that the name has, else a free one]",
)
@click.option(
    "--slots",
    type=click.IntRange(1, MOST_SLOTS),
    default=1,
    show_default=True,
    help="How many answers a served model of llama-server gives at a time; each has a whole window.",
)
@click.option("--wait", is_flag=True, help="Follow it to its end: exit code 3 where the prompts differ.")
@project_option
@json_option
def deploy(
    source: str,
    to: Target | None,
    name: str | None,
    task: str | None,
    model: str | None,
    at_boot: bool,
    port: int | None,
    slots: int,
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Have a GGUF file serve, in Ollama or by a llama-server, once it is proved that its prompts are those of training.

    The model is loaded and checked beside what serves. A file whose prompts differ, or that gives no answer, does not come to
    serve, and what served under the name goes on. In Ollama that is kept under a tag to go back to.
    """
    from core.submission.deploy import submit_deploy

    home = Home.find()
    reference = f"job:{source}" if source.isdecimal() else source
    with told_if_slow("looking who is to serve …"):
        job = submit_deploy(
            home,
            find_project(project),
            reference,
            to=to,
            name=name,
            task=task,
            model=model,
            at_boot=at_boot,
            port=port,
            slots=slots,
            author=by(),
        )
    submitted(home, job, wait=wait, as_json=as_json, show=_came_to(home, as_json=as_json))


def _came_to(home: Home, *, as_json: bool) -> Show:
    def show(connection: sqlite3.Connection, job: JobRow) -> dict[str, Any] | str:
        result = read_json(home.run_dir(job.id).result)
        found = result if isinstance(result, dict) else {}
        if as_json:
            return {"served": found.get("summary", {})}
        return str(found.get("message", ""))

    return show
