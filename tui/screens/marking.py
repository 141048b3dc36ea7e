"""Marking: which of two answers is right? The names are told after the mark, and a right answer becomes a golden input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.message import Message

from core.text import printable
from tui.commands import ENDS, Command, bindings, command, scrolling
from tui.context import Context
from tui.lines import Line
from tui.queries import marking
from tui.queries.failures import ask_beside
from tui.queries.marking import MarkingAnswer, MarkingView
from tui.screens.confirm import Confirm
from tui.screens.marking_dialogs import AskDifference, EditExpectations
from tui.screens.marking_rows import marking_rows, title_right, told_line
from tui.screens.rows_screen import RowsScreen, problem_rows

if TYPE_CHECKING:
    from core.marking.session import Decision

AUTHOR = "console"
WIDE = 100
"""Columns from which on the title says in which order pairs come."""


def has_offer(screen: Any) -> bool:
    return screen.view is not None and screen.view.offer is not None


def can_undo(screen: Any) -> bool:
    return screen.view is not None and bool(screen.view.decided)


def is_read(screen: Any) -> bool:
    return screen.view is not None


NOTHING = "Nothing is left to mark."
NOT_READ = "The answers are not read yet."


class MarkingScreen(RowsScreen):
    heading = "Marking"
    commands: ClassVar[tuple[Command, ...]] = (
        command(
            "h ←", "left", "The answer on the left is right", "h,left", "mark('left')", has_offer, 1, unless=NOTHING
        ),
        command(
            "l →", "right", "The answer on the right is right", "l,right", "mark('right')", has_offer, 1, unless=NOTHING
        ),
        command("b", "both", "Both are right", "b", "mark('both')", has_offer, 1, unless=NOTHING),
        command("n", "neither", "Neither is right", "n", "mark('neither')", has_offer, 1, unless=NOTHING),
        command("s", "skip", "Skip this input", "s", "mark('skip')", has_offer, 2, unless=NOTHING),
        command("e", "expect", "Write what the input expects", "e", "edit", has_offer, 2, unless=NOTHING),
        command(
            "u",
            "undo",
            "Take back what was decided last, until others have written the golden file",
            "u",
            "undo",
            can_undo,
            1,
            unless="Nothing was decided on this screen.",
        ),
        command(
            "t",
            "difference",
            "The difference that is to be shown",
            "t",
            "difference",
            is_read,
            3,
            "diff",
            unless=NOT_READ,
        ),
        command(
            "o",
            "order",
            "Offer by use, each third by chance; or by chance alone",
            "o",
            "order",
            is_read,
            4,
            unless=NOT_READ,
        ),
        *scrolling(page_rank=4),
        *ENDS,
        command("esc", "done", "Back; every mark is stored already", "escape,q", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class Answered(Message):
        """What came of a question."""

        def __init__(self, answer: MarkingAnswer) -> None:
            super().__init__()
            self.answer = answer

    def __init__(self, context: Context, job_id: int | None, task: str | None = None) -> None:
        """`job_id` None: the job of the task that is marked next."""
        super().__init__(context)
        self.job_id = job_id
        self.of_task = task
        self.view: MarkingView | None = None
        self.busy = False
        self.problem = ""
        self.told = Line()
        self.expect: dict[str, Any] | None = None
        """What the person wrote for the input that is offered."""
        self.decision: Decision | None = None
        """The decision that was asked for last."""

    @property
    def takes_keys(self) -> bool:
        """A mark is of what is shown: the next key waits until that is known."""
        return not self.busy

    def begin(self) -> None:
        context, job_id, task = self.context, self.job_id, self.of_task
        self._ask(lambda: marking.read_marking(context.home, context.find_project, job_id, task))

    @property
    def rows_title(self) -> Line:
        title = Line("Marking ", "bold")
        if self.view is None:
            return title.add(printable(self.of_task or ""), "bold")
        title.add(printable(self.view.session.task.name), "bold")
        order = title_right(self.view, whole=self.app.size.width >= WIDE)
        return title.add(f"  job {self.view.session.job.job_id}, {order}", "dim")

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.problem:
            return problem_rows(self.problem, width)
        if self.view is None:
            return [Line("reading the answers …", "dim")]
        return marking_rows(self.view, self.expect, self.told, width, height)

    def _ask(self, read: Callable[[], MarkingAnswer]) -> None:
        """In a thread: files and database are read and written."""
        if self.busy:
            return
        self.busy = True
        ask_beside(
            "marking",
            lambda: self.Answered(read()),
            lambda line: self.Answered(MarkingAnswer(None, line, failed=True)),
            self.tell,
        )

    def on_marking_screen_answered(self, message: Answered) -> None:
        answer, before = message.answer, self.view
        self.busy = False
        if answer.view is None and before is None:
            self.problem = answer.told
        if answer.view is not None:
            self.view, self.problem = answer.view, ""
            if before is None or before.offer != answer.view.offer:
                self.expect = None
                self.scrolled.top = 0
        self.told = told_line(answer.told, answer.failed) if answer.told else Line()
        self._paint()
        if answer.code == "shipped_task":
            self._ask_copy()
        elif answer.code == "open_expectations" and self.decision is not None:
            self._edit(self.decision)

    def _ask_copy(self) -> None:
        """The golden file that comes with Bakehouse is never written."""
        view = self.view
        assert view is not None
        task = view.session.task.name

        def answered(yes: bool | None) -> None:
            if yes:
                context, job_id = self.context, self.job_id
                self._ask(lambda: marking.copy_and_read(context.home, context.find_project, job_id, task))

        explanation = (
            f"The task {task} comes with Bakehouse, and its golden inputs are never written. Its files are copied into the "
            "project, which uses its own from then on."
        )
        self.app.push_screen(Confirm(f"Copy {task} into the project?", explanation, "Copy"), answered)

    def action_mark(self, decision: Decision) -> None:
        from core.runner.client import author

        view, home, expect = self.view, self.context.home, self.expect
        self.decision = decision
        if view is not None and view.offer is not None:
            self._ask(lambda: marking.mark_offer(home, view, decision, expect, author(AUTHOR)))

    def action_undo(self) -> None:
        view, home = self.view, self.context.home
        if view is not None and view.decided:
            self._ask(lambda: marking.undo_last(home, view))

    def action_edit(self) -> None:
        self._edit(None)

    def _edit(self, decision: Decision | None) -> None:
        """Have the expectations written. With a decision they are what it lacked, and it is carried out with them."""
        from core.marking.written_expect import expect_text

        view = self.view
        if view is None or view.offer is None or view.expected is None:
            return
        left, right = view.expected
        begun = {"left": left, "right": right}.get(decision or "", min(left, right, key=lambda one: len(one.missing)))
        text = expect_text(begun.values, begun.missing) if self.expect is None else expect_text(self.expect)

        def answered(expect: dict[str, Any] | None) -> None:
            if expect is None:
                return
            self.expect = expect
            self._paint()
            if decision is not None:
                self.action_mark(decision)

        self.app.push_screen(EditExpectations(view.session.task, text), answered)

    def action_difference(self) -> None:
        view = self.view
        if view is None:
            return

        def answered(difference: float | None) -> None:
            if difference is not None and self.view is not None:
                now = self.view
                self._ask(lambda: marking.change_session(now, difference=difference))

        task = view.session.task
        self.app.push_screen(AskDifference(task.name, task.margin, view.needs.difference), answered)

    def action_order(self) -> None:
        view = self.view
        if view is not None:
            self._ask(lambda: marking.change_session(view, only_random=not view.session.only_random))
