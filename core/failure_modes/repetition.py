"""Answers that say the same over and over: words, lines, items, signs, or the whole answer twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence

from core.failure_modes.taken_apart import TakenApart
from core.failure_modes.words import words_of

LONGEST_LOOP = 60
"""Words of the stretch that comes again."""
LEAST_LOOPED = 24
"""Words that a loop has in all: a cheer of a few words is none."""
LOOPED_SHARE = 1 / 3
"""Of the answer, at the least."""
LOOPS = 2
"""How often a stretch comes again behind the first time, at the least."""
LOOPED_WORDS = 1_500
"""Of the end of an answer, where loops are."""
LEAST_SAME_LINES = 4
"""Lines or items of the same words, figures aside where at least this many more of them come."""
LEAST_COUNTED_LINES = 6
LEAST_WORDS_TWICE = 30
DIFFERENT_RUNS = 0.5
"""Share of runs of four words that are different ones, below which prose repeats itself. In plain prose it is above 0.9."""
LEAST_PROSE = 80
LONG_WORD = 8
"""Characters that a mean word and what stands behind it have at the most, in a script with blanks."""
LEAST_SIGNS = 80
LOOPED_SIGNS = 2_000

_ITEM = re.compile(r"\s*(?:[-*+•–]|\(?\d{1,3}[.):]|[a-zA-Z][.)])\s+")
_FIGURE = re.compile(r"\d+")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
# Rulers and the second line of a table are of one sign.
_RULER = set("-=_*~ |:+.\t")


def repeats_itself(look: TakenApart) -> bool:
    """A stretch of words three times and more that is a third of the answer, the same line or item again and again (also where
    only a number counts on), or the whole answer twice.

    Rows of a table and members of JSON are of one form by their nature: they count where they are quite the same.
    """
    text = look.body
    if not text.strip():
        return False
    tail = text[-40_000:]
    words = words_of(tail[-LOOPED_WORDS * LONG_WORD :])
    if len(words) * LONG_WORD < len(text[-40_000:][-LOOPED_WORDS * LONG_WORD :]):  # one endless word
        words = [sign for sign in tail[-LOOPED_WORDS:] if sign.isalnum()]
    return _loops(words[-LOOPED_WORDS:]) or _signs(text) or _lines(text) or _twice(look.words) or _prose(tail)


def _loops(words: Sequence[str]) -> bool:
    wanted = max(LEAST_LOOPED, LOOPED_SHARE * len(words))
    if len(words) < LEAST_LOOPED:
        return False
    for period in range(1, min(LONGEST_LOOP, len(words) // (LOOPS + 1)) + 1):
        run = 0
        for at in range(period, len(words)):
            run = run + 1 if words[at] == words[at - period] else 0
            if run >= LOOPS * period and run + period >= wanted:
                return True
    return False


def _signs(text: str) -> bool:
    """A few signs over and over at the end, without words: `!!!!!!!!`, `| | | |`."""
    end = text[-LOOPED_SIGNS:].rstrip()
    for period in range(1, 21):
        run = 0
        for at in range(len(end) - 1, period - 1, -1):
            if end[at] != end[at - period]:
                break
            run += 1
        looped = run + period
        if run >= 5 * period and looped >= max(LEAST_SIGNS, len(end) / 3):
            stretch = end[-period:]
            if stretch.strip() and (set(stretch) - _RULER or looped > 400):
                return True
    return False


def _lines(text: str) -> bool:
    """Lines, items or sentences of the same words: a third of the answer, and at least four."""
    units = [" ".join(unit.split()) for unit in _SENTENCE.split(text[:20_000]) if unit.strip()]
    if len(units) < LEAST_SAME_LINES:
        return False
    plain = [_ITEM.sub("", unit).casefold() for unit in units]
    total = sum(map(len, plain)) or 1
    if _same(plain, plain, LEAST_SAME_LINES, total):
        return True
    counted = [_FIGURE.sub("0", unit) for unit in plain]
    prose = [one if not _is_row(unit) else "" for one, unit in zip(counted, units, strict=True)]
    return _same(prose, plain, LEAST_COUNTED_LINES, total)


def _same(keys: Sequence[Hashable], units: Sequence[str], least: int, total: int) -> bool:
    counts = Counter(key for key in keys if isinstance(key, str) and len(key.split()) >= 3)
    return any(
        count >= least
        and sum(len(unit) for key, unit in zip(keys, units, strict=True) if key == said) >= total * LOOPED_SHARE
        for said, count in counts.items()
        if count >= least
    )


def _is_row(unit: str) -> bool:
    return unit.startswith(("|", "{", "[", '"', "}", "]")) or unit.endswith("|")


def _twice(words: Sequence[str]) -> bool:
    """The whole answer, and then again, be it not to its end."""
    for at in range(LEAST_WORDS_TWICE, len(words) - LEAST_WORDS_TWICE + 1):
        again = len(words) - at
        if words[at : at + 5] == words[:5] and 5 * again >= 2 * len(words):
            return words[at:] == words[:again]
    return False


def _prose(text: str) -> bool:
    """Prose of which half of the runs of four words have stood there before (rep-4 of Welleck et al., 2020, above 0.5)."""
    lines = [line for line in text[:20_000].split("\n") if not _is_row(line.strip())]
    words = words_of("\n".join(lines))
    if len(words) < LEAST_PROSE:
        return False
    runs = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    return len(set(runs)) < DIFFERENT_RUNS * len(runs)
