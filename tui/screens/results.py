"""A bake-off in full: who is better and how sure that is, which checks cost points, and the answers themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message

from core.format import SCORE_SCALE, when
from core.text import printable
from core.wording.scoring import scoring_label
from tui import actions
from tui.commands import Command, bindings, command
from tui.context import Context
from tui.lines import Line
from tui.model.answers import Answers, read_answers
from tui.model.snapshot import Board, RankedCandidate, Snapshot
from tui.queries.failures import ask_beside
from tui.screens import result_rows
from tui.screens.command_screen import CommandScreen
from tui.widgets.canvas import Canvas
from tui.widgets.footer import Footer
from tui.widgets.pane import framed

ONE_ONLY = "There is one leaderboard only."


class Panel(Canvas):
    """A framed part of the screen; the screen says what stands in it."""

    def draw(self, width: int, height: int) -> list[Line]:
        screen = self.screen
        assert isinstance(screen, Results)
        title, right, rows = screen.panel(str(self.id), width - 4, height - 2)
        return framed(rows, width, height, title, right, "focus" if self.id == "table" else "frame")

    def on_click(self, event: events.Click) -> None:
        """In the table a click selects a candidate."""
        screen = self.screen
        assert isinstance(screen, Results)
        if self.id == "table":
            screen.select(event.y - 2)


class Results(CommandScreen):
    heading = "Bake-off"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "candidate", "The next candidate", "j,down", "candidate(1)", rank=1, palette=False),
        command("k ↑", "before", "The candidate before", "k,up", "candidate(-1)", rank=0, palette=False),
        command("→ n", "input", "The next golden input", "right,n", "input(1)", rank=1),
        command("← p", "input before", "The golden input before", "left,p", "input(-1)", rank=0),
        command("f", "next failed", "The next input that this candidate does not pass", "f", "failed", rank=1),
        command("r", "repeat", "The next repeat of this answer; the worst is shown first", "r", "repeat", rank=1),
        command(
            "l",
            "next bake-off",
            "The next bake-off",
            "l,tab",
            "turn(1)",
            lambda screen: screen.several,
            unless=ONE_ONLY,
        ),
        command(
            "h",
            "bake-off before",
            "The bake-off before",
            "h,shift+tab",
            "turn(-1)",
            lambda screen: screen.several,
            rank=0,
            unless=ONE_ONLY,
        ),
        command("space", "scroll", "Further rows of the answers", "space,pagedown", "scroll(8)", rank=2),
        command("page up", "scroll back", "Back in the answers", "pageup", "scroll(-8)", rank=0),
        command("R", "rescore", "Rescore with the current checks", "R", "rescore", rank=3),
        command(
            "s",
            "scores",
            "The original scores, or those of the newest rescoring",
            "s",
            "scores",
            lambda screen: screen.was_rescored,
            rank=2,
            unless="This bake-off was not rescored: R rescores it with the current checks.",
        ),
        command("esc", "back", "Back to the dashboard", "escape,q,enter", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class AnswersRead(Message):
        def __init__(self, job_id: int, number: int, answers: Answers, inputs: Mapping[str, str]) -> None:
            super().__init__()
            self.job_id = job_id
            self.number = number
            self.answers = answers
            self.inputs = inputs

    def __init__(self, context: Context, job_id: int) -> None:
        super().__init__(context)
        self.job_id = job_id
        self.selected = 0
        self.position = 0
        self.repeat: int | None = None
        """Which repeat is shown of each candidate; None: its worst."""
        self.top = 0
        self.answers: Answers | None = None
        self.inputs: Mapping[str, str] = {}
        self.read_for: Board | None = None
        self.shows_original = False

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield Panel(id="table")
        with Horizontal(id="below"):
            yield Panel(id="checks")
            yield Panel(id="answers")
        yield from self.last_line()

    @property
    def board(self) -> Board | None:
        """The leaderboard that is shown: by the newest scores, or by the original ones where a person asked for them."""
        newest = self.snapshot.board(self.job_id)
        return newest.original if newest is not None and newest.original is not None and self.shows_original else newest

    @property
    def was_rescored(self) -> bool:
        newest = self.snapshot.board(self.job_id)
        return newest is not None and newest.original is not None

    @property
    def several(self) -> bool:
        return len(self.snapshot.boards or ()) > 1

    @property
    def candidate(self) -> RankedCandidate | None:
        board = self.board
        if board is None or not board.candidates:
            return None
        return board.candidates[min(self.selected, len(board.candidates) - 1)]

    def on_mount(self) -> None:
        self.show(self.context.snapshot)

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        board = self.board
        height = self.app.size.height
        rows = len(board.candidates) + 4 if board else 6
        notes = len(result_rows.note_rows(board, self.app.size.width - 6, self.snapshot.time)) if board else 0
        self.query_one("#table").styles.height = max(7, min(rows + notes, height * 55 // 100))
        width = self.app.size.width
        checks = self.query_one("#checks")
        checks.display = width >= 100
        inputs = len(board.input_ids) if board else 0
        # The answers get what the marks of the checks do not need: two of them side by side want the room.
        checks.styles.width = max(48, min(width // 2, inputs + 36))

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        board = self.board
        if board is not None and self.read_for is not board:  # answers came in, or other scores are shown
            self.read_for = board
            self._read()
        self._arrange()
        self._paint()

    def _paint(self) -> None:
        for panel in self.query(Panel):
            panel.paint()
        self.query_one(Footer).paint()

    def panel(self, name: str, width: int, height: int) -> tuple[Line, Line, list[Line]]:
        """Title, note and rows of one panel."""
        board, candidate = self.board, self.candidate
        if board is None or candidate is None:
            problem = board.problem if board else ""
            text = problem or ("no answers yet" if board else "working it out …")
            return (
                Line("Bake-off", "bold"),
                Line(),
                [Line(printable(text), "bad" if problem else "dim")] if name == "table" else [],
            )
        if name == "table":
            title = Line(f"Bake-off {board.job_id}", "bold").add(f" {printable(board.task)}", "bold")
            if label := scoring_label(board.scored, self.snapshot.time):
                title.add(f"  {label}", "warn")
            title.add(
                f"  {len(board.input_ids)} inputs × {board.repeats}, paired, 95 %, scores 0 to {SCORE_SCALE}", "dim"
            )
            right = result_rows.title_of(board).add(f" · {when(board.time, self.snapshot.time)}", "dim")
            rows = result_rows.table_rows(board, self.selected, width, height)
            notes = result_rows.note_rows(board, width, self.snapshot.time)
            return title, right, [*rows, Line(), *notes]
        if name == "checks":
            return Line("Checks"), Line(), result_rows.check_rows(candidate, width, height)
        pair = self._pair(board, candidate) if width >= 60 else [candidate]
        rows = result_rows.answer_rows(board, pair, self.position, self.answers, self.inputs, self.repeat, width)
        head, body = rows[:3], rows[3:]
        self.top = max(0, min(self.top, len(body) - (height - 3)))
        note = (
            Line(f"further rows: {len(body) - self.top - height + 3}", "dim")
            if len(body) - self.top > height - 3
            else Line()
        )
        return Line("Answers"), note, [*head, *body[self.top :]]

    def _pair(self, board: Board, candidate: RankedCandidate) -> list[RankedCandidate]:
        """The selected candidate beside the best one; the best beside the next."""
        others = [other for other in board.candidates if other is not candidate]
        return [*others[:1], candidate] if candidate is not board.candidates[0] else [candidate, *others[:1]]

    def _read(self) -> None:
        """The answers and the golden inputs, in a thread."""
        board = self.board
        if not self.context.live or board is None:
            return
        job_id, home, number = self.job_id, self.context.home, board.scored.number

        def read() -> Results.AnswersRead:
            answers, inputs = read_answers(home, job_id, number)
            return self.AnswersRead(job_id, number, answers, inputs)

        # Nothing is told of a failure: the table says what is wrong with this bake-off.
        ask_beside("answers", read, lambda line: None, self.tell)

    def on_results_answers_read(self, message: AnswersRead) -> None:
        board = self.board
        if board is not None and (message.job_id, message.number) == (self.job_id, board.scored.number):
            self.answers, self.inputs = message.answers, message.inputs
            self._paint()

    def action_candidate(self, step: int) -> None:
        count = len(self.board.candidates) if self.board else 0
        self.select(max(0, min(count - 1, self.selected + step)))

    def select(self, index: int) -> None:
        if self.board and 0 <= index < len(self.board.candidates):
            self.selected = index
            self._paint()

    def action_input(self, step: int) -> None:
        if self.board and self.board.input_ids:
            self.position = (self.position + step) % len(self.board.input_ids)
            self.top, self.repeat = 0, None
            self._paint()

    def action_failed(self) -> None:
        board, candidate = self.board, self.candidate
        if board is None or candidate is None:
            return
        count = len(board.input_ids)
        for step in range(1, count + 1):
            position = (self.position + step) % count
            marks = [check.worst[position] for check in candidate.checks if position < len(check.worst)]
            if any(mark is not None and mark < 0.999 for mark in marks):
                self.position, self.top, self.repeat = position, 0, None
                break
        self._paint()

    def action_repeat(self) -> None:
        board, candidate = self.board, self.candidate
        if board is None or candidate is None or not self.answers or not board.input_ids:
            return
        repeats = self.answers.get((candidate.name, board.input_ids[self.position]), ())
        if repeats:
            self.repeat = (result_rows.shown_repeat(repeats, self.repeat) + 1) % len(repeats)
            self.top = 0
            self._paint()

    def action_scroll(self, step: int) -> None:
        self.top = max(0, self.top + step)
        self._paint()

    def action_turn(self, step: int) -> None:
        boards = list(self.snapshot.boards or ())
        index = next((i for i, board in enumerate(boards) if board.job_id == self.job_id), 0)
        self.job_id = boards[(index + step) % len(boards)].job_id
        self.selected = self.position = self.top = 0
        self.repeat = None
        self.answers = None
        self.shows_original = False
        self.show(self.snapshot)

    def action_scores(self) -> None:
        self.shows_original = not self.shows_original
        self.answers = None
        self.show(self.snapshot)

    def action_rescore(self) -> None:
        actions.rescore(self.context, self.job_id)
