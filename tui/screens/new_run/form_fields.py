"""The fields of the form on the screen: each with its label and with what is said beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll

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
    row_of,
    written,
)
from tui.screens.new_run.frames import FRAMES
from tui.widgets.choice import ChoiceField
from tui.widgets.text_field import TextField
from tui.widgets.text_panel import TextPanel

if TYPE_CHECKING:
    from core.config.recipe import Recipe

FIXED_COLUMNS = 15 + 24 + 5  # the label, the value, the frame
MOST_NOTE_ROWS = 5
ROWS = len(LABELS) + 3
"""The height while nothing is said beside the fields: a row each, `thinking`, and the frame."""


class FormFields(VerticalScroll, can_focus=False):
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
        focused = self.screen.focused
        if isinstance(focused, TextField):
            focused.action_select_all()  # what is typed next replaces the new value as it would have the old one

    def apply(self, changed: Mapping[str, Any]) -> None:
        """Write other values than the recipe's over them; what is no key of the form any more is passed over."""
        for key, value in changed.items():
            if key in NUMBERS and isinstance(value, int | float):
                self.number(key).value = written(value)
            elif key == "fit":
                self.choice("fit").offer([AS_WRITTEN, AUTO], AUTO if value else AS_WRITTEN)

    def read(self, catalogue: Catalogue) -> RunForm:
        """What is written, with what is wrong in it."""
        task, model, recipe = (self.choice(key).value for key in CHOICES)
        numbers = {key: self.number(key).value for key in NUMBERS}
        return checked(catalogue, task, model, recipe, self.choice("fit").value, numbers)

    @property
    def note_width(self) -> int:
        """Columns beside a field."""
        return max(20, self.app.size.width - FIXED_COLUMNS)

    def show_notes(self, form: RunForm, notes: Mapping[str, str], thinking: str, room: int) -> int:
        """Show what is said beside each field, and return the height that the form takes of `room` rows for it.

        Where a frame below would have no room beside all that is said, a field that is right and has no focus says one row.
        """
        self.query_one("#thinking", TextPanel).update([Line(thinking)])
        rows = {key: note_rows(key, form, notes[key], self.note_width)[:MOST_NOTE_ROWS] for key in notes}
        if sum(max(1, len(found)) for found in rows.values()) + 2 > room - FRAMES["memory"]:
            wrong = {row_of(key) for key in form.problems}
            focused = row_of(self.screen.focused.id or "") if self.screen.focused is not None else ""
            for key in rows.keys() - wrong - {focused}:
                rows[key] = [Line(notes[key], "dim").cut(self.note_width)]
        height = min(room, sum(self._show_note(key, found) for key, found in rows.items()) + 2)
        self.styles.height = height
        return height

    def _show_note(self, key: str, rows: Sequence[Line]) -> int:
        note = self.query_one(f"#note-{key}", TextPanel)
        note.update(list(rows))
        height = max(1, len(rows))
        note.styles.height = height
        if note.parent is not None:
            note.parent.styles.height = height
        return height
