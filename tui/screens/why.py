"""What went wrong with a model, from what is on record of a job's lineage: `bakehouse why` as a screen."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from core.text import printable
from tui import actions
from tui.commands import ENDS, Command, bindings, command, scrolling
from tui.context import Context
from tui.lines import Line
from tui.queries.failures import ask_beside
from tui.screens.confirm import Confirm
from tui.screens.rows_screen import RowsScreen, problem_rows
from tui.widgets.diagnosis_rows import diagnosis_lines

if TYPE_CHECKING:
    from core.diagnosis.diagnosis import Diagnosis


QUEUEING = frozenset({"bakeoff", "deploy", "export", "parity", "stages", "train"})
"""Commands that queue a job and end."""


class WhyScreen(RowsScreen):
    heading = "Why"
    commands: ClassVar[tuple[Command, ...]] = (
        *scrolling(page_rank=2),
        *ENDS,
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

    def begin(self) -> None:
        self.action_read()

    @property
    def rows_title(self) -> Line:
        job = self.context.snapshot.job(self.job_id)
        return Line(f"Why {self.job_id}", "bold").add("" if job is None else f"  {printable(job.title)}")

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.problem:
            return problem_rows(self.problem, width)
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
