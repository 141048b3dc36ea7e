"""In which dtype a job computes on a CPU, where its recipe leaves that open (`dtype: auto`).

With AVX512-BF16 or AMX a CPU multiplies bf16 several times as fast as fp32, without them several times slower, and a library
can use the instructions or not: so a moment of the job's own work is measured. What was decided stays in the run directory:
an attempt that resumes in another dtype would end with other numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.config.model import ModelEntry
from core.files import read_json, write_json
from jobs.context import JobContext

if TYPE_CHECKING:
    import torch

CpuDtype = Literal["fp32", "bf16"]
FILE = "dtype.json"
SCHEMA = 1

SECONDS = 0.4
LEAST_TRIES = 2
WORTH = 1.5
"""How many times faster bf16 has to be: fp32 rounds less, so a small gain is none."""
MOST_HIDDEN, MOST_FFN = 1024, 4096
"""Larger layers are measured at this size: the ratio is the same, and takes no seconds on a slow machine."""
TRAINING_ROWS, GENERATING_ROWS = 256, 16
"""Tokens that go through a layer at once: a short example's, and those of a batch of answers."""


@dataclass(frozen=True)
class CpuSpeed:
    """The seconds that one product `rows × hidden × ffn` takes in each dtype, the best of some tries."""

    rows: int
    hidden: int
    ffn: int
    fp32_seconds: float
    bf16_seconds: float

    @property
    def faster(self) -> CpuDtype:
        """bf16 where it is faster by enough, else fp32."""
        return "bf16" if self.fp32_seconds >= WORTH * self.bf16_seconds else "fp32"

    @property
    def words(self) -> str:
        size = f"{self.rows} × {self.hidden} × {self.ffn}"
        return (
            f"Computing in {self.faster}: a product of {size} takes {1000 * self.fp32_seconds:.2f} ms in fp32 "
            f"and {1000 * self.bf16_seconds:.2f} ms in bf16 on this CPU."
        )


def measure(rows: int, hidden: int, ffn: int, clock: Callable[[], float] = time.perf_counter) -> CpuSpeed:
    """Time a layer's product in both dtypes, in turn, for about half a second in all."""
    import torch

    def product(dtype: torch.dtype) -> Callable[[], float]:
        x, weight = torch.ones(rows, hidden, dtype=dtype), torch.ones(ffn, hidden, dtype=dtype)

        def timed() -> float:
            start = clock()
            torch.nn.functional.linear(x, weight)
            return clock() - start

        timed()  # the first one prepares the library
        return timed

    in_fp32, in_bf16 = product(torch.float32), product(torch.bfloat16)
    fp32, bf16 = float("inf"), float("inf")
    began, tries = clock(), 0
    while tries < LEAST_TRIES or clock() - began < SECONDS:
        fp32, bf16 = min(fp32, in_fp32()), min(bf16, in_bf16())
        tries += 1
    return CpuSpeed(rows, hidden, ffn, fp32, bf16)


def dtype_for(
    context: JobContext, wanted: Literal["auto", "fp32", "bf16"], device: torch.device, model: ModelEntry, rows: int
) -> CpuDtype:
    """The dtype of a job's model: what its recipe says; of `auto` bf16 on a GPU, and on a CPU what was measured to be faster.

    The first attempt decides for all of them. `rows` are the tokens that a layer usually works on at once.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16"
    file = context.run.path / FILE
    if (known := read_json(file)) is not None:
        context.say(f"Computing in {known['dtype']}, as the first attempt did.")
        return "bf16" if known["dtype"] == "bf16" else "fp32"
    shape = model.shape
    hidden, ffn = (shape.hidden, shape.ffn) if shape else (MOST_HIDDEN, MOST_FFN)
    speed = measure(rows, min(MOST_HIDDEN, hidden), min(MOST_FFN, ffn))
    decided: dict[str, Any] = {"schema": SCHEMA, "dtype": speed.faster, **asdict(speed)}
    write_json(file, decided)
    context.say(speed.words)
    return speed.faster
