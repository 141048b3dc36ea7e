"""What a person names as a candidate: `NAME`, `job:ID[/adapter|merged]`, `artefact:SHA` or a path of a model."""

from __future__ import annotations

import re
import sqlite3
from typing import Literal

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import InputError, NotFoundError
from core.home import Home
from core.jobfile.spec import CandidateSpec, JobFile, MergeSpec, TrainSpec
from core.models.files import check_model_files
from core.store.jobs import get_job
from core.store.results import list_artefacts

JOB = re.compile(r"job:(?P<id>\d+)(?:/(?P<form>\w+))?")
Form = Literal["adapter", "merged"]


def parse_candidates(
    home: Home, connection: sqlite3.Connection, project: Project, references: list[str]
) -> tuple[list[CandidateSpec], list[int]]:
    """The candidates that references name, under names that differ, and the jobs that have to be done first.

    Raises `InputError` for a reference of no known form, `NotFoundError` for a job, model or artefact that is not there.
    """
    found = [parse_candidate(home, connection, project, reference) for reference in references]
    names = [candidate.name for candidate, _ in found]
    specs = []
    for (candidate, job_id), reference in zip(found, references, strict=True):
        name = candidate.name
        if names.count(name) > 1:
            name = f"{name} (job {job_id})" if job_id is not None else f"{name} ({reference})"
        specs.append(candidate.model_copy(update={"name": name}))
    if len({spec.name for spec in specs}) < len(specs):
        raise InputError("a candidate is named twice", code="doubled_candidate", key="candidates")
    return specs, sorted({job_id for _, job_id in found if job_id is not None})


def parse_candidate(
    home: Home, connection: sqlite3.Connection, project: Project, reference: str
) -> tuple[CandidateSpec, int | None]:
    """One candidate and the job that makes it."""
    if match := JOB.fullmatch(reference):
        return of_job(home, connection, int(match["id"]), match["form"], reference)
    if reference.startswith("artefact:"):
        return of_artefact(home, connection, reference)
    if "/" in reference or reference.startswith((".", "~")):
        return of_path(project, reference), None
    if ":" in reference:
        raise InputError(
            f"`{reference}` is no candidate",
            code="bad_candidate",
            remedy="name a model of models.yaml, job:ID, artefact:SHA or the path of a model",
        )
    entry = project.model(reference)
    check_model_files(entry)
    return CandidateSpec(name=f"{entry.name} base", form="base", model=entry), None


def of_job(
    home: Home, connection: sqlite3.Connection, job_id: int, form: str | None, reference: str
) -> tuple[CandidateSpec, int]:
    """What a training or merge job makes or will make."""
    job = get_job(connection, job_id)
    if job.state in {"failed", "cancelled", "lost", "interrupted"}:
        raise InputError(
            f"job {job_id} {job.state}: it has made nothing to compare",
            code="no_candidate",
            key=reference,
            remedy=f"`bakehouse queue retry {job_id}` first",
        )
    spec = JobFile.load(home.run_dir(job_id)).spec
    makes: Form
    if isinstance(spec, TrainSpec):
        makes = "adapter"
    elif isinstance(spec, MergeSpec):
        makes = "merged"
    else:
        raise InputError(f"job {job_id} is a {job.kind}: it makes no model", code="no_candidate", key=reference)
    if form is not None and form != makes:
        raise InputError(f"job {job_id} makes no `{form}`, but `{makes}`", code="no_candidate", key=reference)
    name = f"{spec.model.name} tuned" + (", merged" if makes == "merged" else "")
    candidate = CandidateSpec(name=name, form=makes, model=spec.model, ref=f"job:{job_id}/{makes}")
    return candidate, job_id


def of_artefact(home: Home, connection: sqlite3.Connection, reference: str) -> tuple[CandidateSpec, int]:
    """An artefact by the beginning of its hash."""
    wanted = reference.partition(":")[2]
    rows = [row for row in list_artefacts(connection) if wanted and row.sha256.startswith(wanted)]
    if len({row.sha256 for row in rows}) > 1:
        raise InputError(f"{len(rows)} artefacts begin so", code="ambiguous", key=reference, remedy="give more of it")
    if not rows or rows[0].kind not in {"adapter", "merged"}:
        raise NotFoundError(f"no adapter or merged model `{wanted}`", code="artefact_not_found")
    return of_job(home, connection, rows[0].job_id, rows[0].kind, reference)


def of_path(project: Project, reference: str) -> CandidateSpec:
    """A model folder or GGUF file that no job of ours made."""
    path = project.resolve(reference)
    if (path / "adapter_config.json").is_file():
        raise InputError(
            "an adapter alone does not say which base model it belongs to",
            code="bad_candidate",
            file=path,
            remedy="name it by its job (job:ID) or as artefact:SHA, or merge it first",
        )
    entry = ModelEntry(name=re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.") or "model", path=str(path))
    check_model_files(entry)
    return CandidateSpec(name=entry.name, form="base", model=entry)
