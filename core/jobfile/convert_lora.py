"""What the conversion of an adapter is told: a LoRA, the model that it belongs to, and the GGUF file that it is served on."""

from __future__ import annotations

from typing import Any, Literal

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.home import Home
from core.jobfile.convert import CONVERTING
from core.jobfile.references import needed_jobs
from core.jobfile.spec import WORKING_BYTES, Columns, Spec


class ConvertLoraSpec(Spec):
    """Convert an adapter (`job:12`, or the path of an adapter folder) to a GGUF file in F16, for llama-server's `--lora`.

    `model` is the adapter's base, whose configuration says how its layers are called in GGUF. `base_gguf` (`job:9/gguf`) is the
    file of that base that the adapter is put on when it answers, of the format `base_format`: the conversion does without.
    `converter` is llama.cpp's script, as it was found at submission.
    """

    kind: Literal["convert_lora"] = "convert_lora"
    adapter: OwnPath
    model: ModelEntry
    base_gguf: OwnPath
    base_format: str = "Q8_0"
    converter: OwnPath
    task: str | None = None

    @property
    def title(self) -> str:
        return f"GGUF LoRA · {self.task or self.adapter} · {self.model.name}"

    @property
    def candidate_name(self) -> str:
        """What the adapter on its base is called in a comparison."""
        return f"{self.model.name} tuned, LoRA on {self.base_format}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task, model=self.model.name, source=self.adapter)

    @property
    def settings(self) -> dict[str, Any]:
        return {"base": self.model.name, "adapter": self.adapter}

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return (self.model,)

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(self.adapter)

    @property
    def packages(self) -> tuple[str, ...]:
        return CONVERTING

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """Of the base its configuration alone is read."""
        return WORKING_BYTES
