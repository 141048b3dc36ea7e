"""The keys that work on the screen below, made from its commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui.commands import Command
from tui.lines import Line
from tui.widgets.canvas import Canvas
from tui.widgets.pane import framed

MOUSE = "The mouse selects, too; every act has a command as well: bakehouse --help"


class HelpRows(Canvas):
    def __init__(self, heading: str, commands: Sequence[Command]) -> None:
        super().__init__(id="help")
        self.heading = heading
        self.commands = commands
        self.top = 0

    def draw(self, width: int, height: int) -> list[Line]:
        rows = [Line(f"{item.shown:>9}  ", "bold").add(item.help) for item in self.commands]
        rows += [Line(), Line(MOUSE, "dim")]
        self.top = max(0, min(self.top, len(rows) - (height - 2)))
        shown = [row.cut(width - 4) for row in rows[self.top : self.top + height - 2]]
        more = len(rows) - self.top - len(shown)
        right = Line("j k scroll · esc back" if more or self.top else "esc back", "dim")
        return framed(shown, width, height, Line(f"Keys · {self.heading}", "bold"), right, "focus")


class Help(ModalScreen[None]):
    BINDINGS: ClassVar = [
        Binding("escape,q,question_mark,enter", "dismiss", "back", show=False),
        Binding("j,down,pagedown", "scroll(1)", "down", show=False),
        Binding("k,up,pageup", "scroll(-1)", "up", show=False),
    ]

    def __init__(self, heading: str, commands: Sequence[Command]) -> None:
        super().__init__()
        self.heading = heading
        self.commands = commands

    def compose(self) -> ComposeResult:
        with Vertical(id="help-frame"):
            yield HelpRows(self.heading, self.commands)

    def on_mount(self) -> None:
        self.query_one("#help").styles.height = min(len(self.commands) + 4, self.app.size.height - 2)

    def action_scroll(self, step: int) -> None:
        rows = self.query_one(HelpRows)
        rows.top += step
        rows.paint()

    async def action_dismiss(self, result: None = None) -> None:
        self.dismiss(result)
