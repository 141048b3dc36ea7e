"""What a conversion is told: a model in transformers' layout, and the GGUF file to make of it."""

from __future__ import annotations

from typing import Any, Literal

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.home import Home
from core.jobfile.references import needed_jobs
from core.jobfile.spec import WORKING_BYTES, Columns, Spec
from core.models.files import shard_bytes

GgufFormat = Literal["bf16", "f16", "f32", "q8_0"]
"""What a converted file's matrices are in. `q8_0` is the same as another of these quantised to Q8_0 afterwards."""

BITS: dict[GgufFormat, float] = {"bf16": 16, "f16": 16, "f32": 32, "q8_0": 8.5}
"""Bits a weight, with the scales of its block."""

CONVERTING = ("torch", "transformers", "safetensors", "gguf", "sentencepiece")
"""The packages that llama.cpp's converter imports, whatever the model; its own copy of `gguf` goes before ours."""


class ConvertSpec(Spec):
    """Convert a base model, or `source`: what a merge makes (`job:12/merged`) or a folder like it.

    `model` is the base model, also of a merged one. `converter` is llama.cpp's script, as it was found at submission.
    """

    kind: Literal["convert"] = "convert"
    model: ModelEntry
    source: OwnPath | None = None
    format: GgufFormat = "bf16"
    converter: OwnPath
    task: str | None = None

    @property
    def title(self) -> str:
        what = self.task or (self.source if self.source and self.source.startswith("job:") else None)
        return f"GGUF {self.format} · {f'{what} · ' if what else ''}{self.model.name}"

    @property
    def candidate_name(self) -> str:
        """What the file is called in a comparison."""
        return f"{self.model.name} {'base' if self.source is None else 'tuned'}, {self.format}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task, model=self.model.name, source=self.source)

    @property
    def settings(self) -> dict[str, Any]:
        return {"base": self.model.name, "format": self.format}

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return (self.model,) if self.source is None else ()

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(self.source)

    @property
    def packages(self) -> tuple[str, ...]:
        return CONVERTING

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """The converter reads tensor by tensor; a base model that is a GGUF file is de-quantised as a whole."""
        return shard_bytes(home, self.model) + WORKING_BYTES
