"""Queueing a parity check: which file or served model, the model that it was trained from, and the task that it is to do."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.servers import BUILT_IN
from core.errors import InputError, NotFoundError
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.kinds import kind_of
from core.jobfile.parity import ParitySpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.servers import known_servers
from core.jobfile.spec import JobFile
from core.models.gguf import check_servable
from core.models.llama_cpp import LlamaCpp
from core.serving.ollama_prompts import shows_prompts
from core.serving.refusals import no_render
from core.store.database import open_database
from core.store.jobs import RETRYABLE, JobRow, get_job
from core.submission.asked_servers import ServedFacts, ask_servers
from core.submission.candidates import of_server
from core.submission.enqueue import store
from core.submission.input_store import golden_file


def submit_parity(
    home: Home, project: Project, source: str, *, task: str | None = None, model: str | None = None, author: str
) -> JobRow:
    """Queue the check of `source`: `job:12`, the path of a GGUF file, `served:TAG` or `SERVER:MODEL`. `task` and `model` are
    names; those that the job was given are taken where they are not named.

    Raises `InputError` for what is no GGUF file, for a server that shows no prompts and for what is named nowhere,
    `NotFoundError` for a job, task or model.
    """
    with contextlib.closing(open_database(home)) as connection:
        spec = parity_spec(home, connection, project, source, task=task, model=model)
    return store(home, project, spec, author=author)


def parity_spec(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    source: str,
    *,
    task: str | None = None,
    model: str | None = None,
) -> ParitySpec:
    """What the check is told. Raises as `submit_parity`."""
    candidate = _served(project, source)
    of_task, of_model, reference = None, None, None
    if candidate is None:
        found = _of_job(home, connection, source) if parse_reference(source) else _of_path(project, source)
        reference, of_task, of_model = found
    name = task or of_task
    if name is None:
        raise InputError(
            "the task that the model is to do is not known", code="no_task", key=source, remedy="name it with --task"
        )
    base = project.model(model) if model is not None else of_model
    if base is None:
        raise InputError(
            "the model that was trained is not known: its tokenizer and template are compared",
            code="no_model",
            key=source,
            remedy="name it with --model, as `bakehouse models list` has it",
        )
    under_test = project.task(name)
    if candidate is not None:
        _require_prompts(candidate)
        who: dict[str, Any] = {"server": candidate.server, "served_model": candidate.served_model}
    else:
        program = LlamaCpp.find(project.settings.llama_cpp.folder).require("llama-server")
        who = {"source": reference, "program": str(program)}
    golden = golden_file(home, project, under_test, project.golden(under_test))
    return ParitySpec(**who, model=base, task=under_test, golden=golden)


def _served(project: Project, source: str) -> CandidateSpec | None:
    """The model of a running server that is meant; None for a job or a file."""
    kind, colon, rest = source.partition(":")
    if not colon or kind not in ("served", *known_servers(project.settings)):
        return None
    return of_server(project, BUILT_IN if kind == "served" else kind, rest, source)


def _require_prompts(candidate: CandidateSpec) -> None:
    """Refuse a model that its server does not have, and a server that shows no prompts; one that is away may come back."""
    (told,) = ask_servers([candidate]).values()
    if isinstance(told, NotFoundError):
        raise told
    if isinstance(told, ServedFacts) and not shows_prompts(told.identity):
        raise no_render(candidate.name, f"{told.identity.api} {told.identity.version or ''} does not show them".strip())


def _of_job(home: Home, connection: sqlite3.Connection, source: str) -> tuple[str, str | None, ModelEntry | None]:
    job = parse_reference(source)
    assert job is not None  # who calls has looked
    row = get_job(connection, job.job_id)
    kind = kind_of(row.kind)
    if "gguf" not in kind.makes:
        raise InputError(
            f"job {row.id} is {kind.noun}, which makes no GGUF file",
            code="no_gguf",
            key=source,
            remedy=f"`bakehouse export {row.id} --to gguf` makes one of it",
        )
    if row.state in RETRYABLE:
        raise InputError(
            f"job {row.id} {row.state} and made no file",
            code="no_candidate",
            key=source,
            remedy=f"`bakehouse queue retry {row.id}` first",
        )
    spec = JobFile.load(home.run_dir(row.id)).spec
    assert isinstance(spec, ConvertSpec | QuantizeSpec)  # they alone make GGUF files
    return f"job:{row.id}/gguf", row.task, spec.model


def _of_path(project: Project, source: str) -> tuple[str, None, None]:
    path: Path = project.resolve(source)
    if not path.is_file():
        remedy = "name a job, a GGUF file, served:TAG or SERVER:MODEL"
        raise InputError("no such GGUF file", code="no_model", file=path, remedy=remedy)
    check_servable(path, path.name)
    return str(path), None, None
