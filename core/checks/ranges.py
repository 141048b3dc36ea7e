"""Ranges of whole numbers that a definition gives: so many lines, words, characters or items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.checks.base import CheckFault, resolve_count
from core.errors import KeyedError


@dataclass(frozen=True)
class Span:
    """From `low` to `high`, both included; `high` None: no end."""

    low: int
    high: int | None

    def holds(self, found: int) -> bool:
        return self.low <= found and (self.high is None or found <= self.high)

    def nearness(self, found: int) -> float:
        """1 in the span, else how near `found` is to it: the smaller over the larger of the number and the bound it misses."""
        if found < self.low:
            return found / self.low
        return 1.0 if self.high is None or found <= self.high else self.high / found

    def missed(self, found: int) -> str:
        """Which bound `found` misses, in the same words however far: `fewer than 3`, `more than 20`."""
        return f"fewer than {self.low:,}" if found < self.low else f"more than {self.high:,}"

    def words(self) -> str:
        """`3 to 10`, `at least 3`, `at most 10`, `3`."""
        if self.high is None:
            return f"at least {self.low:,}"
        if self.low == self.high:
            return f"{self.low:,}"
        return f"{self.low:,} to {self.high:,}" if self.low else f"at most {self.high:,}"


def refuse_backwards(low: object, high: object, *, key: str | None = None) -> None:
    """KeyedError for a range that nothing can be in; bounds out of `expect` are looked at when they are known."""
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        raise KeyedError(f"no number is at least {low:g} and at most {high:g}", key=key, remedy="swap the two")


def span_of(low: int | str | None, high: int | str | None, expect: Mapping[str, Any]) -> Span:
    """The span between two bounds, of which either may stand in the golden input."""
    lowest = 0 if low is None else resolve_count(low, expect)
    highest = None if high is None else resolve_count(high, expect)
    if highest is not None and lowest > highest:
        raise CheckFault(f"no number is at least {lowest} and at most {highest}")
    return Span(lowest, highest)
