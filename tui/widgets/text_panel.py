"""Rows, or a frame of rows, that a screen writes into a place of its own."""

from __future__ import annotations

from tui.lines import Line
from tui.widgets.canvas import Canvas
from tui.widgets.pane import framed


class TextPanel(Canvas):
    """Shows what `update` was last given; with a title it stands in a frame."""

    def __init__(self, *, id: str, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.title = ""
        self.right = Line()
        self.rows: list[Line] = []

    def update(self, rows: list[Line], title: str = "", right: str | Line = "") -> None:
        self.rows, self.title = rows, title
        self.right = right if isinstance(right, Line) else Line(right, "dim")
        self.paint()

    @property
    def inner(self) -> tuple[int, int]:
        """Columns and rows inside the frame."""
        return max(1, self.size.width - 4), max(0, self.size.height - 2)

    def draw(self, width: int, height: int) -> list[Line]:
        rows = [Line(mark=row.mark).extend(row) for row in self.rows]
        if not self.title:
            return [row.cut(width) for row in rows]
        right = Line().extend(self.right)
        return framed([row.cut(width - 4) for row in rows], width, height, Line(self.title), right, "frame")
