"""What a person names as a candidate: a model, and behind it how it is asked (`variants`).

`NAME`, `job:ID[/adapter|merged|gguf]`, `artefact:SHA`, `served:TAG`, `SERVER:MODEL`, or the path of a model.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal, get_args

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.servers import BUILT_IN
from core.config.validation import nearest
from core.errors import InputError, NotFoundError
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.kinds import kind_of
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.servers import known_servers
from core.jobfile.spec import JobFile
from core.models.adapters import base_entry, check_adapter, model_name
from core.models.files import check_model_files
from core.models.folder import ADAPTER_CONFIG, adapter_base
from core.models.llama_cpp import LlamaCpp
from core.store.jobs import RETRYABLE, get_job
from core.store.results import list_artefacts
from core.submission.variants import read_variant, split_reference

Form = Literal["adapter", "merged", "gguf"]
"""The artefacts that a bake-off can ask."""
FORMS: tuple[Form, ...] = get_args(Form)


def parse_candidates(
    home: Home, connection: sqlite3.Connection, project: Project, references: Sequence[str]
) -> list[CandidateSpec]:
    """The candidates that references name, each with its variant in its name, under names that differ.

    Raises `InputError` for a reference of no known form, `NotFoundError` for a job, model, server or artefact that is not
    there.
    """
    found = [parse_candidate(home, connection, project, reference) for reference in references]
    return with_own_names(found, references)


def with_own_names(found: Sequence[CandidateSpec], references: Sequence[str]) -> list[CandidateSpec]:
    """The same under names that differ: alike ones are told apart by the job that makes them, else by their reference."""
    names = [candidate.name for candidate in found]
    specs = []
    for candidate, reference in zip(found, references, strict=True):
        name = candidate.name
        if names.count(name) > 1:
            made_by = parse_reference(candidate.ref)
            plain, written = split_reference(reference)
            told = f"job {made_by.job_id}" if made_by else plain
            model = name.removesuffix(f" @{candidate.variant.written}") if written else name
            name = named(f"{model} ({told})", candidate.variant.written)
        specs.append(candidate.model_copy(update={"name": name}))
    if len({spec.name for spec in specs}) < len(specs):
        raise InputError("a candidate is named twice", code="doubled_candidate", key="candidates")
    return specs


def named(model: str, written: str) -> str:
    """`qwen3:4b @think=on`."""
    return f"{model} @{written}" if written else model


def parse_candidate(home: Home, connection: sqlite3.Connection, project: Project, reference: str) -> CandidateSpec:
    """One candidate. What a job makes, or will make, is named by that job."""
    model, written = split_reference(reference)
    if written and is_path(reference) and project.resolve(reference).exists():
        model, written = reference, ""
    variant = read_variant(written, project)
    spec = parse_model(home, connection, project, model)
    return spec.model_copy(update={"name": named(spec.name, variant.written), "variant": variant})


def who_answers(candidate: CandidateSpec) -> list[object]:
    """What answers for a candidate, however it is named and asked."""
    server, model = candidate.server, candidate.model
    if server is not None:
        return ["served", server.api, server.url, candidate.served_model]
    source = None if model is None else [model.hub, model.path, model.wheel and model.wheel.sha256]
    return [candidate.form, candidate.ref, candidate.path, source]


def is_path(reference: str) -> bool:
    return "/" in reference or reference.startswith((".", "~")) or reference.endswith(".gguf")


def parse_model(home: Home, connection: sqlite3.Connection, project: Project, reference: str) -> CandidateSpec:
    """What answers, asked as its task says."""
    if job := parse_reference(reference):
        return of_job(home, connection, job.job_id, job.makes, reference)
    kind, colon, rest = reference.partition(":")
    if kind == "artefact" and colon:
        return of_artefact(home, connection, reference)
    # A model of a server may have slashes in its name, so servers go before paths.
    if colon and (kind == "served" or kind in known_servers(project.settings)):
        return of_server(project, BUILT_IN if kind == "served" else kind, rest, reference)
    if is_path(reference):
        return of_path(home, project, reference)
    if colon:
        raise _no_candidate(project, reference)
    entry = project.model(reference)
    check_model_files(home, entry)
    return CandidateSpec(name=f"{entry.name} base", form="base", model=entry)


def _no_candidate(project: Project, reference: str) -> InputError:
    """A word, a colon and more, and the word is neither a kind of reference nor a server."""
    kind, _, rest = reference.partition(":")
    servers = list(known_servers(project.settings))
    near = nearest(kind, ["job", "artefact", "served", *servers])
    meant = f"{near}:{rest}" if near else f"served:{reference}"  # a tag of Ollama looks just so
    return InputError(
        f"`{reference}` is not a candidate: there is no server `{kind}`",
        code="bad_candidate",
        remedy=f"did you mean `{meant}`? Name a model of models.yaml, job:ID, artefact:SHA, served:TAG, SERVER:MODEL "
        f"({', '.join(servers)}) or the path of a model",
    )


def of_server(project: Project, name: str, model: str, reference: str) -> CandidateSpec:
    """A model of a running server, which nobody has asked yet whether it has it. An Ollama's without a tag is its `latest`."""
    if not model.strip():
        raise InputError("no model is named behind the colon", code="bad_candidate", key=reference)
    server = known_servers(project.settings)[name]
    # As Ollama itself shows it: the same model under one name.
    tag = model.removesuffix(":latest") if server.api == "ollama" else model
    shown = tag if name == BUILT_IN else f"{name}:{tag}"
    return CandidateSpec(name=shown, form="served", server=server, served_model=tag)


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
    ref, spec = f"job:{job_id}/{makes}", JobFile.load(home.run_dir(job_id)).spec
    if isinstance(spec, ConvertSpec | QuantizeSpec):
        return CandidateSpec(name=spec.candidate_name, form=makes, ref=ref)
    model = spec.models[0]
    name = spec.candidate_name if isinstance(spec, MergeSpec) else f"{model.name} tuned"
    return CandidateSpec(name=name, form=makes, model=model, ref=ref)


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
        raise NotFoundError(f"no model that a job made has the hash `{wanted}`", code="artefact_not_found")
    return of_job(home, connection, rows[0].job_id, rows[0].kind, reference)


def of_path(home: Home, project: Project, reference: str) -> CandidateSpec:
    """A model folder, GGUF file or adapter folder that no job of ours made. An adapter's base is the one that it names.

    For a GGUF file a llama-server answers where llama.cpp is found; else the job loads it.
    """
    path = project.resolve(reference)
    name = model_name(path if path.is_dir() else path.with_suffix(""))
    if (path / ADAPTER_CONFIG).is_file():
        check_adapter(path)
        entry = base_entry(adapter_base(path), path, project.models())
        check_model_files(home, entry)
        return CandidateSpec(name=name, form="adapter", model=entry, path=str(path))
    entry = ModelEntry(name=name, path=str(path))
    check_model_files(home, entry)
    if path.suffix == ".gguf" and LlamaCpp.find(project.settings.llama_cpp.folder).server is not None:
        return CandidateSpec(name=entry.name, form="gguf", path=str(path))
    return CandidateSpec(name=entry.name, form="base", model=entry)
