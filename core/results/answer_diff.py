"""Two answers beside each other, with what differs known line by line and word by word (difflib, of Ratcliff and Obershelp)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

OPENING, CLOSING = "⟦", "⟧"
"""Stand around what differs within a line: signs, since a colour alone does not reach everybody."""
MOST_CHARACTERS = 100_000
"""What is compared of an answer: one that rambles for megabytes is compared in its beginning."""
_LEAST_ALIKE = 0.3
"""Lines that have less than this in common are two lines, not one that was changed."""
_MOST_PAIRS = 5_000_000
_MOST_ALIGNED = 10_000
"""Pairs of words, and of lines of one block, that are looked at: beyond, lines are compared whole and in their order."""
_NAMED = re.compile(r"\w+")
_WORDS = re.compile(r"\d+(?:[.,]\d+)*|\w+|\s+|[^\w\s]")


@dataclass(frozen=True)
class DiffPiece:
    """A part of a line; `differs`: the other line does not have it in this place."""

    text: str
    differs: bool = False


DiffLine = tuple[DiffPiece, ...]


@dataclass(frozen=True)
class DiffRow:
    """A line of each answer, or of one alone (the other None)."""

    left: DiffLine | None
    right: DiffLine | None

    @property
    def differs(self) -> bool:
        return self.left != self.right

    @property
    def sign(self) -> str:
        """What stands between the two columns: `≠` of lines that differ, `<` and `>` of one that only the left or the right
        answer has, `│` of lines that are alike."""
        if not self.differs:
            return "│"
        return "<" if self.right is None else ">" if self.left is None else "≠"


@dataclass(frozen=True)
class AnswerDiff:
    """The rows of two answers; `cut`: one of them is longer than what is compared."""

    rows: tuple[DiffRow, ...]
    cut: bool = False

    @property
    def different(self) -> int:
        """How many rows differ."""
        return sum(row.differs for row in self.rows)


def diff_answers(left: str, right: str) -> AnswerDiff:
    """Compare two texts by lines, and lines that were changed by words. Ends of lines do not count."""
    cut = max(len(left), len(right)) > MOST_CHARACTERS
    ours, theirs = left[:MOST_CHARACTERS].splitlines(), right[:MOST_CHARACTERS].splitlines()
    rows: list[DiffRow] = []
    left_over = _MOST_PAIRS
    # difflib's own rule for lines that occur very often keeps an answer that repeats itself from taking minutes.
    for tag, a, b, c, d in SequenceMatcher(None, ours, theirs).get_opcodes():
        if tag == "equal":
            same = [(DiffPiece(line),) for line in ours[a:b]]
            rows += [DiffRow(line, line) for line in same]
            continue
        for first, second in _paired(ours[a:b], theirs[c:d]):
            words = None
            if first is not None and second is not None and left_over > 0:
                one, other = _WORDS.findall(first), _WORDS.findall(second)
                left_over -= len(one) * len(other)
                words = _by_words(one, other) if left_over > 0 else None
            rows.append(DiffRow(*words) if words else DiffRow(_whole(first), _whole(second)))
    return AnswerDiff(tuple(rows), cut)


def _paired(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
    """Lines that differ, each beside the one that it was changed from: the alignment with the most in common."""
    if not ours or not theirs or len(ours) * len(theirs) > _MOST_ALIGNED:
        yield from zip_longest(ours, theirs)
        return
    # Blanks and stops are in every line: they make no two lines alike.
    counted = [[Counter(_NAMED.findall(line)) for line in lines] for lines in (ours, theirs)]
    alike = [[_alike(one, other) for other in counted[1]] for one in counted[0]]
    # best[i][j]: the most that ours[i:] and theirs[j:] can have in common.
    best = [[0.0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for i in reversed(range(len(ours))):
        for j in reversed(range(len(theirs))):
            best[i][j] = max(alike[i][j] + best[i + 1][j + 1], best[i + 1][j], best[i][j + 1])
    i = j = 0
    while i < len(ours) or j < len(theirs):
        both = i < len(ours) and j < len(theirs)
        if both and best[i][j] == alike[i][j] + best[i + 1][j + 1]:
            yield ours[i], theirs[j]
            i, j = i + 1, j + 1
        elif j == len(theirs) or (both and best[i][j] == best[i + 1][j]):
            yield ours[i], None
            i += 1
        else:
            yield None, theirs[j]
            j += 1


def _alike(one: Counter[str], other: Counter[str]) -> float:
    """The share of words that two lines have in common, 0 where they are too different to be one line that was changed."""
    total = one.total() + other.total()
    ratio = 2 * (one & other).total() / total if total else 0.0
    return ratio if ratio >= _LEAST_ALIKE else 0.0


def _whole(line: str | None) -> DiffLine | None:
    return None if line is None else (DiffPiece(line, differs=True),)


def _by_words(ours: Sequence[str], theirs: Sequence[str]) -> tuple[DiffLine, DiffLine] | None:
    """The pieces of two lines; None where they have too little in common for that to be read."""
    if not _alike(*(Counter(word for word in words if _NAMED.match(word)) for words in (ours, theirs))):
        return None
    matcher = SequenceMatcher(None, ours, theirs)
    found: tuple[list[DiffPiece], list[DiffPiece]] = ([], [])
    for tag, a, b, c, d in matcher.get_opcodes():
        # A lone blank between two words that were changed belongs to the change.
        differs = tag != "equal" or ("".join(ours[a:b]).isspace() and a > 0 and b < len(ours))
        for pieces, words in zip(found, (ours[a:b], theirs[c:d]), strict=True):
            _append(pieces, "".join(words), differs)
    return tuple(found[0]), tuple(found[1])


def _append(pieces: list[DiffPiece], text: str, differs: bool) -> None:
    if not text:
        return
    if pieces and pieces[-1].differs == differs:
        text = pieces.pop().text + text
    pieces.append(DiffPiece(text, differs))
