"""Which GGUF file is meant that is to serve, for which task, and the model that it was trained from."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.task import Task
from core.errors import InputError
from core.home import Home
from core.jobfile.convert import ConvertSpec
from core.jobfile.kinds import kind_of
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.models.gguf import check_servable
from core.store.jobs import RETRYABLE, get_job
from core.submission.candidates import left_out


@dataclass(frozen=True)
class MeantGguf:
    """`reference` is `job:12/gguf` or the path of a file. `task` and `model` are those that its job was given, None where they
    are not known."""

    reference: str
    task: str | None = None
    model: ModelEntry | None = None


def meant_gguf(
    home: Home, connection: sqlite3.Connection, project: Project, source: str, *, named: str = "a job or a GGUF file"
) -> MeantGguf:
    """The file that `job:12` or a path means; `named` says what else could be. Raises `InputError` for what is no GGUF file,
    `NotFoundError` for a job."""
    return _of_job(home, connection, source) if parse_reference(source) else _of_path(project, source, named)


def meant_task_and_model(
    project: Project, source: str, found: MeantGguf | None, task: str | None, model: str | None
) -> tuple[Task, ModelEntry]:
    """What the names say, else what is known of the file. Raises `InputError` for what is named nowhere, `NotFoundError` for
    what the project has not."""
    name = task or (found.task if found else None)
    if name is None:
        raise InputError(
            "the task that the model is to do is not known", code="no_task", key=source, remedy="name it with --task"
        )
    base = project.model(model) if model is not None else found.model if found else None
    if base is None:
        raise InputError(
            "the model that was trained is not known: its tokenizer and template are compared",
            code="no_model",
            key=source,
            remedy="name it with --model, as `bakehouse models list` has it",
        )
    return project.task(name), base


def _of_job(home: Home, connection: sqlite3.Connection, source: str) -> MeantGguf:
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
    if row.is_censored:
        raise left_out(row.id, source)
    spec = JobFile.load(home.run_dir(row.id)).spec
    assert isinstance(spec, ConvertSpec | QuantizeSpec)  # they alone make GGUF files
    return MeantGguf(f"job:{row.id}/gguf", row.task, spec.model)


def _of_path(project: Project, source: str, named: str) -> MeantGguf:
    path: Path = project.resolve(source)
    if not path.is_file():
        raise InputError("no such GGUF file", code="no_model", file=path, remedy=f"name {named}")
    check_servable(path, path.name)
    return MeantGguf(str(path))
