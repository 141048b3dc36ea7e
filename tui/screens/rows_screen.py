"""A screen of rows that scroll: its widgets, its keys, and when the rows are painted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.widget import Widget

from core.text import printable
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.snapshot import Snapshot
from tui.screens.command_screen import CommandScreen
from tui.widgets.file_view import FileView
from tui.widgets.footer import Footer
from tui.widgets.rows_view import RowsView


def problem_rows(problem: str, width: int) -> list[Line]:
    """Why something is not known or was not done, in as many rows of `width` cells as all of it takes."""
    return [Line(f"✗ {row}", "bad") for row in wrapped(printable(problem), width - 2)]


class ScrollingScreen(CommandScreen):
    """What the keys of `tui.commands.scrolling` and `ENDS` do."""

    @property
    def scrolled(self) -> RowsView | FileView:
        raise NotImplementedError

    def action_scroll(self, step: int) -> None:
        self.scrolled.scroll_rows(step)

    def action_page(self, step: int) -> None:
        self.action_scroll(step * max(1, self.scrolled.size.height - 3))

    def action_go(self, end: bool) -> None:
        self.scrolled.go(end)


class RowsScreen(ScrollingScreen):
    """Subclasses say what the rows are (`_rows`, `rows_title`), what stands above and below them, and what is read first
    (`begin`). They must not have an `on_mount` of their own: Textual would call both."""

    rows_id: ClassVar[str] = "rows"

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield from self.above_rows()
        yield RowsView(id=self.rows_id)
        yield from self.below_rows()
        yield from self.last_line()

    def above_rows(self) -> Iterable[Widget]:
        return ()

    def below_rows(self) -> Iterable[Widget]:
        return ()

    def on_mount(self) -> None:
        self.first_focus.focus()
        self.show(self.context.snapshot)
        if self.context.live:
            self.begin()

    def begin(self) -> None:
        """Ask for what the screen shows: called once, when it stands, of a console that is live."""

    @property
    def scrolled(self) -> RowsView:
        return self.query_one(RowsView)

    @property
    def first_focus(self) -> Widget:
        """What has the focus when the screen is opened."""
        return self.scrolled

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        self._paint()

    def _paint(self) -> None:
        self.scrolled.update(self.rows_title, self._rows)
        self.query_one(Footer).paint()

    @property
    def rows_title(self) -> Line:
        raise NotImplementedError

    def _rows(self, width: int, height: int) -> list[Line]:
        """For so many columns and rows of room."""
        raise NotImplementedError


class WatchingScreen(RowsScreen):
    """Reads what it shows again when something has changed (`watched`), and not while it still reads: what changes meanwhile is
    seen with the next snapshot. `action_read` sets `reading`, and whoever takes the answer clears it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.reading = False
        self.seen: object = None
        """What was watched when this was read last."""

    def watched(self, snapshot: Snapshot) -> object:
        """By default the states of the jobs: not each step of a training, for what is read may be bake-offs."""
        return [(job.id, job.state) for job in snapshot.jobs]

    def action_read(self) -> None:
        raise NotImplementedError

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        now = self.watched(snapshot)
        if self.context.live and not self.reading and now != self.seen:
            self.seen = now
            self.action_read()
