"""Rows to read over the screen below: its keys, made from its commands, or what one is warned of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical

from core.text import printable
from tui.commands import Command
from tui.lines import Line, folded
from tui.screens.dialog import Dialog
from tui.widgets.canvas import Canvas
from tui.widgets.pane import framed

WIDTH, WIDTH_PERCENT = 84, 96  # as in console.tcss
MOUSE = "A click selects, a double click opens; every act has a command as well: bakehouse --help"


class DialogText(Canvas):
    """A frame of rows that scrolls when they do not fit."""

    def __init__(self, title: str, rows: Sequence[Line]) -> None:
        super().__init__(id="help")
        self.heading = title
        self.rows = rows
        self.top = 0

    def draw(self, width: int, height: int) -> list[Line]:
        rows = folded_rows(self.rows, width - 4)
        self.top = max(0, min(self.top, len(rows) - (height - 2)))
        shown = [Line().extend(row).cut(width - 4) for row in rows[self.top : self.top + height - 2]]
        more = len(rows) - self.top - len(shown)
        right = Line("j k scroll · esc back" if more or self.top else "esc back", "dim")
        return framed(shown, width, height, Line(self.heading, "bold"), right, "focus")


def folded_rows(rows: Sequence[Line], width: int) -> list[Line]:
    """All of every row: what is written here is to be read, however narrow the terminal is."""
    return [part for row in rows for part in folded(row, width)]


class TextDialog(Dialog[None]):
    BINDINGS: ClassVar = [
        Binding("escape,q,question_mark,enter,w", "dismiss", "back", show=False),
        Binding("j,down,pagedown", "scroll(1)", "down", show=False),
        Binding("k,up,pageup", "scroll(-1)", "up", show=False),
    ]

    def __init__(self, title: str, rows: Sequence[Line]) -> None:
        super().__init__()
        self.heading = title
        self.rows = rows

    def compose(self) -> ComposeResult:
        with Vertical(id="help-frame"):
            yield DialogText(self.heading, self.rows)

    def on_mount(self) -> None:
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        width = min(WIDTH, self.app.size.width * WIDTH_PERCENT // 100)
        rows = folded_rows(self.rows, width - 4)
        self.query_one("#help").styles.height = min(len(rows) + 2, self.app.size.height - 2)

    def action_scroll(self, step: int) -> None:
        rows = self.query_one(DialogText)
        rows.top += step
        rows.paint()

    async def action_dismiss(self, result: None = None) -> None:
        self.dismiss(result)


def help_screen(heading: str, commands: Iterable[Command]) -> TextDialog:
    """The keys that work on a screen now; what has none is found in the palette."""
    rows = [Line(f"{item.shown:>9}  ", "bold").add(item.help) for item in commands if item.shown]
    return TextDialog(f"Keys · {heading}", [*rows, Line(), Line(MOUSE, "dim")])


def warnings_screen(warnings: Sequence[str]) -> TextDialog:
    """What one is warned of, each in full."""
    rows = [row for warning in warnings for row in marked_rows("▲", "warn", warning)]
    return TextDialog("Warnings", rows or [Line("none any more", "dim")])


def marked_rows(mark: str, role: str, text: str) -> list[Line]:
    """A text of any length for a dialog, with a mark in front of it."""
    return [Line(f"{mark} ", role).add(" ".join(printable(text).split()))]
