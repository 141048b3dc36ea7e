"""A framed pane: its number, its name, one figure at the right, rows inside. One question is answered in each."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from tui.lines import Line
from tui.model.snapshot import EMPTY, Snapshot
from tui.widgets.canvas import Canvas


def framed(rows: Sequence[Line], width: int, height: int, title: Line, right: Line, role: str) -> list[Line]:
    """Rows inside a rounded frame with a title at the left and a note at the right of its upper edge."""
    inner = width - 4
    right = right.cut(max(0, width - title.width - 9))
    head = Line("╭─ ", role).extend(title.cut(width - 6)).add(" ", role)
    tail = Line(" ", role).extend(right).add(" ─╮", role) if right.pieces else Line("─╮", role)
    head.add("─" * (width - head.width - tail.width), role).extend(tail)
    lines = [head]
    for index in range(height - 2):
        row = rows[index] if index < len(rows) else Line()
        lines.append(Line("│", role).extend(_body(row, inner)).add("│", role))
    lines.append(Line("╰" + "─" * (width - 2) + "╯", role))
    return lines


def _body(row: Line, inner: int) -> Line:
    row = row.to(inner)
    mark = f" {row.mark}" if row.mark else ""
    body = Line(" ", f"text{mark}")
    for text, role in row.pieces:
        body.add(text, f"{role}{mark}")
    return body.add(" ", f"text{mark}")


class Pane(Canvas, can_focus=True):
    """One of the four panes. It renders from the newest snapshot and owns nothing but what is selected in it."""

    number = 0
    heading = ""

    class Chosen(Message):
        """The pane was clicked."""

        def __init__(self, pane: Pane) -> None:
            super().__init__()
            self.pane = pane

    class Opened(Message):
        """A row was clicked twice: what stands in it is to be opened."""

        def __init__(self, pane: Pane, key: int) -> None:
            super().__init__()
            self.pane = pane
            self.key = key

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.snapshot: Snapshot = EMPTY
        self.row_keys: list[int | None] = []
        """By row, what a click means: the job whose row, or whose leaderboard, stands there."""
        self.clicked: int | None = None

    def show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        title = Line(str(self.number), "bold").add(f" {self.heading}")
        rows = self.rows(width - 4, height - 2)
        return framed(rows, width, height, title, self.note(), "focus" if self.has_focus else "frame")

    def rows(self, width: int, height: int) -> list[Line]:
        """What stands inside the frame."""
        raise NotImplementedError

    def note(self) -> Line:
        """What stands at the right of the upper edge."""
        return Line()

    def summary(self, width: int) -> Line:
        """The pane in one row, for small terminals."""
        raise NotImplementedError

    def move(self, step: int) -> None:
        """Move the selection by some rows; panes without one ignore it."""

    def on_focus(self) -> None:
        self.paint()

    def on_blur(self) -> None:
        self.paint()

    def row_clicked(self, key: int) -> None:
        """Select what stands in a row; panes without a selection ignore it."""

    def is_selected(self, key: int) -> bool:
        """Is it selected, so that a further click on it opens it?"""
        return False

    def on_click(self, event: events.Click) -> None:
        """A click selects a row; a second one on the same row, or a double click, opens it."""
        self.focus()
        self.post_message(self.Chosen(self))
        key = self.row_keys[event.y - 1] if 0 <= event.y - 1 < len(self.row_keys) else None
        if event.chain > 1 and self.clicked is not None:
            key = self.clicked  # the first click may have moved the rows
        again = key is not None and (event.chain > 1 or (key == self.clicked and self.is_selected(key)))
        self.clicked = None if again else key
        if key is not None:
            self.row_clicked(key)
            if again:
                self.post_message(self.Opened(self, key))
