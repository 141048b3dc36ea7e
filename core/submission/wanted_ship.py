"""What is asked for when a chain from a training to a proved GGUF file is, on the command line or in the console."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.config.model import BaseWeights, WeightFormat
from core.jobfile.deploy import Target
from core.jobfile.quantize import Quantization


@dataclass(frozen=True)
class WantedShip:
    """A training of `task`, `model` and `recipe` (names) with `overrides` of recipe keys, or the one that `training` names.

    `dtype` is what the adapter is merged and converted in, `base_weights` what it is merged into, `quantization` what the file
    becomes. With `deploy` it is served then, by whom `to` says (None: Ollama where one answers, else llama-server) and under
    `name` (None: one of its task, model and job), as a served model that starts `at_boot` where that is wanted; without, its
    prompts are proved and it stays a file.
    """

    task: str | None = None
    model: str | None = None
    recipe: str | None = None
    training: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    quantization: Quantization = "Q8_0"
    dtype: WeightFormat = "bf16"
    base_weights: BaseWeights = "original"
    deploy: bool = True
    to: Target | None = None
    name: str | None = None
    at_boot: bool = False
    bakeoff: bool = True

    @property
    def command(self) -> str:
        """The command that asks for the same."""
        words = ["bakehouse", "ship"]
        if self.training is not None:
            words += ["--from", str(self.training)]
        else:
            words += [self.task or "", "--model", self.model or "", "--recipe", self.recipe or ""]
        for key, value in self.overrides.items():
            words += ["--set", f"{key}={value}"]
        words += [] if self.quantization == "Q8_0" else ["--quantize", self.quantization]
        words += [] if self.dtype == "bf16" else ["--dtype", self.dtype]
        words += [] if self.base_weights == "original" else ["--base-weights", self.base_weights]
        words += [] if self.deploy else ["--no-deploy"]
        words += ["--to", self.to] if self.deploy and self.to else []
        words += ["--name", self.name] if self.deploy and self.name else []
        words += ["--at-boot"] if self.deploy and self.at_boot else []
        words += [] if self.bakeoff else ["--no-bakeoff"]
        return shlex.join(words)
