"""Words of a text, and which of them stand in another text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache

WORDS_IN_A_ROW = 5
"""So many words in the same order as in another text are taken for copied."""
MOST_WORDS = 4_000
"""Of a text that is compared: what is copied shows in its beginning."""

# In scripts without blanks (Chinese, Japanese, Thai, Lao, Khmer) each sign is taken for a word.
_UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_MOST_CHARACTERS = 40_000


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation and marks of emphasis; of a long text those of its beginning."""
    cut = text[:_MOST_CHARACTERS]
    return _WORD.findall((cut if cut.isascii() else unicodedata.normalize("NFC", cut)).casefold())[:MOST_WORDS]


@lru_cache(maxsize=512)
def known_words(text: str) -> tuple[str, ...]:
    """The same of a text that many answers are held to."""
    return tuple(words_of(text))


def runs_of(words: Sequence[str], length: int = WORDS_IN_A_ROW) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]


@lru_cache(maxsize=512)
def known_runs(text: str) -> frozenset[tuple[str, ...]]:
    """The runs of words of a text that many answers are held to."""
    return frozenset(runs_of(known_words(text)))


def copied_share(runs: Sequence[tuple[str, ...]], there: Collection[tuple[str, ...]]) -> float:
    """The share of an answer's runs of words that stand in the source as well."""
    return sum(run in there for run in runs) / len(runs) if runs else 0.0


def longest_copied(runs: Sequence[tuple[str, ...]], there: Collection[tuple[str, ...]]) -> int:
    """Words of the longest stretch all of whose runs stand in the source."""
    longest = run = 0
    for one in runs:
        run = run + 1 if one in there else 0
        longest = max(longest, run)
    return longest + WORDS_IN_A_ROW - 1 if longest else 0


def begins_with(source: Sequence[str], words: Sequence[str], least: int) -> bool:
    """Whether the words are the beginning of the source: so many of them, or all of a shorter one."""
    return len(words) >= min(least, max(3, len(source))) and tuple(source[: len(words)]) == tuple(words)
