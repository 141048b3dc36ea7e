"""Queueing the stages of an adapter: what is missing between it and what serves, and one bake-off over all of them.

    base ── adapter ──▶ merged ──▶ GGUF F16 ──▶ Q8_0, smaller ones
      └──▶ GGUF Q8_0 of the base ◀── the adapter as a GGUF LoRA

What jobs have made, or are to make, is taken; what a job made of files that have gone since, or did not make, is made anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import InputError, NotFoundError
from core.format import listed
from core.home import Home
from core.jobfile.bakeoff import Stage
from core.jobfile.convert import ConvertSpec
from core.jobfile.convert_lora import ConvertLoraSpec
from core.jobfile.kinds import kind_of
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import BITS, Quantization, QuantizeSpec
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import JobFile, Spec
from core.jobfile.train import TrainSpec
from core.models.files import check_model_files
from core.models.llama_cpp import LlamaCpp
from core.own_paths import read_result
from core.runner.client import ensure_runner
from core.store.database import open_database, transaction
from core.store.jobs import RETRYABLE, JobRow, get_job
from core.submission.bakeoff import check_bakeoff
from core.submission.candidates import of_job
from core.submission.enqueue import Place, insert_behind_pulls, interpreter, require_runnable
from core.submission.few_shot import asked_as_trained
from core.submission.gguf import is_same_base
from core.submission.served_as import served_as, to_serve
from core.submission.wanted_bakeoff import WantedBakeoff
from core.submission.wanted_stages import WantedStages
from core.telemetry.newest import jobs_vendor

SERVED: Quantization = "Q8_0"
"""The format that serves, and in which the adapter's base is where the adapter stays a file of its own."""
FULL = {"f16": "F16", "bf16": "BF16", "f32": "F32"}
"""Formats of a conversion that can be quantised."""
AnySpec = TypeVar("AnySpec", bound=Spec)


@dataclass(frozen=True)
class QueuedStages:
    """`bakeoff` waits for `makers`, the jobs that make what was missing; `taken` is what was there, a sentence each."""

    bakeoff: JobRow
    makers: tuple[JobRow, ...]
    taken: tuple[str, ...]


@dataclass(frozen=True)
class _Made:
    """What a job has made or is to make: `job:7/merged`."""

    ref: str
    spec: Spec


