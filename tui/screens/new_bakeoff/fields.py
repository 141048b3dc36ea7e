"""The fields of the form: a further candidate, the incumbent, the numbers; and the notes beside them."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from core.text import printable
from tui.lines import Line
from tui.queries.bakeoff_form import FormerBakeoff
from tui.widgets.choice import ChoiceField
from tui.widgets.text_field import TextField
from tui.widgets.text_panel import TextPanel

BY_ITSELF = "default"
"""The first base model, else the first candidate."""
NO, YES = "no", "yes"
NUMBERS = ("repeats", "concurrency")
ABOUT = {
    "repeats": "answers to each input",
    "concurrency": "requests at a time to a server",
    "curtail": "stops a candidate that can't win any more",
}
"""By field, what it means: shown while the field has the focus."""
PLACEHOLDER = "@few_shot=2, or a path, artefact:SHA, …"


class BakeoffFields(Vertical):
    """`add` holds what is not listed. The numbers may be left empty; `extend` is the bake-off that is extended."""

    def __init__(self, extend: int | None) -> None:
        super().__init__(id="form")
        self.border_title = "How they are asked" if extend is None else f"How bake-off {extend} is extended"
        self.usual_repeats = "the task's" if extend is None else "as before"
        self._unnamed: tuple[str, ...] = (BY_ITSELF,)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield _label("add")
            yield TextField(id="add", placeholder=PLACEHOLDER, classes="path")
            yield TextPanel(id="note-add", classes="note")
        with Horizontal(classes="field"):
            yield _label("incumbent")
            yield ChoiceField(id="incumbent")
            yield TextPanel(id="note-incumbent", classes="note")
        with Horizontal(classes="field", id="numbers"):
            yield _label("repeats")
            yield TextField(id="repeats", placeholder=self.usual_repeats, classes="number")
            yield _label("concurrency")
            yield TextField(id="concurrency", placeholder="1", classes="number")
            yield _label("curtail")
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
            key: f"{key}: enter a whole number of at least 1"
            for key in NUMBERS
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
        """Who the others can be compared with; the present one stays while it is there."""
        self.choice("incumbent").offer([*self._unnamed, *names])

    def begin_variant(self) -> None:
        field = self.text("add")
        field.focus()
        field.value = "@"
        self.call_after_refresh(
            field.action_end
        )  # the focus selects all of it, and the next letter would replace the sign

    def paint_notes(self, add: Line, incumbent: str) -> None:
        """`incumbent` is whom the others will be compared with, where that is known."""
        self.query_one("#note-add", TextPanel).update([add])
        whom = printable(incumbent) if incumbent and self.incumbent is None else "it"
        self.query_one("#note-incumbent", TextPanel).update([Line(f"the others are compared with {whom}", "dim")])
        wrong = next(iter(self.wrong_numbers), "")
        focused = self.screen.focused.id if self.screen.focused is not None else None
        note = Line(f"✗ {wrong}", "bad") if wrong else Line(ABOUT.get(focused or "", ""), "dim")
        self.query_one("#note-numbers", TextPanel).update([note])


def _label(key: str) -> TextPanel:
    panel = TextPanel(id=f"label-{key}", classes="label")
    panel.rows = [Line(key, "dim")]
    return panel
