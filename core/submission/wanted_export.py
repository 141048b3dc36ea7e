"""What is asked for when an export is asked for, on the command line or in the console's dialog."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from core.config.model import BaseWeights, WeightFormat
from core.jobfile.convert import GgufFormat
from core.jobfile.quantize import Quantization
from core.jobfile.references import parse_reference

FORMATS: dict[WeightFormat, GgufFormat] = {"bf16": "bf16", "fp16": "f16", "fp32": "f32"}


@dataclass(frozen=True)
class WantedMerge:
    """An adapter (`job:ID` or its folder) merged into its base; `dtype` and `base_weights` are those of `MergeSpec`."""

    source: str
    dtype: WeightFormat = "bf16"
    base_weights: BaseWeights = "original"

    @property
    def command(self) -> str:
        """The command that asks for the same."""
        return _command(self.source, ["--dtype", self.dtype, *_base_option(self.base_weights)])


@dataclass(frozen=True)
class WantedGguf:
    """A GGUF file. `source` is `job:ID`, a model's name, `artefact:SHA` or a path.

    `dtype` is what an adapter is merged and a model converted in; with `directly` the converter itself writes Q8_0.
    `quantization` is what the file becomes afterwards, None leaves it as it was converted. `base_weights` is what an adapter is
    merged into.
    """

    source: str
    dtype: WeightFormat = "bf16"
    quantization: Quantization | None = None
    directly: bool = False
    base_weights: BaseWeights = "original"

    @property
    def format(self) -> GgufFormat:
        """What the conversion writes."""
        return "q8_0" if self.directly else FORMATS[self.dtype]

    @property
    def command(self) -> str:
        """The command that asks for the same."""
        words = ["--to", "gguf"]
        words += ["--quantize", self.quantization] if self.quantization else []
        dtype = "q8_0" if self.directly else self.dtype
        words += ["--dtype", dtype] if dtype != "bf16" else []
        return _command(self.source, [*words, *_base_option(self.base_weights)])


def _command(source: str, options: Sequence[str]) -> str:
    job = parse_reference(source)
    return " ".join(map(shlex.quote, ["bakehouse", "export", str(job.job_id) if job else source, *options]))


def _base_option(base_weights: BaseWeights) -> list[str]:
    return [] if base_weights == "original" else ["--base-weights", base_weights]
