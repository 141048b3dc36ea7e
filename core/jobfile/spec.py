"""The job file: everything a job is told. Submission writes it, the job's process reads it, nobody changes it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from core.config.base import OwnPath, reading, writing
from core.config.model import ModelEntry
from core.errors import InputError
from core.files import write_atomic
from core.home import Home, RunDir
from core.jobfile.gpu_use import EXCLUSIVE, GpuUse
from core.jobfile.kinds import KINDS, spec_class
from core.jobfile.raw import read_document
from core.jobfile.shared_texts import SharedTexts
from core.models.files import parameter_count

# Host memory beside the weights, in bytes: Python, torch, its libraries and the GPU's runtime, and the working set. A bake-off
# on a CPU took 3 GB in all.
WORKING_BYTES = 3_000_000_000

GENERATING = ("torch", "transformers", "peft", "safetensors", "gguf")
"""The packages of a job that loads a model and runs it forwards."""


class FrozenModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputFile(FrozenModel):
    """A file as it was when the job was submitted: a copy in `inputs/<sha256>/` of the home."""

    path: OwnPath
    sha256: str
    source: str


@dataclass(frozen=True)
class Columns:
    """What the queue's table says of a job beside its kind, so that nobody has to read a title.

    `task` and `model` are names; `source` is what the job takes: a reference to another job's artefact, or where a pull
    fetches from.
    """

    task: str | None = None
    model: str | None = None
    source: str | None = None


class Spec(FrozenModel):
    """What one job is told, and what follows from that. Each kind has a subclass with a `kind` of its own."""

    kind: str

    @property
    @abstractmethod
    def title(self) -> str:
        """A line for people to know the job by; nothing reads it."""

    @property
    def columns(self) -> Columns:
        return Columns()

    @property
    def settings(self) -> dict[str, Any]:
        """What two jobs of this kind can differ in, by name: numbers, texts, lists of texts. The queue's table keeps them."""
        return {}

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        """The base models that must be on the disk before the job starts."""
        return ()

    @property
    def needs(self) -> tuple[int, ...]:
        """The jobs that must be done before this one starts."""
        return ()

    @property
    def needs_ended(self) -> tuple[int, ...]:
        """The jobs that must have ended before this one starts, whatever their end."""
        return ()

    @property
    def starts_without_models(self) -> bool:
        """Whether the job starts as well where one of its `models` could not be fetched, and does without that one."""
        return False

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that the job's interpreter must have; where there are none, it is not looked at."""
        return GENERATING

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """What the job may take of the machine's memory, in bytes: the largest model and a working set.

        On a GPU the whole model is counted in bf16, on a CPU in fp32.
        """
        weight_bytes = 2 if on_gpu else 4
        return max((weight_bytes * parameter_count(home, model) for model in self.models), default=0) + WORKING_BYTES

    @property
    def gpu_use(self) -> GpuUse:
        """What the job does with the GPU; looked at only where its kind's lane is the GPU's."""
        return EXCLUSIVE

    def device_memory(self, on_gpu: bool) -> int | None:
        """What the GPU is expected to hold for the job at most, in bytes; None where nothing is predicted."""
        return None


def read_spec(value: object, info: ValidationInfo) -> object:
    """Have the class that the registry names for a `kind` read the rest. Its errors keep their keys."""
    if isinstance(value, Spec):
        return value
    name = value.get("kind") if isinstance(value, dict) else None
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise PydanticCustomError("unknown_kind", "no job kind {name} is known here", {"name": repr(name)})
    return spec_class(kind).model_validate(value, context=info.context)


class JobFile(FrozenModel):
    """`job.yaml` of a run directory; `submitted_at` is in Unix seconds.

    Paths are absolute. In the file those below the home are named by their place in it (`core.own_paths`), and the home itself
    is not: it is where the run directory lies.
    """

    schema_version: Literal[1] = 1
    id: int
    title: str
    project_id: str
    project_root: OwnPath
    home: str
    artefacts: OwnPath
    python: OwnPath
    author: str
    submitted_at: float
    on_restart: Literal["requeue", "hold"] = "requeue"
    lane: Literal["gpu", "cpu"]
    host_memory_bytes: int = Field(ge=0)
    needs: list[int] = []
    needs_ended: list[int] = []
    gpu_use: GpuUse = EXCLUSIVE
    spec: Annotated[SerializeAsAny[Spec], BeforeValidator(read_spec)]

    @property
    def kind(self) -> str:
        return self.spec.kind

    def save(self, run_dir: RunDir, texts: SharedTexts | None = None, *, durable: bool = True) -> None:
        """Write `job.yaml`, whole or not at all. `texts` has what other files of the same submission have in common with it;
        without `durable` the caller sees that the disk has it."""
        known = texts or SharedTexts(writing(Home(Path(self.home))))
        write_atomic(run_dir.job_file, known.of(self, leave_out={"home"}), durable=durable)

    @classmethod
    def load(cls, run_dir: RunDir) -> JobFile:
        """The job file of a run directory; InputError when it is absent or was not written by this version."""
        document = read_document(run_dir)
        former = None
        if isinstance(document, dict):
            former, document = document.get("home"), document | {"home": str(run_dir.home.root)}
        try:
            return cls.model_validate(document, context=reading(run_dir.home, former))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            path = run_dir.job_file
            raise InputError(first["msg"], code="bad_job_file", file=path, key=key or None) from error