class _Stages:
    """One submission, in the transaction that is open: finds what there is, queues what is missing."""

    def __init__(
        self, place: Place, tools: LlamaCpp, vendor: str | None, training: int, spec: TrainSpec, served: ServedAs
    ) -> None:
        self.place, self.tools, self.vendor, self.training, self.spec = place, tools, vendor, training, spec
        self.served = served
        self.model, self.task = spec.model, spec.task.name
        self.makers: list[int] = []
        self.taken: list[str] = []

    def merged(self) -> str:
        """The newest merge of the adapter, in whatever format and into whichever weights: that is what is to serve."""
        adapter = f"job:{self.training}"
        found = next(self._earlier(MergeSpec, "merge", adapter, lambda one: True), None)
        if found is not None:
            return self._take("merged model", found)
        # F16 of an fp16 merge and of an fp32 one are the same but for rounding once; half of the disk is enough.
        return self._queue(MergeSpec(adapter=adapter, model=self.model, dtype="fp16", task=self.task))

    def converted(self, merged: str) -> tuple[str, str]:
        """(reference, format) of the merged model as a GGUF file of 16 or 32 bits."""
        found = next(self._earlier(ConvertSpec, "convert", merged, lambda one: one.format in FULL), None)
        if found is not None:
            assert isinstance(found.spec, ConvertSpec)  # as it was asked for
            return self._take(f"GGUF {FULL[found.spec.format]}", found), FULL[found.spec.format]
        converter = str(self.tools.require("converter"))
        spec = ConvertSpec(model=self.model, source=merged, format="f16", converter=converter, task=self.task)
        return self._queue(spec), FULL["f16"]

    def quantised(self, converted: str, wanted: Quantization) -> str:
        found = next(
            self._earlier(QuantizeSpec, "quantize", converted, lambda one: one.quantization == wanted),
            None,
        )
        if found is not None:
            return self._take(f"GGUF {wanted}", found)
        program = str(self.tools.require("llama-quantize"))
        spec = QuantizeSpec(
            source=converted, quantization=wanted, program=program, model=self.model, task=self.task, tuned=True
        )
        return self._queue(spec)

    def base_gguf(self) -> str:
        """The base model itself in the format that serves: converted directly, or quantised of a conversion."""
        home = self.place.home

        def of_base(job_id: int, spec: ConvertSpec) -> bool:
            return self.model.path is None and is_same_base(home, job_id, spec.model, self.model)

        for made, job_id in self._numbered(ConvertSpec, "convert", None):
            assert isinstance(made.spec, ConvertSpec)
            if not of_base(job_id, made.spec):
                continue
            if made.spec.format == "q8_0":
                return self._take(f"base as GGUF {SERVED}", made)
            quantised = self._earlier(QuantizeSpec, "quantize", made.ref, lambda one: one.quantization == SERVED)
            if (found := next(quantised, None)) is not None:
                return self._take(f"base as GGUF {SERVED}", found)
        converter = str(self.tools.require("converter"))
        return self._queue(ConvertSpec(model=self.model, format="q8_0", converter=converter))

    def lora(self, base_gguf: str) -> str:
        adapter = f"job:{self.training}"
        found = next(
            self._earlier(ConvertLoraSpec, "convert_lora", adapter, lambda one: one.base_gguf == base_gguf), None
        )
        if found is not None:
            return self._take("adapter as a GGUF LoRA", found)
        spec = ConvertLoraSpec(
            adapter=adapter,
            model=self.model,
            base_gguf=base_gguf,
            base_format=SERVED,
            converter=str(self.tools.require("lora-converter")),
            task=self.task,
        )
        return self._queue(spec)

    def _queue(self, spec: Spec) -> str:
        place, spec = self.place, to_serve(spec, self.served)
        require_runnable(place.home, place.project, spec, self.vendor)
        job_id = insert_behind_pulls(place, spec)
        self.makers.append(job_id)
        return f"job:{job_id}/{kind_of(spec.kind).makes[0]}"

    def _take(self, what: str, made: _Made) -> str:
        self.taken.append(f"{what}: {made.ref} is taken as it is")
        return made.ref

    def _earlier(
        self, of: type[AnySpec], kind: str, source: str | None, fits: Callable[[AnySpec], bool]
    ) -> Iterator[_Made]:
        for made, _ in self._numbered(of, kind, source):
            if isinstance(made.spec, of) and fits(made.spec):
                yield made

    def _numbered(self, of: type[Spec], kind: str, source: str | None) -> Iterator[tuple[_Made, int]]:
        """Jobs of a kind that take this source, the newest first: done with their files still there, or still to end."""
        connection, home = self.place.connection, self.place.home
        rows = connection.execute(
            "SELECT id FROM jobs WHERE kind = ? AND source IS ? ORDER BY id DESC", [kind, source]
        ).fetchall()
        for job in [get_job(connection, row["id"]) for row in rows]:
            if job.state in RETRYABLE or (job.state == "done" and not _is_there(home, job.id)):
                continue
            with contextlib.suppress(InputError):
                spec = JobFile.load(home.run_dir(job.id)).spec
                if isinstance(spec, of):
                    yield _Made(f"job:{job.id}/{kind_of(kind).makes[0]}", spec), job.id


