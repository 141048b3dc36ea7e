"""What a person names as a candidate: a model, and behind it how it is asked (`variants`).

`NAME`, `job:ID[/adapter|merged|gguf|lora]`, `artefact:SHA`, `served:NAME`, `SERVER:MODEL`, or the path of a model.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, get_args

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.validation import nearest
from core.errors import InputError, NotFoundError
from core.files import sha256_json
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.convert_lora import ConvertLoraSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.kinds import kind_of
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.servers import known_servers, served_model_of
from core.jobfile.spec import JobFile
from core.models.adapters import base_entry, check_adapter, model_name
from core.models.files import check_model_files
from core.models.folder import ADAPTER_CONFIG, adapter_base
from core.models.llama_cpp import LlamaCpp
from core.store.jobs import RETRYABLE, get_job
from core.store.results import list_artefacts
from core.submission.server_candidates import server_candidate
from core.submission.variants import KEYS, read_variant, split_path, split_reference

Form = Literal["adapter", "merged", "gguf", "lora"]
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


def with_own_names(
    found: Sequence[CandidateSpec], references: Sequence[str], taken: Collection[str] = ()
) -> list[CandidateSpec]:
    """The same under names that differ, also from those that are taken: alike ones are told apart by the job that makes them,
    else by their reference, and where these are alike too by a number.

    Raises `InputError` for a candidate that is named twice, however it is spelt.
    """
    names = [*(candidate.name for candidate in found), *taken]
    used = dict.fromkeys(taken)
    specs: list[CandidateSpec] = []
    first: dict[str, str] = {}
    for candidate, reference in zip(found, references, strict=True):
        same = apart_from_name(candidate)
        if same in first:
            raise _named_twice(first[same], reference)
        first[same] = reference
        name = candidate.name
        if names.count(name) > 1:
            made_by = parse_reference(candidate.made_ref)
            plain = reference if candidate.variant.is_plain else split_reference(reference)[0]
            told = f"job {made_by.job_id}" if made_by else plain.strip()
            name = named(f"{_model_of(candidate)} ({told})", candidate.variant.written)
        number = 1
        while name in used:  # the file of a variant has another text than before, say
            number += 1
            name = named(f"{_model_of(candidate)} ({number})", candidate.variant.written)
        used[name] = None
        specs.append(candidate.model_copy(update={"name": name}))
    return specs


def _named_twice(one: str, other: str) -> InputError:
    said = f"`{one}` is named twice" if one == other else f"`{one}` and `{other}` are the same candidate"
    return InputError(said, code="doubled_candidate", key="candidates", remedy="leave one of them out")


def _model_of(candidate: CandidateSpec) -> str:
    """The name without the variant."""
    return (
        candidate.name.removesuffix(f" @{candidate.variant.written}") if candidate.variant.written else candidate.name
    )


def apart_from_name(candidate: CandidateSpec) -> str:
    """A hash of who answers and how that one is asked: alike for a candidate under two names."""
    return sha256_json(
        [who_answers(candidate), candidate.variant.model_dump(mode="json", exclude={"written", "system_file"})]
    )


def named(model: str, written: str) -> str:
    """`qwen3:4b @think=on`."""
    return f"{model} @{written}" if written else model


def parse_candidate(home: Home, connection: sqlite3.Connection, project: Project, reference: str) -> CandidateSpec:
    """One candidate. What a job makes, or will make, is named by that job."""
    model, written = split_reference(reference)
    if is_path(reference):
        model, written = split_path(reference, lambda path: project.resolve(path).exists())
    if not is_path(model):
        model = model.strip()
    if not model:
        raise InputError(
            f"no model is named before `@{written}`" if written else "an empty name is no candidate",
            code="bad_candidate",
            remedy="name a model of models.yaml, job:ID, artefact:SHA, served:NAME, SERVER:MODEL or the path of a model",
        )
    variant = read_variant(written, project)
    if is_path(model):
        model = _made_here(home, connection, project.resolve(model)) or model
    spec = parse_model(home, connection, project, model)
    return spec.model_copy(update={"name": named(spec.name, variant.written), "variant": variant})


def _made_here(home: Home, connection: sqlite3.Connection, path: Path) -> str | None:
    """`job:12/adapter` for the path of what that job made: such a candidate has one name, and its training is known."""
    places = (
        {os.path.realpath(path), os.path.realpath(path.parent)} if path.suffix == ".gguf" else {os.path.realpath(path)}
    )
    made = (row for row in list_artefacts(connection, home) if row.kind in FORMS)
    return next((f"job:{row.job_id}/{row.kind}" for row in made if os.path.realpath(row.path) in places), None)


def who_answers(candidate: CandidateSpec) -> list[object]:
    """What answers for a candidate, however it is named and asked. Two paths that lead to one place are one."""
    server, model = candidate.server, candidate.model
    if server is not None:
        return ["served", server.api, server.served_dir or server.url, candidate.served_model]
    source = (
        None
        if model is None
        else [model.hub, _place(model.path), model.wheel and model.wheel.sha256, model.template_text]
    )
    lora = [] if candidate.lora is None else [candidate.lora]
    return [candidate.form, candidate.ref, _place(candidate.path), source, *lora]


def _place(path: str | None) -> str | None:
    return None if path is None else os.path.realpath(path)


def is_path(reference: str) -> bool:
    return "/" in reference or reference.startswith((".", "~")) or reference.endswith(".gguf")


def parse_model(home: Home, connection: sqlite3.Connection, project: Project, reference: str) -> CandidateSpec:
    """What answers, asked as its task says."""
    if job := parse_reference(reference):
        return of_job(home, connection, job.job_id, job.makes, reference)
    kind, colon, _ = reference.partition(":")
    if kind == "job" and colon:
        raise InputError(
            f"`{reference}` names no job",
            code="bad_candidate",
            remedy=f"write job:ID, or job:ID/{', /'.join(FORMS)} for one of what it makes; the queue shows the numbers",
        )
    if kind == "artefact" and colon:
        return of_artefact(home, connection, reference)
    # A model of a server may have slashes in its name, so servers go before paths.
    if (of_a_server := server_candidate(home, project, reference)) is not None:
        return of_a_server
    if is_path(reference):
        return of_path(home, project, reference)
    if colon:
        raise _no_candidate(project, reference)
    try:
        entry = project.model(reference)
    except NotFoundError as error:
        if reference in project.task_names():
            error.remedy = f"`{reference}` is a task: it stands before the candidates, or in `--tasks {reference}`"
        elif (key := reference.rpartition("@")[2]) in KEYS and key != reference:
            error.remedy = f"a variant has a value: `@{key}=…`"
        raise
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
        remedy=f"did you mean `{meant}`? Name a model of models.yaml, job:ID, artefact:SHA, served:NAME, SERVER:MODEL "
        f"({', '.join(servers)}) or the path of a model",
    )


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
    if kind.name == "deploy" and form in (None, "served"):
        return _deployed(home, job_id)
    made = [one for one in FORMS if one in kind.makes]
    if not made:
        raise InputError(f"job {job_id} is {kind.noun}, which makes no model", code="no_candidate", key=reference)
    makes = next((one for one in made if one == form), None if form else made[0])
    if makes is None:
        raise InputError(f"job {job_id} makes no `{form}`, but `{made[0]}`", code="no_candidate", key=reference)
    if job.is_censored:
        raise left_out(job_id, reference)
    if job.state == "done" and job.result is not None:
        _require_made(home, connection, job_id, makes, reference)
    ref, spec = f"job:{job_id}/{makes}", JobFile.load(home.run_dir(job_id)).spec
    if isinstance(spec, ConvertLoraSpec):
        base = spec.base_gguf if is_path(spec.base_gguf) and parse_reference(spec.base_gguf) is None else None
        on = {"path": base} if base else {"ref": spec.base_gguf}
        return CandidateSpec(name=spec.candidate_name, form="gguf", lora=ref, **on)
    assert makes != "lora"  # that job alone makes one
    if isinstance(spec, ConvertSpec | QuantizeSpec):
        return CandidateSpec(name=spec.candidate_name, form=makes, ref=ref)
    model = spec.models[0]
    name = spec.candidate_name if isinstance(spec, MergeSpec) else f"{model.name} tuned"
    return CandidateSpec(name=name, form=makes, model=model, ref=ref)


def left_out(job_id: int, reference: str) -> InputError:
    """Why nothing of this job can be named: its experiment's trials left it out, which no retry changes."""
    return InputError(
        f"job {job_id} made nothing: its experiment left it out by its trials",
        code="censored",
        key=reference,
        remedy="train it by itself: `bakehouse train`",
    )


