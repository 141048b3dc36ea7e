"""`bakehouse export`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, get_args

import click

from core.cli.common import by, find_project, job_json, json_option, opened, project_option
from core.cli.output import print_json, say
from core.cli.submitted import Show, submitted
from core.config.model import WeightFormat
from core.home import Home
from core.own_paths import read_result
from core.store.jobs import JobRow
from core.text import printable

# The formats by their other usual names.
CALLED = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
FORMATS = (*get_args(WeightFormat), *CALLED)


@click.command(epilog="Example: bakehouse export 2 --dtype fp32 --wait")
@click.argument("adapter", metavar="JOB|FOLDER")
@click.option(
    "--dtype",
    type=click.Choice(FORMATS),
    default="bf16",
    show_default=True,
    help="The format of the weights; the merge itself is in fp32.",
)
@click.option("--again", is_flag=True, help="Merge once more what was merged already.")
@click.option("--wait", is_flag=True, help="Follow it to its end, and say where the model lies.")
@project_option
@json_option
def export(adapter: str, dtype: str, again: bool, wait: bool, project: Path | None, as_json: bool) -> None:
    """Queue the merging of an adapter into its base model, as safetensors with its tokenizer and template.

    The adapter is what a training job makes, or the folder of one that another tool made: its configuration names its base.
    The result says how much of the update survives in the format written.
    """
    from core.submission.merge import earlier_merge, submit_merge

    home = Home.find()
    chosen: WeightFormat = CALLED.get(dtype, dtype)  # type: ignore[assignment]  # click allows no others
    reference = f"job:{adapter}" if adapter.isdecimal() else adapter
    with opened(home) as connection:
        earlier = None if again else earlier_merge(home, connection, reference, chosen)
    if earlier is None:
        job = submit_merge(home, find_project(project), reference, chosen, again=True, author=by())
        submitted(home, job, wait=wait, as_json=as_json, show=came_to(home, as_json=as_json))
    elif earlier.path is None:
        say(earlier.words, error=True)
        submitted(home, earlier.job, wait=wait, as_json=as_json, show=came_to(home, as_json=as_json))
    elif as_json:
        print_json({"job": job_json(earlier.job), "already_merged": True, **document(home, earlier.job)})
    else:
        say(earlier.words)


def came_to(home: Home, *, as_json: bool) -> Show:
    """Where a finished merge lies, and how much of the update survives in it."""

    def show(connection: sqlite3.Connection, job: JobRow) -> dict[str, Any] | str:
        found = document(home, job)
        if as_json:
            return found
        from core.jobfile.merge import survival_words

        lines = [str(found["path"])]
        if found["survival"] is not None:
            lines.append(survival_words(found["survival"]))
        return "\n".join(map(printable, lines))

    return show


def document(home: Home, job: JobRow) -> dict[str, Any]:
    """`path` of a finished merge, and `survival` as its job measured it."""
    result = read_result(home.run_dir(job.id)) or {}
    paths = [item["path"] for item in result.get("artefacts", []) if item["kind"] == "merged"]
    return {"path": paths[0] if paths else None, "survival": result.get("summary", {}).get("survival")}
