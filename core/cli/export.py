"""`bakehouse export`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, get_args

import click

from core.cli.common import by, find_project, job_json, job_line, json_option, opened, project_option
from core.cli.output import print_json, say
from core.cli.serving_options import base_weights_option
from core.cli.submitted import Show, submitted
from core.config.model import BaseWeights, WeightFormat
from core.errors import InputError
from core.home import Home
from core.jobfile.quantize import Quantization
from core.own_paths import read_result
from core.store.jobs import JobRow
from core.submission.wanted_export import WantedGguf, WantedMerge
from core.text import printable

# The formats by their other usual names; a GGUF file can be written in Q8_0 at once.
CALLED = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
DIRECTLY = "q8_0"
FORMATS = (*get_args(WeightFormat), *CALLED, DIRECTLY)


@click.command(epilog="Example: bakehouse export 2 --to gguf --quantize Q8_0 --wait")
@click.argument("source", metavar="JOB|FOLDER|MODEL")
@click.option(
    "--to",
    "kind",
    type=click.Choice(["safetensors", "gguf"]),
    help="What to make: an adapter merged into its base, or a GGUF file of any model.  [default: safetensors]",
)
@click.option(
    "--dtype",
    type=click.Choice(FORMATS),
    default="bf16",
    show_default=True,
    help="The format of the weights; the merge itself is in fp32. q8_0 is for a GGUF file alone.",
)
@click.option(
    "--quantize",
    type=click.Choice(get_args(Quantization), case_sensitive=False),
    help="Quantise the GGUF file afterwards (implies --to gguf).",
)
@base_weights_option
@click.option("--again", is_flag=True, help="Make once more what was made already.")
@click.option("--wait", is_flag=True, help="Follow it to its end, and say where the model lies.")
@project_option
@json_option
def export(
    source: str,
    kind: str | None,
    dtype: str,
    quantize: Quantization | None,
    base_weights: BaseWeights,
    again: bool,
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Queue the merging of an adapter into its base model, or what makes a GGUF file.

    The adapter is what a training job makes, or the folder of one that another tool made: its configuration names its base.
    It becomes safetensors with their tokenizer and template; the result says how much of the update survives in the format
    written. A GGUF file is made of it, of any model of models.yaml or of a folder, by llama.cpp's tools; what is needed before
    is queued, too, and what is there already is taken.
    """
    from core.submission.merge import earlier_merge, submit_merge

    home = Home.find()
    chosen: WeightFormat = CALLED.get(dtype, dtype)  # type: ignore[assignment]  # click allows no others
    reference = f"job:{source}" if source.isdecimal() else source
    if kind == "gguf" or (kind is None and quantize is not None):
        directly = dtype == DIRECTLY
        wanted = WantedGguf(reference, "bf16" if directly else chosen, quantize, directly, base_weights)
        export_gguf(home, project, wanted, again=again, wait=wait, as_json=as_json)
        return
    if quantize is not None or dtype == DIRECTLY:
        raise InputError(
            "safetensors are not quantised", code="no_quantization", key="--quantize", remedy="write `--to gguf`"
        )
    merge = WantedMerge(reference, chosen, base_weights)
    with opened(home) as connection:
        earlier = None if again else earlier_merge(home, connection, merge)
    if earlier is None:
        job = submit_merge(home, find_project(project), merge, again=True, author=by())
        submitted(home, job, wait=wait, as_json=as_json, show=came_to(home, as_json=as_json))
    elif earlier.path is None:
        say(earlier.words, error=True)
        submitted(home, earlier.job, wait=wait, as_json=as_json, show=came_to(home, as_json=as_json))
    elif as_json:
        print_json({"job": job_json(earlier.job), "already_merged": True, **document(home, earlier.job)})
    else:
        say(earlier.words)


def export_gguf(
    home: Home, project: Path | None, wanted: WantedGguf, *, again: bool, wait: bool, as_json: bool
) -> None:
    """Queue what is missing for a GGUF file, or say where it lies."""
    from core.submission.gguf import submit_gguf

    if wanted.directly and wanted.quantization is not None:
        raise InputError(
            "a file that is written in q8_0 is quantised already",
            code="already_quantised",
            key="--quantize",
            remedy="leave one of the two options out",
        )
    made = submit_gguf(home, find_project(project), wanted, again=again, author=by())
    show = file_of(home, as_json=as_json)
    if made.queued and as_json and not wait:
        print_json({"job": job_json(made.last), "jobs": [job_json(job) for job in made.queued]})
    elif made.queued:
        if not as_json:
            for job in made.queued[:-1]:
                say(job_line(job))
        submitted(home, made.last, wait=wait, as_json=as_json, show=show)
    elif made.path is None:
        say(made.words, error=True)
        submitted(home, made.last, wait=wait, as_json=as_json, show=show)
    elif as_json:
        print_json({"job": job_json(made.last), "already_made": True, **file_document(home, made.last)})
    else:
        say(made.words)


def file_of(home: Home, *, as_json: bool) -> Show:
    """Where a GGUF file lies that a job has made, and what is known of its tensors."""

    def show(connection: sqlite3.Connection, job: JobRow) -> dict[str, Any] | str:
        found = file_document(home, job)
        if as_json:
            return found
        from core.jobfile.convert import check_words

        return "\n".join(map(printable, [str(found["path"]), *check_words(found)]))

    return show


def file_document(home: Home, job: JobRow) -> dict[str, Any]:
    """`path`, `bytes`, `file_sha256`, `tool`, `proof` and `survival` of a GGUF file, as its job left them."""
    summary = (read_result(home.run_dir(job.id)) or {}).get("summary", {})
    told = {key: summary.get(key) for key in ("path", "bytes", "file_sha256", "tool", "proof", "survival")}
    return told | {key: summary[key] for key in ("survival_unknown",) if key in summary}


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
