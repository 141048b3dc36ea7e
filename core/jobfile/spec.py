"""The job file: everything a job is told. Submission writes it, the job's process reads it, nobody changes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.errors import InputError
from core.files import write_atomic
from core.home import RunDir

# libyaml's loader where PyYAML has it: ten times as fast, and a calibration reads the files of twenty jobs.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputFile(_Model):
    """A file as it was when the job was submitted: a copy in `inputs/<sha256>/` of the home."""

    path: str
    sha256: str
    source: str


class ForecastNote(_Model):
    """The memory that a training was expected to take when it was submitted, in bytes.

    `allocated_bytes` is what torch will have allocated at the peak (on a CPU the process's resident size), `device_bytes`
    what the GPU will show as used; `components` are the estimate's parts, before measured runs corrected their sum.
    `ladder` says what the job will do about a forecast that does not fit.
    """

    allocated_bytes: int
    plus_minus_bytes: int
    device_bytes: int
    components: dict[str, int]
    budget_name: str
    limit_bytes: int
    fits: bool
    calibrated_by: int
    calibration: str = ""
    ladder: str = ""


class FittedKey(_Model):
    """A key of the recipe that was changed at submission so that it fits: by `fit: auto`, or on a CPU by the ladder."""

    key: str
    before: Any
    after: Any


class TrainSpec(_Model):
    """Train a LoRA adapter. `golden` is for the leak gate: a JSON list of golden inputs with their text filled in.

    `recipe` is what will run; `fitted` says how it differs from the one that was asked for. Without a `forecast`,
    `not_predicted` says why there is none.
    """

    kind: Literal["train"] = "train"
    task: Task
    model: ModelEntry
    recipe: Recipe
    train: InputFile
    golden: InputFile | None = None
    forecast: ForecastNote | None = None
    not_predicted: str | None = None
    fitted: list[FittedKey] = []


class MergeSpec(_Model):
    """Merge an adapter (`job:12`, or the path of an adapter folder) into its base model."""

    kind: Literal["merge"] = "merge"
    adapter: str
    model: ModelEntry
    dtype: Literal["bf16", "fp32"] = "bf16"


class CandidateSpec(_Model):
    """A model under test. `name` is what is shown; a base model is its entry, the others have a `ref` or a `path`."""

    name: str
    form: Literal["base", "adapter", "merged"]
    model: ModelEntry
    ref: str | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> CandidateSpec:
        if self.form != "base" and self.ref is None and self.path is None:
            raise ValueError(f"a candidate of form {self.form} needs a ref (job:12/{self.form}) or a path")
        return self


class BakeoffSpec(_Model):
    """Answer the golden inputs with each candidate and score the answers.

    `batch_size` is the number of answers that are generated together; None lets the job choose by the memory there is.
    """

    kind: Literal["bakeoff"] = "bakeoff"
    task: Task
    golden: InputFile
    candidates: list[CandidateSpec] = Field(min_length=1)
    incumbent: str | None = None
    repeats: int = Field(ge=1)
    seed: int = 0
    batch_size: int | None = Field(default=None, ge=1)
    pattern_timeout_seconds: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _names_differ(self) -> BakeoffSpec:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError(f"the names of candidates must differ, got {', '.join(names)}")
        if self.incumbent is not None and self.incumbent not in names:
            raise ValueError(f"the incumbent {self.incumbent} is not among the candidates {', '.join(names)}")
        return self


class PullSpec(_Model):
    """Fetch a base model, so that it is on the disk."""

    kind: Literal["pull"] = "pull"
    model: ModelEntry


Spec = Annotated[TrainSpec | MergeSpec | BakeoffSpec | PullSpec, Field(discriminator="kind")]


class JobFile(_Model):
    """`job.yaml` of a run directory. Paths are absolute; `submitted_at` is in Unix seconds."""

    schema_version: Literal[1] = 1
    id: int
    title: str
    project_id: str
    project_root: str
    home: str
    artefacts: str
    python: str
    author: str
    submitted_at: float
    on_restart: Literal["requeue", "hold"] = "requeue"
    lane: Literal["gpu", "cpu"]
    host_memory_bytes: int = Field(ge=0)
    needs: list[int] = []
    spec: Spec

    @property
    def kind(self) -> str:
        return self.spec.kind

    def save(self, run_dir: RunDir) -> None:
        """Write `job.yaml`, whole or not at all."""
        document: dict[str, Any] = self.model_dump(mode="json")
        text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)
        write_atomic(run_dir.job_file, text)

    @classmethod
    def load(cls, run_dir: RunDir) -> JobFile:
        """The job file of a run directory; InputError when it is absent or was not written by this version."""
        path = run_dir.job_file
        try:
            document = yaml.load(path.read_bytes(), Loader=_LOADER)
        except FileNotFoundError:
            raise InputError("this run directory has no job file", code="no_job_file", file=path) from None
        except yaml.YAMLError as error:
            raise InputError(f"the job file is no YAML: {error}", code="bad_job_file", file=path) from error
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise InputError(first["msg"], code="bad_job_file", file=path, key=key or None) from error
