"""Two answers beside each other, or one below the other where there is no room; what differs is marked by signs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from core.cli.text_grid import folded, padded
from core.results.answer_diff import CLOSING, OPENING, AnswerDiff, DiffLine, DiffRow
from core.text import printable

YELLOW, PLAIN = "\x1b[33m", "\x1b[0m"
SIDE_BY_SIDE = 90
_CONTEXT = 2
_FOLDED_FROM = 6


def diff_lines(diff: AnswerDiff, heads: tuple[Sequence[str], Sequence[str]], width: int) -> Iterator[str]:
    """Lines for the terminal, cleaned. `heads` say whose answers these are."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    lines = side_by_side(diff, heads, width) if width >= SIDE_BY_SIDE else one_below(diff, heads, width)
    yield from map(coloured, lines) if colour else lines
    if not diff.different:
        yield "The answers are the same."
    if diff.cut:
        yield "Only the beginning is compared: one of the answers is longer."


def side_by_side(diff: AnswerDiff, heads: tuple[Sequence[str], Sequence[str]], width: int) -> Iterator[str]:
    """Two columns; between them each row's sign."""
    column = (width - 3) // 2
    titles = [[row for line in head for row in folded(printable(line), column)] for head in heads]
    for title, other in zip_longest(*titles, fillvalue=""):
        yield f"{padded(title, column)} │ {other}".rstrip()
    yield f"{'─' * column}─┼─{'─' * column}"
    for row in shortened(diff.rows):
        if isinstance(row, int):
            yield f"{padded(same_lines(row), column)} │"
            continue
        sides = [list(folded(marked(line), column)) if line is not None else [""] for line in (row.left, row.right)]
        for number, (ours, theirs) in enumerate(zip_longest(*sides, fillvalue="")):
            yield f"{padded(ours, column)} {row.sign if number == 0 else '│'} {theirs}".rstrip()


def one_below(diff: AnswerDiff, heads: tuple[Sequence[str], Sequence[str]], width: int) -> Iterator[str]:
    """One column: `A` and `B` before the lines of either, nothing before those of both."""
    for letter, head in zip("AB", heads, strict=True):
        for number, line in enumerate(head):
            for index, text in enumerate(folded(printable(line), width - 2)):
                yield f"{letter if number == index == 0 else ' '} {text}"
    yield "─" * width
    for row in shortened(diff.rows):
        if isinstance(row, int):
            yield f"  {same_lines(row)}"
            continue
        for letter, side in (("A", row.left), ("B", row.right)) if row.differs else ((" ", row.left),):
            for number, text in enumerate(folded(marked(side), width - 2) if side is not None else ()):
                yield f"{letter if number == 0 else ' '} {text}".rstrip()


def shortened(rows: Sequence[DiffRow]) -> Iterator[DiffRow | int]:
    """The rows, with the number of those that are left out where many alike follow each other."""
    near = [
        any(rows[near].differs for near in range(max(0, at - _CONTEXT), min(len(rows), at + _CONTEXT + 1)))
        for at in range(len(rows))
    ]
    at = 0
    while at < len(rows):
        end = at
        while end < len(rows) and not near[end]:
            end += 1
        if end - at >= _FOLDED_FROM:
            yield end - at
        else:
            yield from rows[at:end]
        if end < len(rows):
            yield rows[end]
        at = end + 1


def same_lines(number: int) -> str:
    return f"… {number:,} lines alike"


def marked(line: DiffLine) -> str:
    """A line as it is shown: brackets around the words that differ, none where all of it does."""
    if len(line) == 1:
        return _clean(line[0].text)
    return "".join(f"{OPENING}{_clean(one.text)}{CLOSING}" if one.differs else _clean(one.text) for one in line)


def _clean(text: str) -> str:
    return printable(text, keep="\t").expandtabs(4)


def coloured(line: str) -> str:
    """What is in brackets in a colour, which ends with the line."""
    if OPENING not in line:
        return line
    return line.replace(OPENING, f"{YELLOW}{OPENING}").replace(CLOSING, f"{CLOSING}{PLAIN}") + PLAIN
