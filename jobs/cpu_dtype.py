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

SECONDS = 0.5
"""What all products together may take; only those of the fewest rows are tried whatever they take."""
MOST_TRIES = 20
WORTH = 1.5
"""How many times faster bf16 has to be: fp32 rounds less, so a small gain is none."""
MOST_HIDDEN, MOST_FFN = 1024, 2048
"""Larger layers are measured at this size: the ratio is the same, and takes no seconds on a slow machine."""
FEWEST_ROWS, GROWTH = 16, 4


@dataclass(frozen=True)
class Work:
    """What goes through a layer at once: `rows` tokens, and with `backward` their gradients on the way back."""

    rows: int
    backward: bool


TRAINING = Work(rows=256, backward=True)  # a short example
GENERATING = Work(rows=16, backward=False)  # the next tokens of a batch of answers


@dataclass(frozen=True)
class CpuSpeed:
    """The seconds that the products of a layer `rows × hidden × ffn` take in each dtype, the best of some tries."""

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
            f"Computing in {self.faster}: a layer of {size} takes a core {1000 * self.fp32_seconds:.2f} ms in fp32 "
            f"and {1000 * self.bf16_seconds:.2f} ms in bf16."
        )


Timed = Callable[[CpuDtype, int], float]
"""(dtype, rows) → seconds that a layer's products take once."""


def products(hidden: int, ffn: int, *, backward: bool) -> Timed:
    """Times the product of a layer, and that of its gradient: the CPU time of this thread, which no other program adds to."""
    import torch

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    weights = {name: torch.ones(ffn, hidden, dtype=dtype) for name, dtype in dtypes.items()}

    def timed(name: CpuDtype, rows: int) -> float:
        weight, x = weights[name], torch.ones(rows, hidden, dtype=dtypes[name])
        start = time.thread_time()
        y = torch.nn.functional.linear(x, weight)
        if backward:
            y @ weight
        return time.thread_time() - start

    return timed


def measure(work: Work, hidden: int, ffn: int) -> CpuSpeed:
    """Time a layer in both dtypes, for half a second at most in all.

    In one thread: on a busy machine several wait for one another, and that is what would be measured.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return compare(work, hidden, ffn, products(hidden, ffn, backward=work.backward))
    finally:
        torch.set_num_threads(threads)


def compare(work: Work, hidden: int, ffn: int, timed: Timed) -> CpuSpeed:
    """The best time of a layer in each dtype, which take turns.

    A CPU may be so slow in one of them that the whole work would take seconds: the rows are few at first, and grow to those
    of `work` while there is time.
    """
    rows, left = min(FEWEST_ROWS, work.rows), SECONDS
    while True:
        # The first time with so many rows the library prepares itself; that one does not count.
        began = timed("fp32", rows) + timed("bf16", rows)
        fp32, bf16 = timed("fp32", rows), timed("bf16", rows)
        left -= began + fp32 + bf16
        if rows == work.rows or left < 2 * GROWTH * (fp32 + bf16):
            break
        rows = min(work.rows, GROWTH * rows)
    for _ in range(MOST_TRIES):
        if left < fp32 + bf16:
            break
        again = timed("fp32", rows), timed("bf16", rows)
        left -= sum(again)
        fp32, bf16 = min(fp32, again[0]), min(bf16, again[1])
    return CpuSpeed(rows, hidden, ffn, fp32, bf16)


def dtype_for(
    context: JobContext, wanted: Literal["auto", "fp32", "bf16"], device: torch.device, model: ModelEntry, work: Work
) -> CpuDtype:
    """The dtype of a job's model: what its recipe says; of `auto` bf16 on a GPU, and on a CPU what was measured to be faster.

    The first attempt decides for all of them.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16"
    file = context.run.path / FILE
    if (known := read_json(file)) is not None:
        context.say(f"Computing in {known['dtype']}, as was decided before.")
        return "bf16" if known["dtype"] == "bf16" else "fp32"
    shape = model.shape
    hidden, ffn = (shape.hidden, shape.ffn) if shape else (MOST_HIDDEN, MOST_FFN)
    speed = measure(work, min(MOST_HIDDEN, hidden), min(MOST_FFN, ffn))
    decided: dict[str, Any] = {"schema": SCHEMA, "dtype": speed.faster, **asdict(speed)}
    write_json(file, decided)
    context.say(speed.words)
    return speed.faster
