"""A file read in place: only the rows that are shown are ever read, so a log of a gigabyte opens as fast as a short one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from textual import events

from core.format import data_size, percent
from tui.lines import Line
from tui.model.job_files import decode
from tui.widgets.canvas import Canvas
from tui.widgets.pane import framed

CHUNK = 64 * 1024
MOST_BACK = 4 * 1024 * 1024


class FileRows:
    """Rows of a text file by the offset of their first byte."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, offset: int, count: int) -> bytes:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, count, offset)
        finally:
            os.close(descriptor)

    def forward(self, offset: int, rows: int) -> list[tuple[int, str]]:
        """(offset, text) of the rows from one on."""
        data = self.read(offset, CHUNK)
        while data.count(b"\n") < rows and len(data) < MOST_BACK:
            more = self.read(offset + len(data), CHUNK)
            if not more:
                break
            data += more
        found: list[tuple[int, str]] = []
        for line in data.split(b"\n")[:rows]:
            found.append((offset, decode(line)))
            offset += len(line) + 1
        if found and not found[-1][1] and found[-1][0] >= self.size():
            found.pop()
        return found

    def back(self, offset: int, rows: int) -> int:
        """The offset of the row that stands `rows` above the one at `offset`."""
        start, data = offset, b""
        while start > 0 and data.count(b"\n") <= rows and len(data) < MOST_BACK:
            step = min(CHUNK, start)
            start -= step
            data = self.read(start, step) + data
        lines = data.split(b"\n")[:-1] if data.endswith(b"\n") else data.split(b"\n")
        if len(lines) <= rows:
            return start
        return offset - sum(len(line) + 1 for line in lines[-rows:]) + (0 if data.endswith(b"\n") else 1)

    def last(self, rows: int) -> int:
        """The offset from which the newest rows fill the view."""
        return self.back(self.size(), rows)


class FileView(Canvas, can_focus=True):
    """Scrolls through a file in a frame; at its end it follows what is written."""

    def __init__(self) -> None:
        super().__init__(id="file")
        self.file = FileRows(Path(os.devnull))
        self.spoken: Callable[[str], tuple[str, str]] = lambda text: (text, "text")
        """(what is shown of a row, its role)"""
        self.title = Line()
        self.above: Callable[[int], list[Line]] = lambda width: []
        """Rows that stand above the file's, whatever of it is shown."""
        self.following = True
        self.top = 0
        self.left = 0

    def open(
        self,
        path: Path,
        title: Line,
        spoken: Callable[[str], tuple[str, str]],
        *,
        follow: bool,
        above: Callable[[int], list[Line]] = lambda width: [],
    ) -> None:
        self.file, self.title, self.spoken, self.following = FileRows(path), title, spoken, follow
        self.above = above
        self.top = self.left = 0
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        above = self.above(width - 4)[: max(0, height - 5)]
        rows = [*above, *self._rows(width - 4, height - 2 - len(above))]
        size = self.file.size()
        far = "top" if not self.top else f"{percent(self.top / size if size else 0.0)} of {data_size(size)}"
        where = "following" if self.following else far
        title = Line().extend(self.title)
        return framed(rows, width, height, title, Line(where, "dim"), "focus" if self.has_focus else "frame")

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.following:
            self.top = self.file.last(height)
        rows = self.file.forward(self.top, height)
        if not rows:
            return [Line("nothing written yet", "dim")]
        said = (self.spoken(text) for _, text in rows)
        return [Line(text[self.left :], role).cut(width) for text, role in said]

    def scroll_rows(self, step: int) -> None:
        """Up (negative) or down; scrolling up ends following, reaching the end begins it again."""
        height = max(1, self.size.height - 2 - len(self.above(self.size.width - 4)))
        if step < 0:
            self.following = False
            self.top = self.file.back(self.top, -step)
        elif not self.following:
            rows = self.file.forward(self.top, step + height)
            if len(rows) <= height:
                self.following = True
            else:
                self.top = rows[min(step, len(rows) - height)][0]
        self.paint()

    def go(self, end: bool) -> None:
        self.following = end
        self.top = 0
        self.paint()

    def sideways(self, step: int) -> None:
        self.left = max(0, self.left + step)
        self.paint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.scroll_rows(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.scroll_rows(-3)
