"""Words for a tournament: who is not in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.experiments.tournament import LeftOutModel
from core.format import listed


def left_out_lines(left_out: Sequence[LeftOutModel]) -> Iterator[str]:
    """`Qwen3-14B does not fit: bf16 needs 31.2 GB of 16.1 GB usable.`; those of which nothing is known in one line."""
    unknown = list(dict.fromkeys(one.model for one in left_out if one.code == "not_predicted"))
    if unknown:
        reasons = list(dict.fromkeys(one.reason for one in left_out if one.code == "not_predicted"))
        yield (
            f"left out, memory not predicted: {listed(unknown)} ({'; '.join(reasons)}). Name one with --model to train it "
            "all the same."
        )
    by_model: dict[str, list[str]] = {}
    for one in left_out:
        if one.code == "does_not_fit":
            by_model.setdefault(one.model, []).append(f"{one.way} {one.reason}")
    for model, reasons in by_model.items():
        yield f"left out, does not fit: {model}, {listed(reasons)}."
