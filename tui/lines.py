"""A row of the screen as text with roles. Panes draw with these; only `Canvas` turns them into what Textual paints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip

from core.text import WORD, printable
from tui.theme import style

_WORDS = re.compile(rf"(?:{WORD})\s*|\s+")


@dataclass
class Line:
    """Pieces of (text, role), left to right. Widths are terminal cells.

    Every text is cleaned when it becomes a piece, so nothing that comes from others reaches the terminal but as text.
    """

    pieces: list[tuple[str, str]] = field(default_factory=list)
    mark: str = ""  # `chosen` or `kept`: the whole row is selected

    def __init__(self, text: str = "", role: str = "text", mark: str = "") -> None:
        self.pieces = []
        self.mark = mark
        self.add(text, role)

    def add(self, text: str, role: str = "text") -> Line:
        if text := printable(text):
            self.pieces.append((text, role))
        return self

    def extend(self, other: Line) -> Line:
        self.pieces.extend(other.pieces)
        return self

    def to(self, column: int) -> Line:
        """Pad with spaces, or cut with an ellipsis, so that the next piece starts at `column`."""
        width = self.width
        if width < column:
            return self.add(" " * (column - width))
        return self.cut(column) if width > column else self

    def cut(self, width: int) -> Line:
        """Shorten to `width` cells; what is lost shows as an ellipsis."""
        if self.width <= width:
            return self
        kept: list[tuple[str, str]] = []
        room = max(0, width - 1)
        role = "text"
        for text, role in self.pieces:
            length = cell_len(text)
            if length > room:
                kept.append((set_cell_size(text, room), role))
                break
            kept.append((text, role))
            room -= length
        self.pieces = [*kept, ("…", role)] if width > 0 else []
        return self

    def right(self, other: Line, width: int) -> Line:
        """Set `other` flush right in a row of `width`; this line is cut when both do not fit."""
        return self.cut(max(0, width - other.width - 1)).to(max(0, width - other.width)).extend(other)

    @property
    def width(self) -> int:
        return sum(cell_len(text) for text, _ in self.pieces)

    @property
    def plain(self) -> str:
        return "".join(text for text, _ in self.pieces)

    def strip(self, width: int, ansi: bool) -> Strip:
        """What Textual paints: exactly `width` cells."""
        self.to(width)
        mark = self.mark
        segments = [Segment(text, style(f"{role} {mark}" if mark else role, ansi)) for text, role in self.pieces]
        return Strip(Segment.simplify(segments), width)


def folded(line: Line, width: int) -> list[Line]:
    """A line in as many rows of `width` cells as all of it takes, broken between words, longer words within.

    The first of several pieces is a gutter, as are blanks at the beginning: further rows begin to the right of it.
    Nothing where there is no room at all.
    """
    if line.width <= width or width < 1:
        return [line] if width > 0 else []
    first = line.pieces[0][0]
    gutter = cell_len(first) if len(line.pieces) > 1 else len(first) - len(first.lstrip())
    gutter = gutter if 2 * gutter < width else 0
    rows = [Line()]
    for text, role in line.pieces:
        for word in _WORDS.findall(text):
            if rows[-1].width + cell_len(word.rstrip()) > width and rows[-1].plain.strip():
                rows.append(Line(" " * gutter))
            word = word if rows[-1].plain.strip() or len(rows) == 1 else word.lstrip()
            while cell_len(word.rstrip()) > (room := width - rows[-1].width) > 0:
                head = set_cell_size(word, room).rstrip()
                if not head and not rows[-1].plain.strip():
                    head = word[0]  # wider than a whole row: there is no room for it anywhere
                rows[-1].add(head, role)
                word = word[len(head) :].lstrip()
                rows.append(Line(" " * gutter))
            rows[-1].add(word, role)
    for row in rows:  # a blank between two words can now stand at the end
        while row.pieces and row.width > width and row.pieces[-1][0][-1].isspace():
            text, role = row.pieces.pop()
            row.add(text.rstrip(), role)
    return [row for row in rows if row.plain.strip()]


def side_by_side(parts: Iterable[Line | tuple[str, str]], gap: str = " · ", width: int | None = None) -> Line:
    """Join parts with a dim gap; parts that no longer fit into `width` are left out, the last ones first."""
    line = Line()
    for part in parts:
        piece = Line(*part) if isinstance(part, tuple) else part
        if not piece.pieces:
            continue
        if width is not None and line.width + len(gap) + piece.width > width and line.pieces:
            break
        if line.pieces:
            line.add(gap, "dim")
        line.extend(piece)
    return line


def wrapped(text: str, width: int) -> Iterator[str]:
    """The words of `text` in rows of at most `width` cells; a longer word is broken."""
    row = ""
    for word in re.findall(WORD, text):
        while cell_len(word) > width > 0:
            if row:
                yield row
                row = ""
            head = set_cell_size(word, width).rstrip() or word[0]
            yield head
            word = word[len(head) :].lstrip()
        if row and cell_len(row) + 1 + cell_len(word) > width:
            yield row
            row = word
        else:
            row = f"{row} {word}".strip()
    if row:
        yield row
