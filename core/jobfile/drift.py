"""What a check for drift is told: a version of an alias, a task that it does, and how it answered that task before."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config.model import ModelEntry
from core.home import Home
from core.jobfile.bakeoff import ASKING_BYTES, CandidateSpec, TaskUnderTest
from core.jobfile.gpu_use import GpuUse
from core.jobfile.spec import WORKING_BYTES, Columns, FrozenModel, InputFile, Spec

NotChecked = Literal["no_lineage", "no_model_files", "no_render"]
"""Why the prompts are not compared: no record says which tokenizer trained, its files are not here, or the server shows no
prompts."""


class CheckedVersion(FrozenModel):
    """The version of an alias that is checked: by its row's id and its number, and what it was when it became the alias. None:
    unknown.

    `digest` is Ollama's of the manifest, else that of the served file; `weights`, `template` and `server_version` as
    `ServedIdentity` has them.
    """

    alias_id: int
    version_id: int
    number: int
    digest: str | None = None
    weights: str | None = None
    template: str | None = None
    server_version: str | None = None


class StoredVerdict(FrozenModel):
    """The scores that the version's place rests on: those of `candidate` in a bake-off, by part and input, in [0, 1]."""

    bakeoff: int
    candidate: str
    scores: dict[str, dict[str, float]]


class DriftSpec(Spec):
    """See whether what serves under an alias still answers a task as it did.

    `asked` is the alias, in the way in which the verdict's candidate was asked; `under_test` the task and its golden inputs as
    they were then. `model` is the base model whose tokenizer and template trained; without one `not_checked` says why the
    prompts are not compared. `baseline` is the `smoke.json` of job `baseline_job`, None where there is none yet. `full`: all
    golden inputs are asked, whatever the smoke set says. `due` are the codes of why it is checked, `observed` names what was
    seen of the server then (`core.aliases.drift_due`): by that it is not asked for twice.
    """

    kind: Literal["drift"] = "drift"
    version: CheckedVersion
    asked: CandidateSpec
    under_test: TaskUnderTest
    seed: int = 0
    model: ModelEntry | None = None
    not_checked: NotChecked | None = None
    baseline: InputFile | None = None
    baseline_job: int | None = None
    verdict: StoredVerdict | None = None
    full: bool = False
    due: list[str] = Field(default_factory=list)
    observed: str = ""
    pattern_timeout_seconds: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _is_whole(self) -> DriftSpec:
        if self.asked.form != "served":
            raise ValueError("a check for drift asks a served model")
        if (self.model is None) == (self.not_checked is None):
            raise ValueError("a check for drift needs the model that was trained, or why the prompts are not compared")
        return self

    @property
    def title(self) -> str:
        return f"drift {self.under_test.name} · {self.asked.name}"

    @property
    def columns(self) -> Columns:
        model = None if self.model is None else self.model.name
        return Columns(task=self.under_test.name, model=model, source=self.asked.name)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "alias": self.asked.name,
            "version": self.version.number,
            "version_id": self.version.version_id,
            "observed": self.observed,
            "full": self.full,
        }

    @property
    def packages(self) -> tuple[str, ...]:
        return () if self.model is None else ("transformers",)

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return () if self.model is None else (self.model,)

    @property
    def gpu_use(self) -> GpuUse:
        """A server of this machine has its model on the GPU; nothing is loaded by the job."""
        server, model = self.asked.server, self.asked.served_model
        assert server is not None and model is not None  # the candidate was validated
        return server.gpu_use(model)

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return ASKING_BYTES if self.model is None else WORKING_BYTES
