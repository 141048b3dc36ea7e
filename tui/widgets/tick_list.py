"""A framed list of rows that are ticked: by space, by a click; arrows, j and k move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from core.text import cell_width
from tui.lines import Line
from tui.widgets.canvas import Canvas
from tui.widgets.pane import framed

MOVES = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -10, "pagedown": 10, "home": -(10**6), "g": -(10**6)}
MOVES |= {"end": 10**6, "G": 10**6}


@dataclass(frozen=True)
class TickRow:
    """One row. Without a `key` it is a heading. `problem` is why it cannot be taken, shown in place of the `note`.

    `fixed`: ticked for good. `inner`: it belongs to the row above.
    """

    key: str
    words: str
    note: str = ""
    ticked: bool = False
    problem: str = ""
    fixed: bool = False
    inner: bool = False


class TickList(Canvas, can_focus=True):
    """Shows the rows that it was last given; what a tick means is for the screen to say."""

    class Ticked(Message):
        """A row is to be ticked, or not any more."""

        def __init__(self, list: TickList, key: str) -> None:
            super().__init__()
            self.list = list
            self.key = key

    class Moved(Message):
        """Another row is selected."""

        def __init__(self, list: TickList) -> None:
            super().__init__()
            self.list = list

    def __init__(self, title: str, *, id: str, unticked: str = "0 ticked") -> None:
        """`unticked` says what nothing ticked means."""
        super().__init__(id=id)
        self.title = title
        self.unticked = unticked
        self.rows: tuple[TickRow, ...] = ()
        self.selected: str | None = None
        self.top = 0
        self.empty = "none"

    def update(self, rows: Sequence[TickRow]) -> None:
        """Other rows; what is selected stays where it is still there."""
        self.rows = tuple(rows)
        keys = self._keys
        if self.selected not in keys:
            self.selected = next((row.key for row in rows if row.key and row.ticked), keys[0] if keys else None)
        self.paint()

    def select(self, key: str) -> None:
        if key in self._keys:
            self.selected = key
            self.paint()
            self.post_message(self.Moved(self))

    @property
    def row(self) -> TickRow | None:
        """The selected one."""
        return next((row for row in self.rows if row.key and row.key == self.selected), None)

    @property
    def _keys(self) -> list[str]:
        return [row.key for row in self.rows if row.key]

    def move(self, step: int) -> None:
        keys = self._keys
        if self.selected in keys:
            self.select(keys[max(0, min(len(keys) - 1, keys.index(self.selected) + step))])

    def draw(self, width: int, height: int) -> list[Line]:
        inner, room = width - 4, max(0, height - 2)
        self._keep_in_sight(room)
        shown = self.rows[self.top : self.top + room]
        column = self._second_column(inner)
        rows = [self._drawn_row(row, inner, column) for row in shown] or [Line(self.empty, "dim")]
        ticked = sum(row.ticked for row in self.rows if row.key)
        right = Line(f"{ticked} ticked" if ticked else self.unticked, "dim")
        if more := len(self.rows) - self.top - room:
            right = Line(f"{more} below · ", "dim").extend(right) if more > 0 else right
        title = Line(self.title, "bold" if self.has_focus else "text")
        return framed(rows, width, height, title, right, "focus" if self.has_focus else "frame")

    def _keep_in_sight(self, room: int) -> None:
        place = next((index for index, row in enumerate(self.rows) if row.key and row.key == self.selected), 0)
        # With the first row its heading comes back into sight.
        above = 1 if place and not self.rows[place - 1].key else 0
        self.top = max(0, min(self.top, place - above), place - room + 1)

    def _second_column(self, width: int) -> int:
        """Where notes begin: behind the longest name, or as far to the left as the longest note takes, up to two thirds."""
        noted = [row for row in self.rows if row.key and (row.note or row.problem)]
        name = max((2 * row.inner + 2 + cell_width(row.words) for row in noted), default=0)
        note = max((cell_width(row.problem or row.note) for row in noted), default=0)
        return min(name, width - 2 - min(note, 2 * width // 3))

    def _drawn_row(self, row: TickRow, width: int, column: int) -> Line:
        if not row.key:
            return Line(row.words, "dim").add(f"  {row.problem}", "warn").cut(width)
        chosen = row.key == self.selected and self.has_focus
        line = Line("  " if row.inner else "", mark="chosen" if chosen else "")
        if row.problem and row.ticked:
            line.add("✗ ", "bad")
        else:
            line.add("✓ " if row.ticked else "· ", "good" if row.ticked else "dim")
        line.add(row.words, "text" if row.ticked or not row.problem else "dim")
        said, role = (row.problem, "bad" if row.ticked else "dim") if row.problem else (row.note, "dim")
        if said:
            line.add(" " * (column - line.width)).add(f"  {said}", role)
        return line.cut(width)

    def on_key(self, event: events.Key) -> None:
        name = event.character if event.character in MOVES else event.key
        if name in MOVES:
            self.move(MOVES[name])
        elif event.key == "space" and self.selected is not None:
            self.post_message(self.Ticked(self, self.selected))
        else:
            return
        event.stop()
        event.prevent_default()

    def on_click(self, event: events.Click) -> None:
        """A click ticks."""
        index = self.top + event.y - 1
        if 1 <= event.y < self.size.height - 1 and 0 <= index < len(self.rows) and self.rows[index].key:
            self.select(self.rows[index].key)
            self.post_message(self.Ticked(self, self.rows[index].key))

    def on_mouse_scroll_down(self) -> None:
        self.move(1)

    def on_mouse_scroll_up(self) -> None:
        self.move(-1)

    def on_focus(self) -> None:
        self.call_later(self.paint)

    def on_blur(self) -> None:
        self.call_later(self.paint)
