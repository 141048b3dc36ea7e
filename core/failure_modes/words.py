"""Words of a text, and which of them stand in another text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

WORDS_IN_A_ROW = 5
"""So many words in the same order as in another text are taken for copied."""

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def runs_of(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]


def copied_share(words: Sequence[str], source: Sequence[str]) -> float:
    """The share of the runs of words that stand in the source as well."""
    runs, there = Counter(runs_of(words, WORDS_IN_A_ROW)), set(runs_of(source, WORDS_IN_A_ROW))
    total = sum(runs.values())
    return sum(count for run, count in runs.items() if run in there) / total if total else 0.0


def begins_with(source: Sequence[str], words: Sequence[str], least: int) -> bool:
    return len(words) >= min(least, max(3, len(source))) and list(source[: len(words)]) == list(words)
