"""A dialog of a few fields, each of which is turned through what it can be, with the command that does the same below them."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding

from core.text import printable
from tui.lines import Line, wrapped
from tui.screens.dialog import RowsDialog, key_row
from tui.widgets.text_field import LONGEST, TextField

T = TypeVar("T")
VALUE = 12
"""Where values begin."""


class FieldDialog(RowsDialog[T]):
    """Subclasses say what the fields are, what they can be, what is wrong, and what comes of ⏎."""

    BINDINGS: ClassVar = [
        Binding("enter,y", "start", show=False),
        Binding("escape,q", "leave", show=False),
        Binding("down,j,tab", "move(1)", show=False),
        Binding("up,k,shift+tab", "move(-1)", show=False),
        Binding("right,l,space", "turn(1)", show=False),
        Binding("left,h", "turn(-1)", show=False),
        Binding("e", "write", show=False),
    ]
    AUTO_FOCUS = ""
    act = "queue it"
    """What ⏎ does, in the row of the keys."""
    about_at = 36
    """Where the notes beside the values begin."""
    written: ClassVar[frozenset[str]] = frozenset()
    """Fields whose value can be written as well."""
    longest = LONGEST
    """Characters of what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.index = 0

    @property
    def fields(self) -> list[str]:
        """Those that can be chosen, in their order."""
        raise NotImplementedError

    def options(self, field: str) -> tuple[str, ...]:
        """What a field can be."""
        raise NotImplementedError

    def about(self, field: str) -> str:
        """What stands beside a field."""
        return ""

    def value(self, field: str) -> str:
        """A field's value, for people."""
        return self.values[field]

    @property
    def problem(self) -> str:
        """Why this cannot be queued yet; empty where it can."""
        return ""

    @property
    def explanation(self) -> list[str]:
        """What will happen, a paragraph each."""
        return []

    @property
    def command(self) -> str:
        """The command that asks for the same."""
        raise NotImplementedError

    def chosen(self) -> T:
        """What was asked for."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield from super().compose()
        if self.written:
            yield TextField(id="written", longest=self.longest)

    def on_mount(self) -> None:
        for field in self.query(TextField):
            field.display = False
        self.fit()

    def rows(self, width: int) -> list[Line]:
        self.index = min(self.index, len(self.fields) - 1)
        rows = [self._row(number, field, width).cut(width) for number, field in enumerate(self.fields)]
        rows += [Line(), *(Line(row, "text") for text in self.explanation for row in wrapped(printable(text), width))]
        rows += [Line()] if self.explanation else []
        problem = self.problem
        said, role = (problem, "warn") if problem else (self.command, "dim")
        rows += [Line(row, role) for row in wrapped(printable(said), width)]
        field = self.fields[self.index]
        keys = key_row(
            ("⏎", "" if problem else self.act),
            ("j k", "row"),
            ("h l", "value" if len(self.options(field)) > 1 else ""),
            ("e", "write it" if field in self.written else ""),
            ("esc", "cancel"),
        )
        return [*rows, Line(), keys]

    def _row(self, number: int, field: str, width: int) -> Line:
        marked = number == self.index
        value = printable(self.value(field) or "…")
        line = Line("▸ " if marked else "  ", "focus").add(field).to(VALUE)
        line.add(
            f"◂ {value} ▸" if marked and len(self.options(field)) > 1 else f"  {value}", "bold" if marked else "text"
        )
        if (note := self.about(field)) and line.width + 2 + len(note) <= width:
            line.to(min(max(line.width + 2, self.about_at), width - len(note))).add(note, "dim")
        return line

    @property
    def is_writing(self) -> bool:
        """A value is being written."""
        return any(field.has_focus for field in self.query(TextField))

    def action_move(self, step: int) -> None:
        if self.is_writing:
            self._take_written(self.query_one("#written", TextField).value.strip())
        self.index = (self.index + step) % len(self.fields)
        self.fit()

    def action_turn(self, step: int) -> None:
        field = self.fields[self.index]
        options = self.options(field)
        if options:
            value = self.values[field]
            at = options.index(value) if value in options else -step
            self.values[field] = options[(at + step) % len(options)]
            self.turned(field)
            self.index = self.fields.index(field)
            self.fit()

    def turned(self, field: str) -> None:
        """A value was chosen or written: others may follow from it."""

    def action_write(self) -> None:
        field = self.fields[self.index]
        if field in self.written:
            text = self.query_one("#written", TextField)
            text.value, text.display = self.values[field], True
            text.focus()

    def on_input_submitted(self, event: TextField.Submitted) -> None:
        event.stop()
        self._take_written(event.value.strip())

    def _take_written(self, text: str | None) -> None:
        self.query_one("#written", TextField).display = False
        if text:
            field = self.fields[self.index]
            self.values[field] = text
            self.turned(field)
        self.set_focus(None)
        self.fit()

    def action_leave(self) -> None:
        if self.is_writing:
            self._take_written(None)
        else:
            super().action_leave()

    def action_start(self) -> None:
        if not self.problem:
            self.dismiss(self.chosen())
