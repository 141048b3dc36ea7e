"""What a bake-off is told: tasks with their golden inputs, and the candidates that answer all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.config.task import Sampling, Task
from core.files import sha256_json
from core.home import Home
from core.jobfile.gpu_use import GpuUse
from core.jobfile.references import needed_jobs, parse_reference
from core.jobfile.spec import GENERATING, WORKING_BYTES, Columns, FrozenModel, InputFile, Spec
from core.models.gguf_memory import ServerMemory

Form = Literal["base", "adapter", "merged", "gguf", "served"]
ServerApi = Literal["ollama", "openai"]

IN_PROCESS: frozenset[Form] = frozenset({"base", "adapter", "merged"})
"""The forms that the job loads itself. A llama-server of the job answers for a `gguf`, a running server for `served`."""
ASKING_BYTES = 500_000_000
"""Host memory of a job that asks servers alone: it imports no torch."""


class ServerUnderTest(FrozenModel):
    """A server that answers for a candidate. `key_variable` names the environment variable that holds its key.

    `is_local`: its models share this machine's GPU. `served_dir` is the folder of the home's served model that it is: where
    that one is and which weights it has is read there. `silence_seconds` is how long nothing may come of an answer,
    `answer_seconds` how long one may take in all. `omit` are options that the server refuses and that are not sent.
    """

    name: str
    api: ServerApi
    url: str
    key_variable: str | None = None
    is_local: bool = True
    served_dir: OwnPath | None = None
    silence_seconds: float = Field(default=300.0, gt=0)
    answer_seconds: float = Field(default=3600.0, gt=0)
    omit: tuple[str, ...] = ()

    def gpu_use(self, model: str) -> GpuUse:
        """What a job does with the GPU that asks this server for one model and loads nothing itself."""
        if not self.is_local:
            return GpuUse("none", loads_models=False)
        is_ollama = self.api == "ollama"
        # What a served model of the home holds is known; another server may be any program.
        others = not is_ollama and self.served_dir is None
        return GpuUse("serving", {self.url: (model,)} if is_ollama else {}, others, loads_models=False)


class OutputFormat(FrozenModel):
    """What an answer is held to while it is generated: any JSON, a JSON schema, or a GBNF grammar (`text` of the file)."""

    kind: Literal["json", "schema", "grammar"]
    text: str = ""
    file: str | None = None


class Variant(FrozenModel):
    """How a candidate is asked, where that differs from its task. `written` is what a person wrote, `think=on@few_shot=3`.

    `few_shot` is how many of the task's examples stand before the input as turns of the conversation. `sampling` holds the
    fields of the task's sampling that are replaced.
    """

    written: str = ""
    think: Literal["off", "on"] | None = None
    few_shot: int = Field(default=0, ge=0)
    system: str | None = None
    system_file: str | None = None
    output: OutputFormat | None = None
    sampling: dict[str, float | int] = Field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether the candidate is asked just as the task says."""
        return not self.written

    def applied(self, sampling: Sampling) -> Sampling:
        """A task's sampling with what this variant replaces."""
        return Sampling.model_validate({**sampling.model_dump(), **self.sampling})


StageKind = Literal["base", "adapter", "merged", "gguf", "lora"]


class Stage(FrozenModel):
    """Which step on the way from an adapter to what serves a candidate is.

    `format` is what the weights of a GGUF file are in (`F16`, `Q8_0`); of a `lora`, those of the base that it is loaded on.
    """

    kind: StageKind
    format: str | None = None


class CandidateSpec(FrozenModel):
    """A model and how it is asked. `name` is what is shown, the variant included.

    A base model is its entry, what a job makes has a `ref`, a file a `path`; a served model has a `server` and the name that
    the server knows it by. `lora` is the adapter as a GGUF file (`job:12/lora`) that its llama-server puts on a `gguf`. `stage`
    is set where the candidates of a bake-off are the stages of one adapter.
    """

    name: str
    form: Form
    model: ModelEntry | None = None
    ref: str | None = None
    path: OwnPath | None = None
    server: ServerUnderTest | None = None
    served_model: str | None = None
    lora: str | None = None
    stage: Stage | None = None
    variant: Variant = Variant()

    @model_validator(mode="after")
    def _has_a_place(self) -> CandidateSpec:
        if self.form == "served":
            if self.server is None or self.served_model is None:
                raise ValueError("a served candidate needs a server and the name of its model there")
            return self
        if self.form in {"adapter", "merged", "gguf"} and self.ref is None and self.path is None:
            raise ValueError(f"a candidate of form {self.form} needs a ref (job:12/{self.form}) or a path")
        if self.lora is not None and self.form != "gguf":
            raise ValueError("an adapter as a GGUF file needs a GGUF file that it is put on")
        if self.form in IN_PROCESS and self.model is None:
            raise ValueError(f"a candidate of form {self.form} needs the entry of its model")
        return self

    @property
    def made_ref(self) -> str | None:
        """The reference of what a job made for this candidate alone: the adapter, where one is put on a GGUF file."""
        return self.lora or self.ref


