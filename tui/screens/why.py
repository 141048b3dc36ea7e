"""What went wrong with a model, from what is on record of a job's lineage: `bakehouse why` as a screen."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.message import Message

from core.text import printable
from tui import actions
from tui.commands import Command, bindings, command
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.failures import ask_beside
from tui.screens.command_screen import CommandScreen
from tui.screens.confirm import Confirm
from tui.widgets.diagnosis_rows import diagnosis_lines
from tui.widgets.footer import Footer
from tui.widgets.rows_view import RowsView

if TYPE_CHECKING:
    from core.diagnosis.diagnosis import Diagnosis


QUEUEING = frozenset({"bakeoff", "deploy", "export", "parity", "stages", "train"})
"""Commands that queue a job and end."""


class WhyScreen(CommandScreen):
    heading = "Why"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "down", "A row down", "j,down", "scroll(1)", rank=0, palette=False),
        command("k ↑", "up", "A row up", "k,up", "scroll(-1)", rank=0, palette=False),
        command("space", "page", "A page down", "space,pagedown,ctrl+f", "page(1)", rank=2, palette=False),
        command("page up", "page", "A page up", "pageup,ctrl+b", "page(-1)", rank=0, palette=False),
        command("g", "top", "The first row", "g,home", "go(False)", rank=0, palette=False),
        command("G", "end", "The last row", "G,end", "go(True)", rank=0, palette=False),
        command("r", "read again", "Read the records again", "r", "read", lambda screen: not screen.busy, rank=1),
        command(
            "t",
            "test",
            "Queue the cheapest test that tells more",
            "t",
            "test",
            lambda screen: screen.test is not None,
            rank=1,
            unless="The records name no test that can be queued.",
        ),
        command("esc", "back", "Back to where it was asked", "escape,q,enter", "app.pop_screen", rank=1),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class Diagnosed(Message):
        """What the records say, or why nothing could be read of them."""

        def __init__(self, found: Diagnosis | None, problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.problem = problem

    def __init__(self, context: Context, job_id: int) -> None:
        super().__init__(context)
        self.job_id = job_id
        self.found: Diagnosis | None = None
        self.problem = ""
        self.busy = False

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield RowsView(id="rows")
        yield from self.last_line()

    def on_mount(self) -> None:
        self.query_one(RowsView).focus()
        self.show(self.context.snapshot)
        if self.context.live:
            self.action_read()

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        self._paint()

    def _paint(self) -> None:
        job = self.context.snapshot.job(self.job_id)
        title = Line(f"Why {self.job_id}", "bold").add("" if job is None else f"  {printable(job.title)}")
        self.query_one(RowsView).update(title, self._rows)
        self.query_one(Footer).paint()

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.problem:
            return [Line(f"✗ {row}", "bad") for row in wrapped(printable(self.problem), width - 2)]
        if self.found is None:
            return [Line("reading the records of the lineage …", "dim")]
        return diagnosis_lines(self.found, width)

    def action_read(self) -> None:
        """In a thread: a lineage can hold thousands of answers."""
        self.busy = True
        ask_beside("why", self._diagnose, lambda line: self.Diagnosed(None, line), self.tell)

    def _diagnose(self) -> Diagnosed:
        from core.diagnosis.diagnosis import diagnose
        from core.store.database import open_database

        with contextlib.closing(open_database(self.context.home)) as connection:
            return self.Diagnosed(diagnose(self.context.home, connection, self.job_id))

    def on_why_screen_diagnosed(self, message: Diagnosed) -> None:
        self.busy, self.problem = False, message.problem
        self.found = message.found or self.found
        self._paint()

    @property
    def test(self) -> list[str] | None:
        """The cheapest test as the words of a command that queues it; None where none does."""
        for test in self.found.tests if self.found is not None else ():
            program, *words = shlex.split(test.command)
            if program == "bakehouse" and words and words[0] in QUEUEING:
                return [word for word in words if word != "--wait"]
        return None

    def action_test(self) -> None:
        words = self.test
        if words is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                actions.run_command(self.context, words)

        command = shlex.join(["bakehouse", *words])
        told = f"{command}. It takes its place in the queue; once it is done, r reads the records again."
        self.app.push_screen(Confirm("Queue the cheapest test?", told, "Queue it"), answered)

    def action_scroll(self, step: int) -> None:
        self.query_one(RowsView).scroll_rows(step)

    def action_page(self, step: int) -> None:
        view = self.query_one(RowsView)
        view.scroll_rows(step * max(1, view.size.height - 3))

    def action_go(self, end: bool) -> None:
        self.query_one(RowsView).go(end)
