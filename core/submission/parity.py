"""Queueing a parity check: which file, the model that it was trained from, and the task that it is to do."""

from __future__ import annotations

import contextlib
from pathlib import Path

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import InputError
from core.home import Home
from core.jobfile.convert import ConvertSpec
from core.jobfile.kinds import kind_of
from core.jobfile.parity import ParitySpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.models.gguf import check_servable
from core.models.llama_cpp import LlamaCpp
from core.store.database import open_database
from core.store.jobs import RETRYABLE, JobRow, get_job
from core.submission.enqueue import store
from core.submission.input_store import golden_file


def submit_parity(
    home: Home, project: Project, source: str, *, task: str | None = None, model: str | None = None, author: str
) -> JobRow:
    """Queue the check of `source`, `job:12` or the path of a GGUF file. `task` and `model` are names; those that the job was
    given are taken where they are not named.

    Raises `InputError` for what is no GGUF file and for what is named nowhere, `NotFoundError` for a job, task or model.
    """
    reference, of_task, of_model = _of_job(home, source) if parse_reference(source) else _of_path(project, source)
    name = task or of_task
    if name is None:
        raise InputError(
            "the task that the model is to do is not known", code="no_task", key=source, remedy="name it with --task"
        )
    base = project.model(model) if model is not None else of_model
    if base is None:
        raise InputError(
            "the model that the file was made of is not known: its tokenizer and template are compared",
            code="no_model",
            key=source,
            remedy="name it with --model, as `bakehouse models list` has it",
        )
    under_test = project.task(name)
    golden = project.golden(under_test)
    program = LlamaCpp.find(project.settings.llama_cpp.folder).require("llama-server")
    spec = ParitySpec(
        source=reference,
        model=base,
        task=under_test,
        golden=golden_file(home, project, under_test, golden),
        program=str(program),
    )
    return store(home, project, spec, author=author)


def _of_job(home: Home, source: str) -> tuple[str, str | None, ModelEntry | None]:
    job = parse_reference(source)
    assert job is not None  # who calls has looked
    with contextlib.closing(open_database(home)) as connection:
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
        raise InputError("no such GGUF file", code="no_model", file=path)
    check_servable(path, path.name)
    return str(path), None, None
