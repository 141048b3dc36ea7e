"""Tables and paragraphs of plain text for a terminal of any width: no colours, so that a file or a mail reads the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from core.text import WORD, cell_width, clip, first_cells, printable

MIN_WIDTH = 60
NAME_WIDTH = 30
SCALE_WIDTH = 21
# Columns that a drawn scale does not push out: the name, the leading score, its difference.
MOST_TELLING = 3


def grid(lines: Sequence[Sequence[str]], width: int, *, left: int = 1, last: Sequence[str] = ()) -> Iterator[str]:
    """Columns two cells apart, the first `left` of them to the left; those that do not fit are left out from the right."""
    widths = [max(cell_width(line[i]) for line in lines) for i in range(len(lines[0]))]
    widths[0] = min(NAME_WIDTH, widths[0])
    shown = next((n for n in range(len(widths), 0, -1) if sum(widths[:n]) + 2 * (n - 1) <= width), 1)
    if last:  # what is drawn tells more than the lesser columns
        with_scale = [n for n in range(MOST_TELLING, shown + 1) if sum(widths[:n]) + 2 * n + SCALE_WIDTH <= width]
        shown = max(with_scale, default=shown)
    room = width - sum(widths[:shown]) - 2 * shown
    for number, line in enumerate(lines):
        cells = [clip(cell, widths[i]) for i, cell in enumerate(line[:shown])]
        spaces = [" " * (widths[i] - cell_width(cell)) for i, cell in enumerate(cells)]
        cells_padded = [
            cell + space if i < left else space + cell
            for i, (cell, space) in enumerate(zip(cells, spaces, strict=True))
        ]
        if last and room >= SCALE_WIDTH:
            cells_padded.append(last[number])
        yield "  ".join(cells_padded).rstrip()


def wrap(text: str, width: int, indent: int = 2) -> Iterator[str]:
    """Lines of at most `width` terminal cells (of two, where there is but one), broken between words, and inside a word that is
    wider than a line."""
    width = max(width, 2)
    # An indent as wide as the line leaves no room for a sign: a word would never come to its end.
    indent = min(indent, width - 2)
    line = ""
    for word in re.findall(rf"^ +\S*|{WORD}", printable(text)):
        if line and cell_width(line) + 1 + cell_width(word) <= width:
            line = f"{line} {word}" if line.strip() else line + word
            continue
        if line:
            yield line
            word = " " * indent + word
        while cell_width(word) > width:
            head = first_cells(word, width)
            yield head
            word = " " * indent + word[len(head) :].lstrip()
        line = word
    yield line


def padded(text: str, width: int) -> str:
    return text + " " * (width - cell_width(text))


def blocks(lines: Sequence[Sequence[str]], width: int, *, name_width: int = NAME_WIDTH) -> Iterator[str]:
    """All columns two cells apart, in as many blocks below each other as it takes; each begins with the first column."""
    widths = [max(cell_width(line[i]) for line in lines) for i in range(len(lines[0]))]
    widths[0] = min(name_width, widths[0])
    start = 1
    while start < len(widths) or start == 1:
        end, used = start, widths[0]
        while end < len(widths) and (end == start or used + 2 + widths[end] <= width):
            used += 2 + widths[end]
            end += 1
        if start > 1:
            yield ""
        for line in lines:
            cells = [padded(clip(line[0], widths[0]), widths[0])]
            cells += [" " * (widths[i] - cell_width(line[i])) + line[i] for i in range(start, end)]
            yield "  ".join(cells).rstrip()
        start = max(end, start + 1)


def folded(text: str, width: int) -> Iterator[str]:
    """A line in rows of at most `width` cells, its own blanks kept; broken between words, longer words within."""
    row, used = "", 0
    for word in re.findall(rf"(?:{WORD})\s*|\s+", text):
        if used and used + cell_width(word.rstrip()) > width:
            yield row.rstrip()
            row, used = "", 0
        while cell_width(word.rstrip()) > width:
            head = first_cells(word, width) or word[0]
            yield head
            word = word[len(head) :]
        row, used = row + word, used + cell_width(word)
    yield row.rstrip()
