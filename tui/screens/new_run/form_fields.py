"""The fields of the form on the screen: each with its label and with what is said beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from tui.lines import Line
from tui.queries.catalogue import Catalogue
from tui.screens.new_run.fields import (
    AS_WRITTEN,
    AUTO,
    CHOICES,
    LABELS,
    NUMBERS,
    RunForm,
    checked,
    note_rows,
    written,
)
from tui.widgets.choice import ChoiceField
from tui.widgets.text_field import TextField
from tui.widgets.text_panel import TextPanel

if TYPE_CHECKING:
    from core.config.recipe import Recipe

FIXED_COLUMNS = 15 + 24 + 5  # the label, the value, the frame
MOST_NOTE_ROWS = 5
ROWS = len(LABELS) + 3
"""The height while nothing is said beside the fields: a row each, `thinking`, and the frame."""


class FormFields(Vertical):
    """Holds what is written; whoever shows it checks it, and says what is to stand beside each field."""

    def __init__(self) -> None:
        super().__init__(id="form")
        self.border_title = "New training run"

    def compose(self) -> ComposeResult:
        for key, label in {**LABELS, "thinking": "thinking"}.items():
            with Horizontal(classes="field"):
                said = TextPanel(id=f"label-{key}", classes="label")
                said.rows = [Line(label, "dim")]
                yield said
                if key == "thinking":
                    yield TextPanel(id="thinking", classes="value")
                elif key == "batch":
                    with Horizontal(classes="value"):
                        yield TextField(id="batch_size", classes="part")
                        yield TextPanel(id="times")
                        yield TextField(id="accumulation", classes="part")
                elif key in NUMBERS:
                    yield TextField(id=key)
                else:
                    yield ChoiceField(id=key)
                yield TextPanel(id=f"note-{key}", classes="note")

    def on_mount(self) -> None:
        self.choice("fit").offer([AS_WRITTEN, AUTO])
        self.query_one("#times", TextPanel).rows = [Line("×", "dim")]

    def choice(self, key: str) -> ChoiceField:
        return self.query_one(f"#{key}", ChoiceField)

    def number(self, key: str) -> TextField:
        return self.query_one(f"#{key}", TextField)

    def fill(self, recipe: Recipe) -> None:
        """Write the recipe's own values into the fields."""
        for key in NUMBERS:
            self.number(key).value = written(getattr(recipe, key))
        self.choice("fit").offer([AS_WRITTEN, AUTO], AUTO if recipe.fit else AS_WRITTEN)

    def read(self, catalogue: Catalogue) -> RunForm:
        """What is written, with what is wrong in it."""
        task, model, recipe = (self.choice(key).value for key in CHOICES)
        numbers = {key: self.number(key).value for key in NUMBERS}
        return checked(catalogue, task, model, recipe, self.choice("fit").value, numbers)

    @property
    def note_width(self) -> int:
        """Columns beside a field."""
        return max(20, self.app.size.width - FIXED_COLUMNS)

    def show_notes(self, form: RunForm, notes: Mapping[str, str], thinking: str) -> int:
        """Show what is said beside each field, and return the height that the form needs for it."""
        self.query_one("#thinking", TextPanel).update([Line(thinking)])
        heights = [self._show_note(key, note_rows(key, form, notes[key], self.note_width)) for key in notes]
        self.styles.height = sum(heights) + 2
        return sum(heights) + 2

    def _show_note(self, key: str, rows: Sequence[Line]) -> int:
        note = self.query_one(f"#note-{key}", TextPanel)
        note.update(list(rows[:MOST_NOTE_ROWS]))
        height = max(1, min(MOST_NOTE_ROWS, len(rows)))
        note.styles.height = height
        if note.parent is not None:
            note.parent.styles.height = height
        return height
