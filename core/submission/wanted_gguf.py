"""What is asked for when a GGUF file is asked for, on the command line or in the console's dialog."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from core.config.model import WeightFormat
from core.jobfile.convert import GgufFormat
from core.jobfile.quantize import Quantization
from core.jobfile.references import parse_reference

FORMATS: dict[WeightFormat, GgufFormat] = {"bf16": "bf16", "fp16": "f16", "fp32": "f32"}


@dataclass(frozen=True)
class WantedGguf:
    """What is asked for. `source` is `job:ID`, a model's name, `artefact:SHA` or a path.

    `dtype` is what an adapter is merged and a model converted in; with `directly` the converter itself writes Q8_0.
    `quantization` is what the file becomes afterwards, None leaves it as it was converted.
    """

    source: str
    dtype: WeightFormat = "bf16"
    quantization: Quantization | None = None
    directly: bool = False

    @property
    def format(self) -> GgufFormat:
        """What the conversion writes."""
        return "q8_0" if self.directly else FORMATS[self.dtype]

    @property
    def command(self) -> str:
        """The command that asks for the same."""
        job = parse_reference(self.source)
        words = ["bakehouse", "export", str(job.job_id) if job else self.source, "--to", "gguf"]
        words += ["--quantize", self.quantization] if self.quantization else []
        dtype = "q8_0" if self.directly else self.dtype
        words += ["--dtype", dtype] if dtype != "bf16" else []
        return " ".join(map(shlex.quote, words))
