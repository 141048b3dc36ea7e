"""Queueing what makes a GGUF file of a model: a merge, a conversion, a quantisation, as far as they are not there already."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import InputError
from core.files import sha256_json
from core.home import Home
from core.jobfile.convert import ConvertSpec, GgufFormat
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import Quantization, QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import JobFile, Spec
from core.models.files import check_model_files, hub_copy
from core.models.gguf import already_quantised, check_servable, require_full_precision
from core.models.llama_cpp import LlamaCpp
from core.own_paths import read_result
from core.store.database import open_database
from core.store.jobs import RETRYABLE, JobRow, get_job
from core.submission.candidates import parse_model
from core.submission.enqueue import ChainWriter, store_chain
from core.submission.merge import earlier_merge, require_trained_weights
from core.submission.served_as import known_training, served_as, to_serve
from core.submission.wanted_export import WantedGguf, WantedMerge

SpecMaker = Callable[[str], Spec]
"""Makes what a job is told of what the job before it makes: `job:7/merged`."""


@dataclass(frozen=True)
class GgufExport:
    """`queued` are the jobs that were put into the queue, each waiting for the one before; `last` makes the file.

    Nothing is queued where that was made, or is being made: `path` is the file once it is there.
    """

    queued: tuple[JobRow, ...]
    last: JobRow
    path: Path | None = None

    @property
    def words(self) -> str:
        """`already made as job 9: /…/small-Q8_0.gguf`, or that the job is still in the queue; empty for a new one."""
        if self.queued:
            return ""
        if self.path is not None:
            return f"already made as job {self.last.id}: {self.path}"
        return f"job {self.last.id} already makes this file: {self.last.state}"


@dataclass(frozen=True)
class _Chain:
    """A model on its way: `at` is what the next step takes (a reference or a path), None a base model that is only named.

    `made` is the job whose result that is, where it is there or in the queue already, `taken` are all such jobs of the way;
    `makers` are the jobs to queue.
    """

    at: str | None
    model: ModelEntry | None
    task: str | None = None
    tuned: bool = False
    made: int | None = None
    makers: tuple[SpecMaker, ...] = ()
    taken: tuple[int, ...] = ()

    def then(self, maker: SpecMaker) -> _Chain:
        return replace(self, makers=(*self.makers, maker), made=None)

    def found(self, job_id: int, makes: str) -> _Chain:
        return replace(self, at=f"job:{job_id}/{makes}", made=job_id, taken=(*self.taken, job_id))

    def write(self, writer: ChainWriter, served: ServedAs) -> None:
        """Put what is to be made into the queue."""
        at = self.at or ""
        for maker in self.makers:
            at = writer.add(to_serve(maker(at), served))

    @property
    def ahead(self) -> list[Spec]:
        """The jobs to queue, before their references are known."""
        return [maker("job:0/none" if number else self.at or "") for number, maker in enumerate(self.makers)]


def submit_gguf(home: Home, project: Project, wanted: WantedGguf, *, again: bool = False, author: str) -> GgufExport:
    """Queue what is missing between a model and the GGUF file that is wanted of it; with `again` all of it is made anew.

    Raises `InputError` where the source is no model, where a tool of llama.cpp is missing, where there is nothing to do, or
    where the template that the model's entry names cannot be had.
    """
    with contextlib.closing(open_database(home)) as connection:
        chain = _chain(home, connection, project, wanted, again=again)
        if not chain.makers:
            assert chain.made is not None  # a source that is a file has refused to be made into itself
            return _earlier(home, connection, chain.made)
    served = served_as(project, chain.task, chain.model, known_training(home, chain.at))
    queued = store_chain(
        home, project, lambda writer: chain.write(writer, served), ahead=chain.ahead, author=author
    ).queued
    return GgufExport(queued, queued[-1])


def write_gguf(writer: ChainWriter, wanted: WantedGguf, served: ServedAs) -> None:
    """Make the way to a GGUF file the next links of a chain: what was made already is taken. Raises as `submit_gguf`."""
    chain = _chain(writer.place.home, writer.connection, writer.place.project, wanted, again=False)
    for job_id in chain.taken:
        writer.take(job_id)
    chain.write(writer, served)


def gguf_ahead(home: Home, connection: sqlite3.Connection, project: Project, wanted: WantedGguf) -> list[Spec]:
    """What `write_gguf` would queue now, before the references are known. Raises as `submit_gguf`."""
    return _chain(home, connection, project, wanted, again=False).ahead


def earlier_export(
    home: Home, connection: sqlite3.Connection, project: Project, wanted: WantedGguf
) -> GgufExport | None:
    """The file that is wanted, where a job has made it or is to; None where something has to be queued. Raises as the other."""
    chain = _chain(home, connection, project, wanted, again=False)
    return None if chain.makers or chain.made is None else _earlier(home, connection, chain.made)


def _chain(home: Home, connection: sqlite3.Connection, project: Project, wanted: WantedGguf, *, again: bool) -> _Chain:
    """From the source over all steps; what was made already stands in the place of the step that would make it."""
    tools = partial(LlamaCpp.find, project.settings.llama_cpp.folder)
    chain, form = _begin(home, connection, project, wanted.source)
    if form == "adapter":
        model = chain.model
        assert chain.at is not None and model is not None  # an adapter is somewhere and has a base
        require_trained_weights(home, wanted)
        merge = WantedMerge(chain.at, wanted.dtype, wanted.base_weights)
        earlier = None if again else earlier_merge(home, connection, merge)
        if earlier is not None:
            chain = chain.found(earlier.job.id, "merged")
        else:
            chain = chain.then(partial(_merge, model=model, wanted=merge, task=chain.task))
        chain = replace(chain, tuned=True)
    if form != "gguf":
        chain = _converted(home, connection, chain, wanted, tools, again=again)
    elif wanted.quantization is None:
        raise InputError(
            "this is a GGUF file already",
            code="already_gguf",
            file=wanted.source,
            remedy="name what it is to become, e.g. `--quantize Q8_0`",
        )
    return _quantised(home, connection, chain, wanted, tools, again=again) if wanted.quantization else chain


def _begin(home: Home, connection: sqlite3.Connection, project: Project, source: str) -> tuple[_Chain, str]:
    """What is named, and whether that is an adapter, a model (`base`, `merged`) or a GGUF file."""
    if _is_gguf_path(source):
        path = project.resolve(source)
        if not path.is_file():
            raise InputError("no such GGUF file", code="no_model", file=path)
        require_full_precision(check_servable(path, path.name), path)
        return _Chain(str(path), None), "gguf"
    found = parse_model(home, connection, project, source)
    if found.form == "served":
        raise InputError("a served model has no files here", code="no_model", key=source, remedy="name its model")
    if found.lora is not None:
        raise InputError(
            "this is an adapter on a GGUF file, of which no other file is made",
            code="already_gguf",
            key=source,
            remedy="name the training, whose adapter is merged first",
        )
    job = parse_reference(found.ref)
    if job is None:  # a base model, or a folder of somebody else
        at = found.path if found.form == "adapter" else None
        return _Chain(at, found.model), found.form
    row = get_job(connection, job.job_id)
    # As merges name an adapter, so that earlier ones are found.
    at = f"job:{job.job_id}" if found.form == "adapter" else found.ref
    spec = JobFile.load(home.run_dir(job.job_id)).spec
    if isinstance(spec, QuantizeSpec) or (isinstance(spec, ConvertSpec) and spec.format == "q8_0"):
        raise already_quantised(f"job:{job.job_id}")
    model = spec.model if isinstance(spec, ConvertSpec | QuantizeSpec) else found.model
    tuned = (
        spec.tuned if isinstance(spec, QuantizeSpec) else not isinstance(spec, ConvertSpec) or spec.source is not None
    )
    return _Chain(at, model, row.task, tuned), found.form


def _converted(
    home: Home,
    connection: sqlite3.Connection,
    chain: _Chain,
    wanted: WantedGguf,
    tools: Callable[[], LlamaCpp],
    *,
    again: bool,
) -> _Chain:
    assert chain.model is not None  # whatever is converted has a base
    if not chain.makers and not again:
        earlier = _earlier_conversion(home, connection, chain.at, chain.model, wanted.format)
        if earlier is not None:
            return chain.found(earlier, "gguf")
    converter = str(tools().require("converter"))
    base = chain.at is None
    if base:
        check_model_files(home, chain.model)
    return chain.then(
        partial(_convert, base=base, model=chain.model, format=wanted.format, converter=converter, task=chain.task)
    )


def _quantised(
    home: Home,
    connection: sqlite3.Connection,
    chain: _Chain,
    wanted: WantedGguf,
    tools: Callable[[], LlamaCpp],
    *,
    again: bool,
) -> _Chain:
    assert wanted.quantization is not None  # who calls has looked
    if not chain.makers and not again and chain.at is not None and parse_reference(chain.at) is not None:
        for job_id, spec in _jobs_of(home, connection, "quantize", chain.at):
            if isinstance(spec, QuantizeSpec) and spec.quantization == wanted.quantization:
                return chain.found(job_id, "gguf")
    program = str(tools().require("llama-quantize"))
    quantization, model, task, tuned = wanted.quantization, chain.model, chain.task, chain.tuned
    return chain.then(
        partial(_quantize, quantization=quantization, program=program, model=model, task=task, tuned=tuned)
    )


def _merge(at: str, *, model: ModelEntry, wanted: WantedMerge, task: str | None) -> Spec:
    return MergeSpec(adapter=at, model=model, dtype=wanted.dtype, base_weights=wanted.base_weights, task=task)


def _convert(at: str, *, base: bool, model: ModelEntry, format: GgufFormat, converter: str, task: str | None) -> Spec:
    return ConvertSpec(model=model, source=None if base else at, format=format, converter=converter, task=task)


def _quantize(
    at: str, *, quantization: Quantization, program: str, model: ModelEntry | None, task: str | None, tuned: bool
) -> Spec:
    return QuantizeSpec(source=at, quantization=quantization, program=program, model=model, task=task, tuned=tuned)


def _earlier_conversion(
    home: Home, connection: sqlite3.Connection, source: str | None, model: ModelEntry, format: GgufFormat
) -> int | None:
    """The newest conversion of the same model to this format. A folder may hold another model by now: it is not looked for."""
    if (source is None and model.path is not None) or (source is not None and parse_reference(source) is None):
        return None
    for job_id, spec in _jobs_of(home, connection, "convert", source):
        if not isinstance(spec, ConvertSpec) or spec.format != format:
            continue
        if source is not None or is_same_base(home, job_id, spec.model, model):
            return job_id
    return None


def is_same_base(home: Home, job_id: int, before: ModelEntry, now: ModelEntry) -> bool:
    """Whether a base model is what it was when it was converted: of the same source and chat template, and of the
    same commit."""
    if (before.hub, before.wheel, before.template_text) != (now.hub, now.wheel, now.template_text):
        return False
    result = read_result(home.run_dir(job_id))
    if result is None or now.wheel is not None:
        return (
            True  # the hash of a wheel's file stands in its entry; what is still to run takes the commit that is there
        )
    copy = hub_copy(home, now)
    fingerprint = None if copy is None else sha256_json([copy.hub, copy.commit])
    return any(item.get("lineage", {}).get("base_fingerprint") == fingerprint for item in result.get("artefacts", []))


def _jobs_of(home: Home, connection: sqlite3.Connection, kind: str, source: str | None) -> list[tuple[int, Spec]]:
    """Jobs of a kind that take this source, the newest first: done with their files still there, or still to end."""
    rows = connection.execute(
        "SELECT id FROM jobs WHERE kind = ? AND source IS ? ORDER BY id DESC", [kind, source]
    ).fetchall()
    found = []
    for job in (get_job(connection, row["id"]) for row in rows):
        if job.state in RETRYABLE or (job.state == "done" and made_file(home, job.id) is None):
            continue
        with contextlib.suppress(InputError):
            found.append((job.id, JobFile.load(home.run_dir(job.id)).spec))
    return found


def made_file(home: Home, job_id: int) -> Path | None:
    """The GGUF file that a job has made, where it is still there."""
    for item in (read_result(home.run_dir(job_id)) or {}).get("artefacts", []):
        files = sorted(Path(item["path"]).glob("*.gguf")) if item.get("kind") == "gguf" else []
        if files:
            return files[0]
    return None


def _earlier(home: Home, connection: sqlite3.Connection, job_id: int) -> GgufExport:
    job = get_job(connection, job_id)
    return GgufExport((), job, made_file(home, job_id) if job.state == "done" else None)


def _is_gguf_path(source: str) -> bool:
    return source.endswith(".gguf") and parse_reference(source) is None
