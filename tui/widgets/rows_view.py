"""Rows in a frame that scroll: what most screens show."""

from __future__ import annotations

from collections.abc import Callable

from core.format import plural
from tui.lines import Line
from tui.widgets.canvas import Canvas
from tui.widgets.pane import framed

FAR = 1_000_000
BELOW_CHOSEN = 3
"""Rows below a chosen one that are shown with it."""


class RowsView(Canvas, can_focus=True):
    """Rows in a frame that scroll when they do not fit; a marked one stays in sight."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.title = Line()
        self.told: Callable[[int, int], list[Line]] = lambda width, height: []
        """The rows for so many columns and rows of room."""
        self.top = 0

    def update(self, title: Line, told: Callable[[int, int], list[Line]]) -> None:
        self.title, self.told = title, told
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        rows, room = self.told(width - 4, height - 2), height - 2
        chosen = [number for number, row in enumerate(rows) if row.mark]
        if chosen:  # with the head of the first one, and with what is said below it
            self.top = max(self.top, chosen[-1] + BELOW_CHOSEN - room + 1)
            self.top = min(self.top, chosen[0] - (room > 2))
        self.top = max(0, min(self.top, len(rows) - room))
        shown = [row.cut(width - 4) for row in rows[self.top : self.top + room]]
        more = len(rows) - self.top - len(shown)
        right = Line(f"{plural(more, 'row')} below" if more else "", "dim")
        title = Line().extend(self.title)
        return framed(shown, width, height, title, right, "focus" if self.has_focus else "frame")

    def scroll_rows(self, step: int) -> None:
        self.top += step
        self.paint()

    def go(self, end: bool) -> None:
        self.top = FAR if end else 0
        self.paint()
