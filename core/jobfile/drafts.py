"""What a set of drafts is told: inputs without expectations, and the candidates whose answers to them a person will mark.

A kind of its own, so that nothing that looks for bake-offs ever finds one: drafts have no expectations, so no board, no
verdict, and no part in what is proved of a model.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config.model import ModelEntry
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.gpu_use import GpuUse
from core.jobfile.spec import Columns, Spec


class DraftsSpec(Spec):
    """Answer the draft inputs of one task with each candidate.

    `asked` is how: as a bake-off would, with the drafts as its golden inputs. `source` is the file or folder that they come
    from, `left_out` how many of its inputs were not taken, by reason (`core.marking.draft_inputs`). `seed` shuffles what is
    offered for marking, and the sides.
    """

    kind: Literal["drafts"] = "drafts"
    purpose: Literal["drafts"] = "drafts"
    asked: BakeoffSpec
    source: str = ""
    left_out: dict[str, int] = Field(default_factory=dict)
    seed: int = 0

    @model_validator(mode="after")
    def _is_one_task(self) -> DraftsSpec:
        if len(self.asked.tasks) != 1 or len(self.asked.candidates) < 2:
            raise ValueError("drafts are of one task, and of two candidates or more")
        return self

    @property
    def title(self) -> str:
        return f"drafts {self.asked.tasks[0].name}, {len(self.asked.candidates)} candidates"

    @property
    def columns(self) -> Columns:
        return Columns(self.asked.tasks[0].name, self.asked.columns.model, self.source or None)

    @property
    def settings(self) -> dict[str, Any]:
        told = self.asked.settings
        return {"purpose": self.purpose, "inputs_sha256": told["golden_sha256"], "candidates": told["candidates"]}

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return self.asked.models

    @property
    def needs(self) -> tuple[int, ...]:
        return self.asked.needs

    @property
    def needs_ended(self) -> tuple[int, ...]:
        return self.asked.needs_ended

    @property
    def packages(self) -> tuple[str, ...]:
        return self.asked.packages

    @property
    def gpu_use(self) -> GpuUse:
        return self.asked.gpu_use

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return self.asked.host_memory(home, on_gpu)

    def device_memory(self, on_gpu: bool) -> int | None:
        return self.asked.device_memory(on_gpu)
