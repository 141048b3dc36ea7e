"""A question before something that cannot be taken back. It names what it is about, and the safe answer has the focus."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from core.text import printable
from tui.screens.dialog import Dialog


class Confirm(Dialog[bool]):
    """Returns True only when the act was chosen."""

    BINDINGS: ClassVar = [
        Binding("escape,n,q", "answer(False)", "leave it", show=False),
        Binding("y", "answer(True)", "do it", show=False),
        Binding("left,h,shift+tab", "app.focus_previous", show=False),
        Binding("right,l,tab", "app.focus_next", show=False),
    ]

    def __init__(self, question: str, explanation: str, act: str, leave: str = "Cancel") -> None:
        super().__init__()
        self.question, self.explanation = printable(question), printable(explanation)
        self.act = act
        self.leave = leave

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(self.question, id="question", markup=False)
            yield Static(self.explanation, id="explanation", markup=False)
            with Horizontal(id="buttons"):
                yield Button(self.leave, id="leave", compact=True)
                yield Button(self.act, id="act", compact=True)
            hint = f"⏎ takes the marked one   y {self.act.lower()}   esc {self.leave.lower()}"
            yield Static(hint, id="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#leave").focus()
        self._mark()

    def on_descendant_focus(self) -> None:
        self._mark()

    def _mark(self) -> None:
        """A sign beside the focused answer: a monochrome terminal shows no other colour."""
        for button, label in (
            (self.query_one("#leave", Button), self.leave),
            (self.query_one("#act", Button), self.act),
        ):
            button.label = Content(f"{'▸' if button.has_focus else ' '} {label}")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "act")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
