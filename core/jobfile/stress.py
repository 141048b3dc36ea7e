"""What a stress test of the GPU is told: for how long to train."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core.home import Home
from core.jobfile.spec import WORKING_BYTES, Spec
from core.jobfile.train import TRAINING

DEFAULT_MINUTES = 5.0
LEAST_MINUTES, MOST_MINUTES = 0.05, 24 * 60.0
# 135 M parameters with random weights, what a step keeps, and the context of the GPU's runtime.
DEVICE_BYTES = 3_000_000_000


class StressSpec(Spec):
    """Train a small model with random weights in several layouts, again and again, and see whether the GPU faults."""

    kind: Literal["stress"] = "stress"
    minutes: float = Field(default=DEFAULT_MINUTES, ge=LEAST_MINUTES, le=MOST_MINUTES)

    @property
    def title(self) -> str:
        return f"stress test, {self.minutes:g} min"

    @property
    def settings(self) -> dict[str, Any]:
        return {"minutes": self.minutes}

    @property
    def packages(self) -> tuple[str, ...]:
        return TRAINING

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return WORKING_BYTES

    def device_memory(self, on_gpu: bool) -> int | None:
        return DEVICE_BYTES if on_gpu else None