def made_by(reference: str | None) -> str | None:
    """`job:12` of `job:12/adapter`, with the form where it is not the adapter; None of no reference."""
    found = parse_reference(reference)
    if found is None:
        return None
    return f"job:{found.job_id}" + ("" if found.makes in {None, "adapter"} else f" {found.makes}")


class ExampleTurn(FrozenModel):
    """A message of an example that stands before the input."""

    role: Literal["user", "assistant"]
    content: str


class TaskUnderTest(FrozenModel):
    """A task, a copy of its golden inputs, and how often each is asked.

    `examples` are conversations of its training data for candidates that are asked with examples; none is a golden input.
    """

    task: Task
    golden: InputFile
    repeats: int = Field(ge=1)
    examples: list[list[ExampleTurn]] = Field(default_factory=list)

    @property
    def name(self) -> str:
        return self.task.name


class BakeoffSpec(Spec):
    """Answer the golden inputs of each task with each candidate and score the answers.

    `batch_size` is the number of answers that the job generates together; None lets it choose by the memory there is.
    `concurrency` is how many answers a server is asked for at a time. With `curtail`, a candidate that can't reach the
    incumbent any more is not asked on. `extends` is the bake-off whose answers (a copy of them: `earlier`) are taken over
    where the same is asked of the same model. `llama_server` is the program that answers for GGUF files, as it was found at
    submission, and `server_memory` what it is expected to take for each of them, by the name of its model; of a model that is
    not among them nothing is predicted. `stops` are served models of the home that were deployed to be measured here: they end
    once they are, so that those of one night need no room together, and a promotion serves from their record. `judges` are the
    served models that checks of the tasks are asked of, each named as its checks name it; they are asked last. Verdicts in
    `earlier_verdicts` (of any bake-off of the home) are not asked for again; nor is what the bake-offs `takes_over` were told,
    which have ended when this one starts. With `lacking_left_out` it starts once what makes its candidates has ended, however,
    and leaves out those that are not there.
    """

    kind: Literal["bakeoff"] = "bakeoff"
    tasks: list[TaskUnderTest] = Field(min_length=1)
    candidates: list[CandidateSpec] = Field(min_length=1)
    incumbent: str | None = None
    seed: int = 0
    batch_size: int | None = Field(default=None, ge=1)
    concurrency: int = Field(default=1, ge=1)
    curtail: bool = False
    extends: int | None = None
    earlier: InputFile | None = None
    llama_server: OwnPath | None = None
    server_memory: dict[str, ServerMemory] = Field(default_factory=dict)
    pattern_timeout_seconds: float = Field(default=1.0, gt=0)
    stops: tuple[str, ...] = ()
    judges: list[CandidateSpec] = Field(default_factory=list)
    earlier_verdicts: InputFile | None = None
    takes_over: list[int] = Field(default_factory=list)
    lacking_left_out: bool = False

    @model_validator(mode="before")
    @classmethod
    def _one_task_of_an_older_version(cls, value: Any) -> Any:
        """A job file of before several tasks were possible names its one task directly."""
        if isinstance(value, dict) and "task" in value and "tasks" not in value:
            rest = {key: item for key, item in value.items() if key not in {"task", "golden", "repeats"}}
            return {**rest, "tasks": [{key: value[key] for key in ("task", "golden", "repeats") if key in value}]}
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> BakeoffSpec:
        for what, names in (
            ("candidates", [candidate.name for candidate in self.candidates]),
            ("tasks", [task.name for task in self.tasks]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"the names of {what} must differ, got {', '.join(names)}")
        names = [candidate.name for candidate in self.candidates]
        if self.incumbent is not None and self.incumbent not in names:
            raise ValueError(f"the incumbent {self.incumbent} is not among the candidates {', '.join(names)}")
        return self

    @property
    def against(self) -> str:
        """The candidate that the others are compared with."""
        return self.incumbent or default_incumbent(self.forms)

    @property
    def forms(self) -> dict[str, str]:
        """The form of each candidate by its name, in their order."""
        return {candidate.name: candidate.form for candidate in self.candidates}

    @property
    def stages(self) -> dict[str, Stage]:
        """The stage of each candidate that is one, by its name, in their order."""
        return {one.name: one.stage for one in self.candidates if one.stage is not None}

    @property
    def title(self) -> str:
        candidates, tasks = len(self.candidates), len(self.tasks)
        what = self.tasks[0].name if tasks == 1 else f"{tasks} tasks"
        if self.stages:
            return f"bake-off {what}, {len(self.stages)} stages"
        return f"bake-off {what}, {f'{candidates} candidates' if candidates > 1 else self.candidates[0].name}"

    @property
    def columns(self) -> Columns:
        """`task` is None where there are several; `model` is the base that all candidates share, else None."""
        bases = {
            candidate.model.name if candidate.model else candidate.served_model or candidate.name.partition(" @")[0]
            for candidate in self.candidates
        }
        task = self.tasks[0].name if len(self.tasks) == 1 else None
        return Columns(task=task, model=bases.pop() if len(bases) == 1 else None)

    @property
    def settings(self) -> dict[str, Any]:
        checks = [task.task.scored_by() for task in self.tasks]
        repeats = [task.repeats for task in self.tasks]
        return {
            "tasks": [task.name for task in self.tasks],
            "candidates": [_shown(candidate) for candidate in self.candidates],
            "repeats": repeats[0] if len(set(repeats)) == 1 else [str(one) for one in repeats],
            "seed": self.seed,
            "golden_sha256": self.tasks[0].golden.sha256
            if len(self.tasks) == 1
            else sha256_json([task.golden.sha256 for task in self.tasks]),
            "checks_sha256": sha256_json(checks[0] if len(checks) == 1 else checks),
            "system_sha256": sha256_json(
                self.tasks[0].task.system if len(self.tasks) == 1 else [task.task.system for task in self.tasks]
            ),
        }

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        """The base models of what the job loads itself; a GGUF file and a served model bring their own."""
        return tuple(
            candidate.model
            for candidate in self.candidates
            if candidate.model is not None and candidate.form in IN_PROCESS
        )

    @property
    def gpu_use(self) -> GpuUse:
        """Exclusive where the job loads every model itself; beside servers of this machine it makes room for those it loads."""
        return gpu_use_of(self.asked, loads=any(one.form != "served" for one in self.candidates))

    @property
    def asked(self) -> tuple[CandidateSpec, ...]:
        """Every model of a running server that the job asks: served candidates, and judges."""
        return tuple(one for one in (*self.candidates, *self.judges) if one.form == "served")

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """The largest model that is loaded, by the job or by its llama-server: one at a time. What the job itself computes with
        stays beside the servers, once it has loaded a model."""
        servers = max((one.least_host_bytes for one in self.server_memory.values()), default=0)
        if not any(candidate.form in IN_PROCESS for candidate in self.candidates):
            return ASKING_BYTES + servers
        return max(super().host_memory(home, on_gpu), WORKING_BYTES + servers)

    def device_memory(self, on_gpu: bool) -> int | None:
        """Of the largest model that a llama-server loads; nothing is predicted of those that the job loads itself."""
        largest = max((one.least_bytes for one in self.server_memory.values() if one.on_gpu), default=0)
        return largest if on_gpu and largest else None

    @property
    def packages(self) -> tuple[str, ...]:
        return GENERATING if any(candidate.form in IN_PROCESS for candidate in self.candidates) else ()

    @property
    def needs(self) -> tuple[int, ...]:
        return () if self.lacking_left_out else self._makers

    @property
    def needs_ended(self) -> tuple[int, ...]:
        return tuple(sorted({*self.takes_over, *(self._makers if self.lacking_left_out else ())}))

    @property
    def _makers(self) -> tuple[int, ...]:
        return needed_jobs(*(reference for one in self.candidates for reference in (one.ref, one.lora)))

    @property
    def starts_without_models(self) -> bool:
        return self.lacking_left_out

    def without(self, names: Collection[str]) -> BakeoffSpec:
        """The same without these candidates; the incumbent is the default one where it is among them. Not all may be."""
        if not names:
            return self
        return self.model_copy(
            update={
                "candidates": [one for one in self.candidates if one.name not in names],
                "incumbent": None if self.incumbent in names else self.incumbent,
            }
        )


def gpu_use_of(asked: Sequence[CandidateSpec], *, loads: bool) -> GpuUse:
    """What a job does with the GPU that asks these models of servers, and itself `loads` others."""
    here = [one for one in asked if one.server is not None and one.server.is_local]
    if not here:
        return GpuUse("exclusive") if loads else GpuUse("none", loads_models=False)
    models: dict[str, dict[str, None]] = {}
    beside = False
    for one in here:
        assert one.server is not None and one.served_model is not None  # the candidate was validated
        if one.server.api == "ollama":
            models.setdefault(one.server.url, {})[one.served_model] = None
        # What a served model of the home holds is known; another server may be any program.
        beside |= one.server.api != "ollama" and one.server.served_dir is None
    return GpuUse("serving", {url: tuple(names) for url, names in models.items()}, beside, loads)


def default_incumbent(forms: Mapping[str, str]) -> str:
    """Whom candidates are compared with where nobody said: the first base model, else the first; `forms` by name, not empty."""
    return next((name for name, form in forms.items() if form == "base"), next(iter(forms)))


def _shown(candidate: CandidateSpec) -> str:
    """A candidate in the queue's column of settings: by the job that makes it, and how it is asked."""
    job = made_by(candidate.made_ref)
    if job is None:
        return candidate.name
    return job if candidate.variant.is_plain else f"{job}@{candidate.variant.written}"
