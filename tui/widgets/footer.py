"""The last line: the keys that work here, and only those."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tui.lines import Line
from tui.widgets.canvas import Canvas


def footer_line(keys: Sequence[tuple[str, str]], width: int) -> Line:
    """`n new run  x cancel`; the last ones are left out when they do not fit."""
    line = Line(" ")
    for key, label in keys:
        piece = Line("  " if line.width > 1 else "").add(key, "bold").add(f" {label}", "dim")
        if line.width + piece.width > width:
            break
        line.extend(piece)
    return line


class Footer(Canvas):
    """`keys` is asked each time it is painted."""

    def __init__(self, keys: Callable[[int], Sequence[tuple[str, str]]]) -> None:
        super().__init__(id="keys")
        self.keys = keys

    def draw(self, width: int, height: int) -> list[Line]:
        return [footer_line(self.keys(width), width)]


class PaneSummaries(Canvas):
    """A row a pane, for terminals where four of them do not fit."""

    def __init__(self, rows: Callable[[int], Sequence[Line]]) -> None:
        super().__init__(id="summary")
        self.rows = rows

    def draw(self, width: int, height: int) -> list[Line]:
        return list(self.rows(width))
