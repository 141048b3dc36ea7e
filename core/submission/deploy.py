"""Queueing a deployment: which file, who is to serve it and under which name, and the task that it is held to."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import PurePath
from typing import Any

from core.aliases.guard import require_no_alias
from core.config.model import ModelEntry
from core.config.project import Project
from core.config.servers import BUILT_IN
from core.config.task import Task
from core.errors import InputError
from core.files import sha256_json
from core.home import Home
from core.jobfile.deploy import STAGING, DeploySpec, Target
from core.jobfile.references import parse_reference
from core.jobfile.served_as import ServedAs
from core.jobfile.servers import known_servers, ollama_of
from core.models.llama_cpp import LlamaCpp
from core.served.control import choose_keeper
from core.served.install import choose_port
from core.served.record import require_name
from core.serving.errors import ServerError
from core.serving.ollama_prompts import RENDERS, version_number
from core.serving.refusals import no_render
from core.serving.replies import full_name, name_key
from core.store.database import open_database
from core.store.jobs import JobRow
from core.submission.enqueue import store
from core.submission.input_store import golden_file
from core.submission.meant_gguf import MeantGguf, meant_gguf, meant_task_and_model
from core.submission.served_as import known_training, served_as, served_examples

LONGEST_PART = 80
"""Letters of each part of a name that Ollama takes (its `types/model/name.go`)."""
_UNSAFE = re.compile(r"[^a-z0-9_.-]+")
_OLLAMA_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def submit_deploy(
    home: Home,
    project: Project,
    source: str,
    *,
    to: Target | None = None,
    name: str | None = None,
    task: str | None = None,
    model: str | None = None,
    at_boot: bool = False,
    port: int | None = None,
    slots: int = 1,
    author: str,
) -> JobRow:
    """Queue the deployment of `source`: `job:12`, or the path of a GGUF file. `to` None: see `target`. `task` and `model` are
    names; those that the job was given are taken where they are not named.

    Raises `InputError` for what is no GGUF file, for a server that can't be had and for what is named nowhere, `NotFoundError`
    for a job, task or model, `ServerError` for an Ollama that shows no prompts.
    """
    to = target(project, to, at_boot=at_boot)
    with contextlib.closing(open_database(home)) as connection:
        spec = deploy_spec(
            home,
            connection,
            project,
            source,
            to=to,
            name=name,
            task=task,
            model=model,
            at_boot=at_boot,
            port=port,
            slots=slots,
        )
    return store(home, project, spec, author=author)


def target(project: Project, to: Target | None, *, at_boot: bool) -> Target:
    """Where a file is deployed to: to what is named, else to Ollama where one answers now, else to llama-server.

    Asks Ollama or systemd, so not while the database is locked. ServerError (`no_render`) for an Ollama that can't be compared
    with training; one that is named and does not answer may come back by the time that the job runs. `InputError` where a
    served model is to start with the machine and nothing would start it.
    """
    found = _who_serves(project, to)
    if found == "llama-server" and at_boot:
        choose_keeper(at_boot=True)
    return found


def _who_serves(project: Project, to: Target | None) -> Target:
    if to == "llama-server":
        return to
    try:
        with contextlib.closing(ollama_of(known_servers(project.settings)[BUILT_IN])) as ollama:
            version = ollama.version()
    except ServerError:
        return to or "llama-server"
    if version_number(version) < RENDERS:
        raise no_render(BUILT_IN, f"Ollama {version} does not show them")
    return "ollama"


def deploy_spec(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    source: str,
    *,
    to: Target,
    name: str | None = None,
    task: str | None = None,
    model: str | None = None,
    at_boot: bool = False,
    port: int | None = None,
    slots: int = 1,
    served: ServedAs | None = None,
) -> DeploySpec:
    """What the deployment is told. `served` None: as the project has it now, for which Ollama may be asked. Raises as
    `submit_deploy`."""
    if to == "ollama" and at_boot:
        raise InputError(
            "Ollama itself is what starts at boot, or does not",
            code="bad_option",
            key="--at-boot",
            remedy="leave it out, or deploy with `--to llama-server`",
        )
    if to == "ollama" and slots != 1:
        raise InputError(
            "how many answers a model of Ollama gives at a time is Ollama's own setting",
            code="bad_option",
            key="--slots",
            remedy="set OLLAMA_NUM_PARALLEL for Ollama, or deploy with `--to llama-server`",
        )
    if to == "ollama" and port is not None:
        raise InputError(
            "a model of Ollama is asked at Ollama's own address",
            code="bad_option",
            key="--port",
            remedy="leave it out, or deploy with `--to llama-server`",
        )
    found = meant_gguf(home, connection, project, source)
    under_test, base = meant_task_and_model(project, source, found, task, model)
    name = default_name(under_test, base, found, to) if name is None else name
    where = _ollama(home, project, name) if to == "ollama" else _llama_server(home, project, name, at_boot, port)
    if to == "ollama":
        require_no_alias(connection, where["server"].url, name, name_key(name))
    else:
        require_no_alias(connection, "", name, name)
    if served is None:
        training = known_training(home, found.reference)
        served = (
            served_as(project, under_test.name, base, training)
            if to == "ollama"
            else ServedAs(examples=served_examples(project, under_test.name, training))
        )
    return DeploySpec(
        source=found.reference,
        to=to,
        name=name,
        model=base,
        served=ServedAs(
            task=under_test, official=served.official if to == "ollama" else None, examples=served.examples
        ),
        golden=golden_file(home, project, under_test, project.golden(under_test)),
        slots=slots,
        **where,
    )


def default_name(task: Task, model: ModelEntry, found: MeantGguf, to: Target) -> str:
    """`TASK:MODEL-JOB` for Ollama, `TASK-MODEL-JOB` for llama-server; for a file of no job its own name stands for the two."""
    made_by = parse_reference(found.reference)
    of_whom = f"{model.name}-{made_by.job_id}" if made_by else PurePath(found.reference).stem
    head, tail = (_UNSAFE.sub("-", part.lower()).strip("-.") or "model" for part in (task.name, of_whom))
    if to == "ollama":
        return f"{head[:LONGEST_PART]}:{_shortened(tail, LONGEST_PART)}"
    return _shortened(f"{head}-{tail}", LONGEST_PART)


def staging_of(home: Home, name: str) -> str:
    """The tag under which a file is proved before `name` is touched. By its end a tag is known to be of this home: whoever
    deploys from here next removes what a killed job has left."""
    model, _, tag = full_name(name).rpartition(":")
    behind = f"{STAGING}{sha256_json([str(home.root.resolve())])[:8]}"
    return f"{model}:{tag[: LONGEST_PART - len(behind)]}{behind}"


def _shortened(text: str, most: int) -> str:
    """The end is kept: there stands which job made the file."""
    return text if len(text) <= most else text[-most:].lstrip("-._")


def _ollama(home: Home, project: Project, name: str) -> dict[str, Any]:
    path, colon, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    parts = [*path.split("/"), *([tag] if colon else [])]
    if len(parts) > 4 or not all(_OLLAMA_PART.fullmatch(part) and len(part) <= LONGEST_PART for part in parts):
        raise _bad_name(name, "Ollama takes MODEL:TAG, of letters, digits, `_`, `.` and `-`")
    server = known_servers(project.settings)[BUILT_IN]
    return {"server": server, "staging": staging_of(home, name)}


def _llama_server(home: Home, project: Project, name: str, at_boot: bool, port: int | None) -> dict[str, Any]:
    require_name(name)
    program = LlamaCpp.find(project.settings.llama_cpp.folder).require("llama-server")
    if port is not None:
        choose_port(home, name, port)
    return {"program": str(program), "at_boot": at_boot, "port": port}


def _bad_name(name: str, why: str) -> InputError:
    return InputError(f"`{name}` can't be the name of a served model: {why}", code="bad_name", key="--name")
