"""When an answer passes a check, and which of several answers is the worst: one rule for every command and every screen."""

from __future__ import annotations

from collections.abc import Sequence

_LEAST = 0.999


def passes(value: float) -> bool:
    """Whether a check's value, from 0 to 1, is a full one: a mean of shares can miss 1 by rounding."""
    return value >= _LEAST


def rank(values: Sequence[float]) -> tuple[int, float]:
    """By this, answers to one input are ordered, the worst lowest: checks passed, then points. `values`: of its checks."""
    return sum(map(passes, values)), sum(values)
