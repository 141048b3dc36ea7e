"""What a merge is told: an adapter and the base model that it belongs to."""

from __future__ import annotations

from typing import Any, Literal

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.jobfile.references import needed_jobs
from core.jobfile.spec import Columns, Spec


class MergeSpec(Spec):
    """Merge an adapter (`job:12`, or the path of an adapter folder) into its base model.

    `task` is the name of the one that the adapter was trained for, where that is known.
    """

    kind: Literal["merge"] = "merge"
    adapter: OwnPath
    model: ModelEntry
    dtype: Literal["bf16", "fp32"] = "bf16"
    task: str | None = None

    @property
    def title(self) -> str:
        return f"merge {self.task or self.adapter} · {self.model.name}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task, model=self.model.name, source=self.adapter)

    @property
    def settings(self) -> dict[str, Any]:
        return {"base": self.model.name, "adapter": self.adapter, "dtype": self.dtype}

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return (self.model,)

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(self.adapter)
