"""What the stress test trains: layouts, the shape of its model, and how far it is."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import BakehouseError
from jobs.context import JobContext

RANKS = (8, 16, 32)
LENGTHS = ((243, 343), (243, 291), (293, 343))
"""Shortest and longest example of a layout, in tokens. All lengths are odd."""
LAYOUTS = len(RANKS) * len(LENGTHS)
LEAST_LAYOUT_SECONDS = 1.0
LINE_SECONDS = 10.0
RECENT_STEPS = 20


@dataclass(frozen=True)
class Layout:
    """One training: its rank, the lengths of its examples in tokens, and the seed of weights, data and order."""

    rank: int
    shortest: int
    longest: int
    seed: int

    @property
    def words(self) -> str:
        return f"rank {self.rank}, {self.shortest} to {self.longest} tokens, order {self.seed}"


def layouts() -> Iterator[Layout]:
    """Every rank with every range of lengths, then again with other orders, without end."""
    for seed in itertools.count(1):
        for number, rank in enumerate(RANKS):
            shortest, longest = LENGTHS[(seed + number) % len(LENGTHS)]
            yield Layout(rank, shortest, longest, seed)


@dataclass(frozen=True)
class Shape:
    """A Llama: the one of SmolLM2-135M on a GPU, a tiny one on a CPU."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int


SHAPES = {"cuda": Shape(576, 1536, 30, 9, 3, 49152), "cpu": Shape(64, 128, 2, 4, 2, 512)}


@dataclass
class StressRun:
    """How far the test is. `ends_at` and `layout_ends_at` are monotonic."""

    context: JobContext
    seconds: float
    began: float = field(default_factory=time.monotonic)
    layout_ends_at: float = 0.0
    steps: int = 0
    layouts: int = 0
    stopped: str | None = None
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    said_at: float = 0.0

    @property
    def ends_at(self) -> float:
        return self.began + self.seconds

    def begin(self, layout: Layout) -> None:
        self.layout_ends_at = min(self.ends_at, time.monotonic() + max(LEAST_LAYOUT_SECONDS, self.seconds / LAYOUTS))
        self.context.phase(f"layout {self.layouts + 1}", layout.words)

    def step(self, loss: float, seconds: float) -> None:
        """One optimizer step is done. Raises `BakehouseError` for a loss that is no number."""
        self.steps += 1
        self.recent.append(seconds)
        left = max(0.0, self.ends_at - time.monotonic())
        total = self.steps + math.ceil(left / max(1e-6, statistics.median(self.recent)))
        self.context.events.write("step", step=self.steps, total=total, loss=loss, eta_seconds=left)
        if not math.isfinite(loss):
            raise BakehouseError(
                f"the loss is {loss} at step {self.steps}: this device computes wrongly",
                code="not_finite",
                remedy="`bakehouse doctor` looks at torch and the driver",
            )
        if time.monotonic() - self.said_at >= LINE_SECONDS:
            self.said_at = time.monotonic()
            self.context.say(f"step {self.steps}, loss {loss:.3f}, {left:.0f} s left")

    def over(self) -> bool:
        """Whether this layout has had its time; notes a stop that was asked for."""
        self.stopped = self.context.stop_reason()
        return self.stopped is not None or time.monotonic() >= self.layout_ends_at