def _deployed(home: Home, job_id: int) -> CandidateSpec:
    """What a deployment has serve, or will have: known as the job's, so that its training is known and it is waited for."""
    spec = JobFile.load(home.run_dir(job_id)).spec
    assert isinstance(spec, DeploySpec)  # its kind says so
    server = spec.server or served_model_of(home, spec.name)
    return CandidateSpec(
        name=spec.name, form="served", server=server, served_model=spec.name, ref=f"job:{job_id}/served"
    )


def _require_made(home: Home, connection: sqlite3.Connection, job_id: int, makes: str, reference: str) -> None:
    """Refuse what a job that is done has not left, or what has been deleted since. Raises `NotFoundError`."""
    made = next((row for row in list_artefacts(connection, home, job_id) if row.kind == makes), None)
    if made is None:
        raise NotFoundError(f"job {job_id} is done and left no {makes}", code="no_artefact", key=reference)
    if not made.path.exists():
        raise NotFoundError(
            f"the {makes} of job {job_id} is gone from {made.path}",
            code="artefact_gone",
            key=reference,
            remedy="run its job again",
        )


def require_files(home: Home, connection: sqlite3.Connection, candidate: CandidateSpec) -> None:
    """Refuse a candidate of an earlier bake-off whose files are not there any more. Raises `InputError`, `NotFoundError`."""
    for reference in (candidate.ref, candidate.lora):
        if (made_by := parse_reference(reference)) is not None:
            of_job(home, connection, made_by.job_id, made_by.makes, candidate.name)
    if candidate.model is not None:
        check_model_files(home, candidate.model)
    if candidate.path is not None and not Path(candidate.path).exists():
        raise NotFoundError(
            "no such model folder or GGUF file", code="no_model", file=candidate.path, key=candidate.name
        )


def of_artefact(home: Home, connection: sqlite3.Connection, reference: str) -> CandidateSpec:
    """An artefact by the beginning of its hash."""
    wanted = reference.partition(":")[2].strip().removeprefix("sha256:").lower()
    if not wanted:
        raise InputError("no hash is named behind the colon", code="bad_candidate", key=reference)
    rows = [row for row in list_artefacts(connection, home) if row.sha256.startswith(wanted)]
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
