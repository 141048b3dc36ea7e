"""What a person names as a candidate: `NAME`, `job:ID[/adapter|merged]`, `artefact:SHA` or a path of a model."""

from __future__ import annotations

import sqlite3
from typing import Literal, get_args

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import InputError, NotFoundError
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.kinds import kind_of
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.models.adapters import base_entry, check_adapter, model_name
from core.models.files import check_model_files
from core.models.folder import ADAPTER_CONFIG, adapter_base
from core.store.jobs import RETRYABLE, get_job
from core.store.results import list_artefacts

Form = Literal["adapter", "merged"]
"""The artefacts that a bake-off can load."""
FORMS: tuple[Form, ...] = get_args(Form)


def parse_candidates(
    home: Home, connection: sqlite3.Connection, project: Project, references: list[str]
) -> list[CandidateSpec]:
    """The candidates that references name, under names that differ.

    Raises `InputError` for a reference of no known form, `NotFoundError` for a job, model or artefact that is not there.
    """
    found = [parse_candidate(home, connection, project, reference) for reference in references]
    names = [candidate.name for candidate in found]
    specs = []
    for candidate, reference in zip(found, references, strict=True):
        name = candidate.name
        if names.count(name) > 1:
            made_by = parse_reference(candidate.ref)
            name = f"{name} ({f'job {made_by.job_id}' if made_by else reference})"
        specs.append(candidate.model_copy(update={"name": name}))
    if len({spec.name for spec in specs}) < len(specs):
        raise InputError("a candidate is named twice", code="doubled_candidate", key="candidates")
    return specs


def parse_candidate(home: Home, connection: sqlite3.Connection, project: Project, reference: str) -> CandidateSpec:
    """One candidate. What a job makes, or will make, is named by that job."""
    if job := parse_reference(reference):
        return of_job(home, connection, job.job_id, job.makes, reference)
    if reference.startswith("artefact:"):
        return of_artefact(home, connection, reference)
    if "/" in reference or reference.startswith((".", "~")):
        return of_path(home, project, reference)
    if ":" in reference:
        raise InputError(
            f"`{reference}` is not a candidate",
            code="bad_candidate",
            remedy="name a model of models.yaml, job:ID, artefact:SHA or the path of a model",
        )
    entry = project.model(reference)
    check_model_files(home, entry)
    return CandidateSpec(name=f"{entry.name} base", form="base", model=entry)


def of_job(home: Home, connection: sqlite3.Connection, job_id: int, form: str | None, reference: str) -> CandidateSpec:
    """What a job makes or will make, if that is a model."""
    job = get_job(connection, job_id)
    if job.state in RETRYABLE:
        raise InputError(
            f"job {job_id} {job.state} and made nothing to compare",
            code="no_candidate",
            key=reference,
            remedy=f"`bakehouse queue retry {job_id}` first",
        )
    kind = kind_of(job.kind)
    made = [one for one in FORMS if one in kind.makes]
    if not made:
        raise InputError(f"job {job_id} is {kind.noun}, which makes no model", code="no_candidate", key=reference)
    makes = next((one for one in made if one == form), None if form else made[0])
    if makes is None:
        raise InputError(f"job {job_id} makes no `{form}`, but `{made[0]}`", code="no_candidate", key=reference)
    model = JobFile.load(home.run_dir(job_id)).spec.models[0]
    name = f"{model.name} tuned" + (", merged" if makes == "merged" else "")
    return CandidateSpec(name=name, form=makes, model=model, ref=f"job:{job_id}/{makes}")


def of_artefact(home: Home, connection: sqlite3.Connection, reference: str) -> CandidateSpec:
    """An artefact by the beginning of its hash."""
    wanted = reference.partition(":")[2]
    rows = [row for row in list_artefacts(connection, home) if wanted and row.sha256.startswith(wanted)]
    if len({row.sha256 for row in rows}) > 1:
        raise InputError(
            f"{len(rows)} artefacts have a hash that begins with {wanted}",
            code="ambiguous",
            key=reference,
            remedy="give more of the hash",
        )
    if not rows or rows[0].kind not in FORMS:
        raise NotFoundError(f"no adapter or merged model `{wanted}`", code="artefact_not_found")
    return of_job(home, connection, rows[0].job_id, rows[0].kind, reference)


def of_path(home: Home, project: Project, reference: str) -> CandidateSpec:
    """A model folder, GGUF file or adapter folder that no job of ours made. An adapter's base is the one that it names."""
    path = project.resolve(reference)
    name = model_name(path if path.is_dir() else path.with_suffix(""))
    if (path / ADAPTER_CONFIG).is_file():
        check_adapter(path)
        entry = base_entry(adapter_base(path), path, project.models())
        check_model_files(home, entry)
        return CandidateSpec(name=name, form="adapter", model=entry, path=str(path))
    entry = ModelEntry(name=name, path=str(path))
    check_model_files(home, entry)
    return CandidateSpec(name=entry.name, form="base", model=entry)
