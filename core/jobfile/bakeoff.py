"""What a bake-off is told: a task, its golden inputs, and the models under test."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.config.task import Task
from core.files import sha256_json
from core.jobfile.references import needed_jobs, parse_reference
from core.jobfile.spec import Columns, FrozenModel, InputFile, Spec


class CandidateSpec(FrozenModel):
    """A model under test. `name` is what is shown; a base model is its entry, the others have a `ref` or a `path`."""

    name: str
    form: Literal["base", "adapter", "merged"]
    model: ModelEntry
    ref: str | None = None
    path: OwnPath | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> CandidateSpec:
        if self.form != "base" and self.ref is None and self.path is None:
            raise ValueError(f"a candidate of form {self.form} needs a ref (job:12/{self.form}) or a path")
        return self


def made_by(reference: str | None) -> str | None:
    """`job:12` of `job:12/adapter`, with the form where it is not the adapter; None of no reference."""
    found = parse_reference(reference)
    if found is None:
        return None
    return f"job:{found.job_id}" + ("" if found.makes in {None, "adapter"} else f" {found.makes}")


class BakeoffSpec(Spec):
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

    @property
    def title(self) -> str:
        count = len(self.candidates)
        return f"bake-off {self.task.name}, {f'{count} models' if count > 1 else self.candidates[0].name}"

    @property
    def columns(self) -> Columns:
        """`model` is the base that all candidates share; None when there are several."""
        bases = {model.name for model in self.models}
        return Columns(task=self.task.name, model=bases.pop() if len(bases) == 1 else None)

    @property
    def settings(self) -> dict[str, Any]:
        checks = self.task.model_dump(mode="json", include={"format", "content", "margin"})
        return {
            "candidates": [made_by(candidate.ref) or candidate.name for candidate in self.candidates],
            "repeats": self.repeats,
            "seed": self.seed,
            "golden_sha256": self.golden.sha256,
            "checks_sha256": sha256_json(checks),
            "system_sha256": sha256_json(self.task.system),
        }

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return tuple(candidate.model for candidate in self.candidates)

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(*(candidate.ref for candidate in self.candidates))
