"""The fields of the form: a further candidate, who the others are measured against, the numbers; and the notes beside."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from tui.lines import Line
from tui.queries.bakeoff_form import FormerBakeoff
from tui.widgets.choice import ChoiceField
from tui.widgets.text_field import TextField
from tui.widgets.text_panel import TextPanel

BY_ITSELF = "the base model"
NO, YES = "no", "yes"
NUMBERS = {"repeats": "repeats", "concurrency": "at a time"}
PLACEHOLDER = "@few_shot=2, or a path, artefact:SHA, …"


class BakeoffFields(Vertical):
    """`add` holds what is not listed; the numbers may be empty, which leaves them to the task."""

    def __init__(self, title: str) -> None:
        super().__init__(id="form")
        self.border_title = title
        self._unnamed: tuple[str, ...] = (BY_ITSELF,)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield _label("add", "add")
            yield TextField(id="add", placeholder=PLACEHOLDER, classes="path")
            yield TextPanel(id="note-add", classes="note")
        with Horizontal(classes="field"):
            yield _label("incumbent", "measured against")
            yield ChoiceField(id="incumbent")
            yield TextPanel(id="note-incumbent", classes="note")
        with Horizontal(classes="field", id="numbers"):
            yield _label("repeats", NUMBERS["repeats"])
            yield TextField(id="repeats", placeholder="the task's", classes="number")
            yield _label("concurrency", NUMBERS["concurrency"])
            yield TextField(id="concurrency", placeholder="1", classes="number")
            yield _label("curtail", "curtail")
            yield ChoiceField(id="curtail")
            yield TextPanel(id="note-numbers", classes="note")

    def on_mount(self) -> None:
        self.choice("incumbent").offer([BY_ITSELF])
        self.choice("curtail").offer([NO, YES])

    def text(self, key: str) -> TextField:
        return self.query_one(f"#{key}", TextField)

    def choice(self, key: str) -> ChoiceField:
        return self.query_one(f"#{key}", ChoiceField)

    @property
    def added(self) -> str:
        """What is written into `add`."""
        return self.text("add").value.strip()

    @property
    def incumbent(self) -> str | None:
        value = self.choice("incumbent").value
        return None if value == BY_ITSELF else value

    @property
    def curtails(self) -> bool:
        return self.choice("curtail").value == YES

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers that are written and can be taken."""
        texts = {key: self.text(key).value.strip() for key in NUMBERS}
        return {key: int(text) for key, text in texts.items() if text.isdecimal() and text.isascii() and int(text) > 0}

    @property
    def wrong_numbers(self) -> dict[str, str]:
        """Why the others can't be taken, by field."""
        return {
            key: f"{label}: enter a whole number of at least 1"
            for key, label in NUMBERS.items()
            if self.text(key).value.strip() and key not in self.numbers
        }

    def begin_with(self, former: FormerBakeoff) -> None:
        """What an extended bake-off was asked with stands there; what is not changed stays."""
        if former.incumbent is not None:
            self._unnamed = ()  # an extension keeps it, or names another one
            self.choice("incumbent").offer(list(former.candidates), former.incumbent)
        self.choice("curtail").offer([NO, YES], YES if former.curtail else NO)
        self.text("concurrency").placeholder = str(former.concurrency)
        if former.repeats is not None:
            self.text("repeats").placeholder = str(former.repeats)

    def offer_incumbents(self, names: Sequence[str]) -> None:
        """Who the others can be measured against; the present one stays while it is there."""
        self.choice("incumbent").offer([*self._unnamed, *names])

    def begin_variant(self) -> None:
        field = self.text("add")
        field.focus()
        field.value = "@"
        self.call_after_refresh(
            field.action_end
        )  # the focus selects all of it, and the next letter would replace the sign

    def paint_notes(self, add: Line) -> None:
        self.query_one("#note-add", TextPanel).update([add])
        against = Line("by which the others are judged, task by task", "dim")
        self.query_one("#note-incumbent", TextPanel).update([against])
        wrong = next(iter(self.wrong_numbers), "")
        note = Line(f"✗ {NUMBERS[wrong]}", "bad") if wrong else Line("who can't win is not asked on", "dim")
        self.query_one("#note-numbers", TextPanel).update([note if wrong or self.curtails else Line()])


def _label(key: str, text: str) -> TextPanel:
    panel = TextPanel(id=f"label-{key}", classes="label")
    panel.rows = [Line(text, "dim")]
    return panel
