"""Queueing a parity check: which file or served model, the model that it was trained from, and the task that it is to do."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from core.config.project import Project
from core.errors import NotFoundError
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.parity import ParitySpec
from core.models.llama_cpp import LlamaCpp
from core.serving.ollama_prompts import shows_prompts
from core.serving.refusals import no_render
from core.store.database import open_database
from core.store.jobs import JobRow
from core.submission.asked_servers import ServedFacts, ask_servers
from core.submission.enqueue import store
from core.submission.input_store import golden_file
from core.submission.meant_gguf import meant_gguf, meant_task_and_model
from core.submission.server_candidates import server_candidate


def submit_parity(
    home: Home, project: Project, source: str, *, task: str | None = None, model: str | None = None, author: str
) -> JobRow:
    """Queue the check of `source`: `job:12`, the path of a GGUF file, `served:NAME` or `SERVER:MODEL`. `task` and `model` are
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
    candidate = server_candidate(home, project, source)
    found = None
    if candidate is None:
        found = meant_gguf(home, connection, project, source, named="a job, a GGUF file, served:NAME or SERVER:MODEL")
    under_test, base = meant_task_and_model(project, source, found, task, model)
    if candidate is not None:
        _require_prompts(candidate)
        who: dict[str, Any] = {"server": candidate.server, "served_model": candidate.served_model}
    else:
        program = LlamaCpp.find(project.settings.llama_cpp.folder).require("llama-server")
        assert found is not None  # it is the one or the other
        who = {"source": found.reference, "program": str(program)}
    golden = golden_file(home, project, under_test, project.golden(under_test))
    return ParitySpec(**who, model=base, task=under_test, golden=golden)


def _require_prompts(candidate: CandidateSpec) -> None:
    """Refuse a model that its server does not have, and a server that shows no prompts; one that is away may come back."""
    (told,) = ask_servers([candidate]).values()
    if isinstance(told, NotFoundError):
        raise told
    if isinstance(told, ServedFacts) and not shows_prompts(told.identity):
        raise no_render(candidate.name, f"{told.identity.api} {told.identity.version or ''} does not show them".strip())
