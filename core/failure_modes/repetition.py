"""Answers that say the same over and over: words, lines, items, signs, or the whole answer twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from core.failure_modes.taken_apart import TakenApart
from core.failure_modes.words import words_of

LONGEST_LOOP = 60
"""Words of the stretch that comes again."""
LEAST_LOOPED = 24
"""Words that a loop has in all: a cheer of a few words is none."""
LEAST_SHORT_LOOP, SHORT_LOOPS = 12, 8
"""Fewer words are enough where the stretch comes so often."""
NEARLY_THRICE, NEARLY_ALL = 2.4, 0.8
"""How often a stretch stands there that is nearly all of an answer which the limit may have cut within its third time."""
COUNTED_ON = 15
"""Figures in a row of which each is as much above the one before it."""
ONE_WORD = 0.5
"""Of all words that are the same one."""
ONE_SIGN, LEAST_OF_SIGN = 0.4, 60
"""Of all signs but blanks that are the same mark, rulers aside."""
LOOPED_SHARE = 1 / 3
"""Of the answer, at the least."""
LOOPS = 2
"""How often a stretch comes again behind the first time, at the least."""
NO_LOOP = 0.88
"""Share of different runs of four words above which no stretch can come three times and be a third."""
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

_ITEM = re.compile(r"\A\s*(?:[-*+•–]|\(?\d{1,3}[.):]|[a-zA-Z][.)])\s+")
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
    kept = words[-LOOPED_WORDS:]
    if _loops(kept) or _counts_on(kept) or _one_word(kept) or _one_sign(text):
        return True
    return _signs(text) or _lines(text) or _twice(look.words) or _prose(tail)


def _loops(words: Sequence[str]) -> bool:
    if len(words) < LEAST_SHORT_LOOP:
        return False
    if len({tuple(words[at : at + 4]) for at in range(len(words) - 3)}) > NO_LOOP * (len(words) - 3):
        return False
    share = LOOPED_SHARE * len(words)
    for period in range(1, min(LONGEST_LOOP, len(words) // 2) + 1):
        run = 0
        for at in range(period, len(words)):
            run = run + 1 if words[at] == words[at - period] else 0
            looped, times = run + period, run / period + 1
            if times >= LOOPS + 1 and looped >= max(LEAST_LOOPED, share):
                return True
            if times >= SHORT_LOOPS and looped >= max(LEAST_SHORT_LOOP, share):
                return True
            if times >= NEARLY_THRICE and looped >= max(LEAST_LOOPED, NEARLY_ALL * len(words)):
                return True
    return False


def _counts_on(words: Sequence[str]) -> bool:
    """Figures that go on and on by the same step: `64, 65, 66, …`."""
    figures = [int(word) if word.isdecimal() and len(word) < 10 else None for word in words]
    run = longest = 0
    for before, one, behind in zip(figures, figures[1:], figures[2:], strict=False):
        goes_on = before is not None and one is not None and behind is not None and 0 != one - before == behind - one
        run = run + 1 if goes_on else 0
        longest = max(longest, run)
    return longest >= max(COUNTED_ON, LOOPED_SHARE * len(words))


def _one_word(words: Sequence[str]) -> bool:
    return len(words) >= LEAST_LOOPED and Counter(words).most_common(1)[0][1] >= ONE_WORD * len(words)


def _one_sign(text: str) -> bool:
    lines = (line for line in text[:20_000].split("\n") if set(line) - _RULER)
    signs = {sign: count for sign, count in Counter("".join(lines)).items() if not sign.isspace()}
    marks = [count for sign, count in signs.items() if not sign.isalnum()]
    return bool(marks) and max(marks) >= max(LEAST_OF_SIGN, ONE_SIGN * sum(signs.values()))


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


def _same(keys: Sequence[str], units: Sequence[str], least: int, total: int) -> bool:
    counts = Counter(key for key in keys if len(key.split()) >= (3 if least < LEAST_COUNTED_LINES else 2))
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
