"""What is put before another screen and left again: once, however often it is asked to go."""

from __future__ import annotations

from typing import Any, TypeVar

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen

from tui.lines import Line
from tui.widgets.canvas import Canvas
from tui.widgets.pane import framed

T = TypeVar("T")


def leave_once(screen: Screen[Any], leave: Any, result: Any) -> AwaitComplete:
    """Dismiss a screen by `leave`, Textual's own way, unless it has gone already.

    A double click, or a key on the heels of a click, asks twice. The second time would give the answer again, and take the
    screen below along: the dashboard at last, and the console with it.
    """
    done: AwaitComplete = leave(result) if screen.app.screen is screen else AwaitComplete()
    return done


class Dialog(ModalScreen[T]):
    """A question, or a text to read."""

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        return leave_once(self, super().dismiss, result)


class DialogRows(Canvas):
    """The rows of a dialog, which makes them for each width, in a frame with its question."""

    def draw(self, width: int, height: int) -> list[Line]:
        dialog = self.screen
        assert isinstance(dialog, RowsDialog)
        rows = [row.cut(width - 4) for row in dialog.rows(width - 4)]
        if len(rows) > height - 2:
            rows = [*rows[: height - 3], rows[-1]]  # the keys stay
        return framed(rows, width, height, Line(dialog.question, "bold"), Line(), "focus")


class RowsDialog(Dialog[T]):
    """A question over rows that change with what is chosen: as high as they are, as far as the terminal goes."""

    question = ""

    def rows(self, width: int) -> list[Line]:
        """The last one names the keys (`key_row`)."""
        return []

    def compose(self) -> ComposeResult:
        yield DialogRows(id="plan")

    def fit(self) -> None:
        canvas = self.query_one(DialogRows)
        width = min(84, self.app.size.width * 96 // 100)
        canvas.styles.height = min(len(self.rows(width - 4)) + 2, self.app.size.height - 2)
        canvas.paint()

    def on_resize(self) -> None:
        self.fit()

    def action_leave(self) -> None:
        self.dismiss(None)


def key_row(*keys: tuple[str, str]) -> Line:
    """The keys that work in a dialog, with what they do; those that do nothing now have no label."""
    line = Line()
    for key, label in keys:
        if label:
            line.add(key, "bold").add(f" {label}   ", "dim")
    return line
