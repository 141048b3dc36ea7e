"""A field of a form whose value is one of a few names: arrows choose, a letter jumps."""

from __future__ import annotations

from textual import events
from textual.message import Message

from tui.lines import Line
from tui.widgets.canvas import Canvas


class ChoiceField(Canvas, can_focus=True):
    """`‹ judge ›` with the focus, `judge ▾` without."""

    class Changed(Message):
        """Another name is chosen."""

        def __init__(self, field: ChoiceField) -> None:
            super().__init__()
            self.field = field

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.names: list[str] = []
        self.index = 0

    @property
    def value(self) -> str:
        return self.names[self.index] if self.names else ""

    def offer(self, names: list[str], value: str | None = None) -> None:
        """The names to choose from; the present value stays when it is among them."""
        wanted = value or self.value
        self.names = names
        self.index = names.index(wanted) if wanted in names else 0
        self.paint()

    def choose(self, index: int) -> None:
        if self.names and index % len(self.names) != self.index:
            self.index = index % len(self.names)
            self.post_message(self.Changed(self))
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        if not self.names:
            return [Line("…", "dim")]
        if self.has_focus:
            return [Line(f"‹ {self.value} ›", "chosen bold").cut(width)]
        return [Line(self.value).add(" ▾", "dim").cut(width)]

    def on_key(self, event: events.Key) -> None:
        if event.key in ("left", "right"):
            self.choose(self.index + (1 if event.key == "right" else -1))
        elif event.key == "space":
            self.choose(self.index + 1)
        elif event.is_printable and event.character and event.character.isalnum():
            letter = event.character.lower()
            count = len(self.names)
            for step in range(1, count + 1):
                if self.names[(self.index + step) % count].lower().startswith(letter):
                    self.choose(self.index + step)
                    break
        else:
            return
        event.stop()
        event.prevent_default()

    def on_focus(self) -> None:
        self.call_later(self.paint)  # the widget learns whether it has the focus after this

    def on_blur(self) -> None:
        self.call_later(self.paint)

    def on_click(self) -> None:
        if self.has_focus:
            self.choose(self.index + 1)
