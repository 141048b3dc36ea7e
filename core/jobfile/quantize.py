"""What a quantisation is told: a GGUF file of full precision, and what its weights become."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, Literal

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.home import Home
from core.jobfile.references import needed_jobs
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import Columns, Spec

Quantization = Literal[
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q5_K_S",
    "Q5_1",
    "Q5_0",
    "Q4_K_M",
    "Q4_K_S",
    "Q4_1",
    "Q4_0",
    "IQ4_NL",
    "IQ4_XS",
    "Q3_K_L",
    "Q3_K_M",
    "Q3_K_S",
    "Q2_K",
]
"""llama.cpp's names, the largest first. Those that need an importance matrix are not among them."""

BITS: dict[Quantization, float] = {
    "Q8_0": 8.5,
    "Q6_K": 6.57,
    "Q5_K_M": 5.68,
    "Q5_K_S": 5.52,
    "Q5_1": 6.0,
    "Q5_0": 5.5,
    "Q4_K_M": 4.84,
    "Q4_K_S": 4.58,
    "Q4_1": 5.0,
    "Q4_0": 4.55,
    "IQ4_NL": 4.5,
    "IQ4_XS": 4.25,
    "Q3_K_L": 4.27,
    "Q3_K_M": 3.91,
    "Q3_K_S": 3.5,
    "Q2_K": 2.96,
}
"""About how many bits a weight takes (llama.cpp's README of `quantize`, measured on Llama models)."""

HOST_BYTES = 3_000_000_000
"""The tool maps its input and holds one tensor in fp32, some hundred million values at most."""


class QuantizeSpec(Spec):
    """Quantise `source`, a GGUF file of 16 or 32 bits: `job:12/gguf` or a path.

    `model` is the base model where that is known, `tuned` whether an adapter was merged into it. `program` is `llama-quantize`
    as it was found at submission. `served` is for the Modelfile beside the file.
    """

    kind: Literal["quantize"] = "quantize"
    source: OwnPath
    quantization: Quantization = "Q8_0"
    program: OwnPath
    model: ModelEntry | None = None
    task: str | None = None
    tuned: bool = False
    served: ServedAs = ServedAs()

    @property
    def title(self) -> str:
        of_whom = [self.task, self.model.name if self.model else self.source]
        return f"GGUF {self.quantization} · {' · '.join(part for part in of_whom if part)}"

    @property
    def candidate_name(self) -> str:
        """What the file is called in a comparison."""
        if self.model is None:
            return f"{PurePath(self.source).stem} {self.quantization}"
        return f"{self.model.name} {'tuned' if self.tuned else 'base'}, {self.quantization}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task, model=self.model.name if self.model else None, source=self.source)

    @property
    def settings(self) -> dict[str, Any]:
        base = {"base": self.model.name} if self.model else {}
        return {**base, "quantization": self.quantization}

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(self.source)

    @property
    def packages(self) -> tuple[str, ...]:
        """None: the program needs no Python."""
        return ()

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return HOST_BYTES
