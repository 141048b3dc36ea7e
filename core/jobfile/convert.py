"""What a conversion is told: a model in transformers' layout, and the GGUF file to make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.home import Home
from core.jobfile.merge import survival_words
from core.jobfile.references import needed_jobs
from core.jobfile.served_as import ServedAs
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
    `served` is for the Modelfile beside the file.
    """

    kind: Literal["convert"] = "convert"
    model: ModelEntry
    source: OwnPath | None = None
    format: GgufFormat = "bf16"
    converter: OwnPath
    task: str | None = None
    served: ServedAs = ServedAs()

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


def check_words(checked: Mapping[str, Any]) -> list[str]:
    """What is known of the tensors of a GGUF file that a job made, in words: `proof`, `survival` and `survival_unknown` of its
    summary, as far as they are there."""
    proof, survival, why = (checked.get(key) for key in ("proof", "survival", "survival_unknown"))
    words = [proof_words(proof)] if proof else []
    if survival:
        words.append(survival_words(survival))
    elif why:
        words.append(f"how much of the update survives is unknown: {why}")
    return words


def proof_words(proof: Mapping[str, Any]) -> str:
    """`its 272 tensors are those of the merged model, 210 differ from the base's`, or what of that is not known."""
    same, near, unknown = proof["same"], proof["near"], proof["unknown"]
    everything = same + near + unknown
    count = f"its {everything}" if not unknown else f"{same + near} of {everything}"
    words = f"{count} tensors are those of {proof['of']}"
    if near:
        words += f", {near} of them as close to them as their type allows"
    if unknown:
        words += f", {unknown} cannot be compared"
    if "changed" in proof:
        words += f", {proof['changed']} differ from the base's"
        if proof["swallowed"]:
            words += f", {proof['swallowed']} do not since the type is too coarse for their update"
    elif proof.get("base_unknown"):
        words += f", whether they differ from the base's is unknown: {proof['base_unknown']}"
    return words
