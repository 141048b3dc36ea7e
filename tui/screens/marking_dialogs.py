"""The dialogs of marking: the expectations as a person writes them, and the difference that is to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding

from core.errors import BakehouseError
from core.text import printable
from tui.lines import Line, wrapped
from tui.screens.dialog import RowsDialog, key_row
from tui.screens.field_dialog import FieldDialog
from tui.widgets.text_field import TextField

if TYPE_CHECKING:
    from core.config.task import Task

LONGEST = 4_000
"""Characters of expectations: a reference is a whole answer."""
DIFFERENCES = ("0.02", "0.05", "0.10", "0.15", "0.20", "0.30")


class EditExpectations(RowsDialog["dict[str, Any] | None"]):
    """Returns the expectations that were written, or None. They are looked at with each key."""

    question = "What does the input expect?"
    BINDINGS: ClassVar = [Binding("escape", "leave", show=False)]

    def __init__(self, task: Task, text: str) -> None:
        super().__init__()
        self.of_task = task
        self.text = text
        self.problem = ""

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield TextField(id="written", longest=LONGEST)

    def on_mount(self) -> None:
        field = self.query_one(TextField)
        field.value = self.text
        field.focus()
        self.fit()

    def rows(self, width: int) -> list[Line]:
        from core.marking.expectations import asked_keys

        keys = ", ".join(asked_keys(self.of_task)) or "nothing"
        rows = [Line(row) for row in wrapped(printable(f"The checks of {self.of_task.name} ask for {keys}."), width)]
        rows += [Line("Write KEY: VALUE as YAML, such as verdict: PASS, notes: [gate, rope]", "dim"), Line()]
        said, role = (self.problem, "warn") if self.problem else ("✓ can be written", "good")
        rows += [Line(row, role) for row in wrapped(printable(said), width)]
        return [*rows, Line(), key_row(("⏎", "" if self.problem else "take it"), ("esc", "cancel"))]

    def parsed(self) -> Mapping[str, Any] | None:
        """What stands in the field; None, and `problem` why, where it cannot be expected."""
        from core.marking.written_expect import parse_expect

        try:
            found = parse_expect(self.query_one(TextField).value, self.of_task)
        except BakehouseError as error:
            self.problem = error.message + (f"; {error.remedy}" if error.remedy else "")
            return None
        self.problem = ""
        return found

    def on_input_changed(self, event: TextField.Changed) -> None:
        event.stop()
        self.parsed()
        self.fit()

    def on_input_submitted(self, event: TextField.Submitted) -> None:
        event.stop()
        found = self.parsed()
        self.fit()
        if found is not None:
            self.dismiss(dict(found))


class AskDifference(FieldDialog["float | None"]):
    """Returns the difference that is to be shown, or None."""

    question = "Which difference is to be shown?"
    act = "take it"
    written = frozenset({"difference"})

    def __init__(self, task: str, margin: float, present: float) -> None:
        super().__init__()
        self.of_task = task
        self.margin = f"{margin:.2f}"
        self.values = {"difference": f"{present:.2f}"}

    @property
    def fields(self) -> list[str]:
        return ["difference"]

    def options(self, field: str) -> tuple[str, ...]:
        return tuple(sorted({*DIFFERENCES, self.margin, *self.values.values()}))

    def about(self, field: str) -> str:
        return "the task's margin" if self.values["difference"] == self.margin else "of scores from 0 to 1"

    @property
    def number(self) -> float | None:
        try:
            found = float(self.values["difference"].replace(",", "."))
        except ValueError:
            return None
        return found if 0 < found <= 1 else None

    @property
    def problem(self) -> str:
        return "" if self.number is not None else "expected a number above 0, and 1 at the most"

    @property
    def explanation(self) -> list[str]:
        return ["So many inputs are asked for that a difference of this size is found in four of five tests, at 5 %."]

    @property
    def command(self) -> str:
        return f"bakehouse golden needs {self.of_task} --difference {self.values['difference']}"

    def chosen(self) -> float | None:
        return self.number