def submit_stages(
    home: Home, project: Project, wanted: WantedStages, *, author: str, remarks: list[str] | None = None
) -> QueuedStages:
    """Queue what is missing and the bake-off over all stages: all of it or nothing.

    What a person should know is added to `remarks`, as `submit_bakeoff` does. Raises `InputError` where the job is no training,
    a tool of llama.cpp is missing, or the template that the model's entry names cannot be had, `NotFoundError`.
    """
    told: list[str] = [] if remarks is None else remarks
    smaller = ordered(wanted.smaller)
    vendor = jobs_vendor(home)
    tools = LlamaCpp.find(project.settings.llama_cpp.folder)
    for tool in ("converter", "llama-quantize", "llama-server"):
        tools.require(tool)
    with contextlib.closing(open_database(home)) as connection:
        training = _training(home, connection, wanted.job)
        check_model_files(home, training.model)
        served = served_as(project, training.task.name, training.model, training)
        python = interpreter(home, project, MergeSpec(adapter=f"job:{wanted.job}", model=training.model), vendor)
        with transaction(connection):
            place = Place(home, project, connection, python, author, on_gpu=vendor is not None)
            stages = _Stages(place, tools, vendor, wanted.job, training, served)
            candidates = _candidates(stages, smaller, tools, told)
            task = wanted.task or training.task.name
            references = asked_as_trained(project, list(candidates), training, task, told)
            bakeoff = WantedBakeoff(
                tasks=(task,),
                candidates=references,
                incumbent=references[0],
                repeats=wanted.repeats,
                concurrency=wanted.concurrency,
                curtail=False,
            )
            spec = check_bakeoff(home, connection, project, bakeoff, told).keep(home, project)
            marked = [
                one.model_copy(update={"stage": stage})
                for one, stage in zip(spec.candidates, candidates.values(), strict=True)
            ]
            spec = spec.model_copy(update={"candidates": marked})
            require_runnable(home, project, spec, vendor)
            job_id = insert_behind_pulls(place, spec)
        makers = tuple(get_job(connection, maker) for maker in stages.makers)
        row = get_job(connection, job_id)
    ensure_runner(home)
    return QueuedStages(row, makers, tuple(stages.taken))


def ordered(smaller: Sequence[Quantization]) -> tuple[Quantization, ...]:
    """Formats from the largest to the smallest, each once. InputError for what is not below the one that serves anyway."""
    large = [one for one in smaller if BITS[one] >= BITS[SERVED]]
    if large:
        raise InputError(
            f"{listed(large)} is not smaller than {SERVED}, which is one of the stages anyway",
            code="not_smaller",
            key="smaller",
            remedy="name a format of fewer bits, such as Q4_K_M",
        )
    return tuple(sorted(dict.fromkeys(smaller), key=lambda one: -BITS[one]))


def _training(home: Home, connection: sqlite3.Connection, job_id: int) -> TrainSpec:
    """What the training was told. Raises `InputError` where the job is another one or made no adapter."""
    spec = JobFile.load(home.run_dir(get_job(connection, job_id).id)).spec
    if not isinstance(spec, TrainSpec):
        kind = kind_of(get_job(connection, job_id).kind)
        raise InputError(
            f"job {job_id} is {kind.noun}: the stages are those of an adapter that a training makes",
            code="no_training",
            key="stages",
            remedy="name the job of the training",
        )
    of_job(home, connection, job_id, "adapter", f"job:{job_id}/adapter")
    return spec


def _candidates(
    stages: _Stages, smaller: Sequence[Quantization], tools: LlamaCpp, remarks: list[str]
) -> dict[str, Stage]:
    """The stages by the reference of their candidate, in the order in which they are made."""
    merged = stages.merged()
    converted, full = stages.converted(merged)
    found = {
        _base_reference(stages.place.project, stages.model): Stage(kind="base"),
        f"job:{stages.training}/adapter": Stage(kind="adapter"),
        merged: Stage(kind="merged"),
        converted: Stage(kind="gguf", format=full),
        stages.quantised(converted, SERVED): Stage(kind="gguf", format=SERVED),
        **{stages.quantised(converted, one): Stage(kind="gguf", format=one) for one in smaller},
    }
    if stages.spec.recipe.dora:
        remarks.append("the adapter on a GGUF base is left out: llama.cpp does not know the magnitudes of a DoRA")
    elif tools.lora_converter is None:
        remarks.append("the adapter on a GGUF base is left out: convert_lora_to_gguf.py of llama.cpp was not found")
    else:
        found[stages.lora(stages.base_gguf())] = Stage(kind="lora", format=SERVED)
    return found


def _base_reference(project: Project, model: ModelEntry) -> str:
    """How the base model is named; one that the project does not know any more is the folder or the file that it was."""
    try:
        return project.model(model.name).name
    except NotFoundError:
        if model.path is None:
            raise
        return model.path


def _is_there(home: Home, job_id: int) -> bool:
    """Whether what a job made is still in its place."""
    made = (read_result(home.run_dir(job_id)) or {}).get("artefacts", [])
    return bool(made) and all(Path(item["path"]).is_dir() for item in made)
