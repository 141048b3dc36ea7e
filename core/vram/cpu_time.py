"""How long a training takes on this machine's CPU, told from trainings that ran on it; without any nobody knows.

Time grows with a model's parameters: each token is multiplied by all of them, a few times. So one measured training tells of
models of other sizes to within a factor of about two, which is what a choice between minutes and days needs.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from core.format import duration
from core.vram.calibration import Run

TOKENS = 100_000
"""Times are told for so many tokens: 100 examples of 1,000 tokens, once."""
A_NIGHT_SECONDS = 10 * 3600.0
"""A training that takes longer is not recommended on a CPU."""


def seconds_on_cpu(parameter_count: int, method: str, runs: Sequence[Run]) -> float | None:
    """Seconds for `TOKENS` tokens of a model, None where no training by this method has run here.

    The median of what the runs tell: tokens a second times parameters is taken for constant.
    """
    speeds = [
        run.tokens_per_second * run.parameters
        for run in runs
        if run.method == method and run.tokens_per_second and run.parameters
    ]
    return TOKENS * parameter_count / statistics.median(speeds) if speeds else None


def time_words(seconds: float | None) -> str:
    """`about 3 h 05 per 100,000 tokens on this CPU`, or that nobody knows."""
    if seconds is None:
        return "how long it takes on this CPU is not known: no training by this method has run here"
    return f"about {duration(seconds)} per {TOKENS:,} tokens on this CPU"
