"""A widget that draws rows of text and sends to the terminal only the cells that changed."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.lines import Line


def changed_span(old: Strip, new: Strip) -> tuple[int, int] | None:
    """First and last-but-one cell in which two rows of the same width differ; None when they are alike."""
    if old == new:
        return None
    ours, theirs = list(old), list(new)
    start = 0
    while ours and theirs and ours[0] == theirs[0]:
        start += ours.pop(0).cell_length
        theirs.pop(0)
    end = new.cell_length
    while ours and theirs and ours[-1] == theirs[-1]:
        end -= ours.pop().cell_length
        theirs.pop()
    return start, end


class Canvas(Widget):
    """Subclasses say what stands in each row; `paint` compares it with what is on the screen."""

    DEFAULT_CSS = "Canvas { height: 1; }"
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.strips: list[Strip] = []

    def draw(self, width: int, height: int) -> Sequence[Line]:
        """The rows, from the top; missing ones are blank, further ones are dropped."""
        raise NotImplementedError

    def _drawn(self) -> list[Strip]:
        width, height = self.size
        ansi = self.app.native_ansi_color
        lines = list(self.draw(width, height))[:height]
        lines += [Line() for _ in range(height - len(lines))]
        return [line.strip(width, ansi) for line in lines]

    def _fits(self, strips: list[Strip]) -> bool:
        return len(strips) == self.size.height and (not strips or strips[0].cell_length == self.size.width)

    def paint(self) -> None:
        """Draw anew and refresh what differs."""
        if not (self.size and self.is_attached):
            return
        former, self.strips = self.strips, self._drawn()
        if not self._fits(former):
            self.refresh()
            return
        regions = [
            Region(span[0], y, span[1] - span[0], 1)
            for y, (old, new) in enumerate(zip(former, self.strips, strict=True))
            if (span := changed_span(old, new))
        ]
        if regions:
            self.refresh(*regions)

    def on_resize(self) -> None:
        self.paint()

    def render_line(self, y: int) -> Strip:
        if not self._fits(self.strips):
            # The first time, and before a new size was told: what is drawn now need not be drawn again then.
            self.strips = self._drawn()
        return self.strips[y]

    @property
    def text(self) -> str:
        """What one reads on it."""
        return "\n".join(strip.text.rstrip() for strip in self.strips)
