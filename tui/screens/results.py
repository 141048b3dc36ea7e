"""A bake-off in full: who is better and how sure that is, at each task, on each input, and the answers themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message

from core.text import printable
from tui import actions
from tui.commands import Command, bindings
from tui.context import Context
from tui.lines import Line
from tui.model.answers import AnswerRead, Answers, read_answers
from tui.model.snapshot import Board, RankedCandidate, Snapshot
from tui.queries.failures import ask_beside
from tui.screens import result_panels, result_rows
from tui.screens.command_screen import CommandScreen
from tui.screens.result_answers import shown_repeat
from tui.screens.result_commands import COMMANDS
from tui.screens.result_matrix import Grid
from tui.screens.result_panels import Panelled, Texts
from tui.screens.result_place import ResultPlace, View
from tui.widgets.canvas import Canvas
from tui.widgets.footer import Footer
from tui.widgets.pane import framed

if TYPE_CHECKING:
    from core.results.answer_diff import AnswerDiff

FRESH_SECONDS = 60.0
"""How old the answers of servers may be when the results are opened."""
SHORT = 8_000
"""Characters of two answers that are compared at once; longer ones are compared in a thread."""
DiffKey = tuple[str, str, str, int, str, int]
"""(task, input, candidate and repeat of each)"""


class Panel(Canvas):
    """A framed part of the screen; the screen says what stands in it."""

    def draw(self, width: int, height: int) -> list[Line]:
        screen = self.screen
        assert isinstance(screen, Results)
        title, right, rows = screen.panel(str(self.id), width - 4, height - 2)
        return framed(rows, width, height, title, right, "focus" if self.id == "table" else "frame")

    def on_click(self, event: events.Click) -> None:
        """In the table a click selects a candidate or a cell, a further one opens it."""
        screen = self.screen
        assert isinstance(screen, Results)
        if self.id == "table":
            screen.clicked(event.x - 2, event.y - 1)


class Results(CommandScreen):
    heading = "Bake-off"
    commands: ClassVar[tuple[Command, ...]] = COMMANDS
    BINDINGS: ClassVar = bindings(COMMANDS)

    class AnswersRead(Message):
        def __init__(self, of_board: tuple[int, str, int], answers: Answers, inputs: Mapping[str, str]) -> None:
            super().__init__()
            self.of_board = of_board
            """(bake-off, task, number of its scores)"""
            self.answers = answers
            self.inputs = inputs

    class Compared(Message):
        def __init__(self, key: DiffKey, diff: AnswerDiff) -> None:
            super().__init__()
            self.key = key
            self.diff = diff

    def __init__(self, context: Context, job_id: int) -> None:
        super().__init__(context)
        self.job_id = job_id
        self.place = ResultPlace()
        self.texts = Texts()
        self.read_for: tuple[RankedCandidate, ...] | None = None
        self.diffs: dict[DiffKey, AnswerDiff | None] = {}
        """None: is being compared."""
        self.shows_original = False
        self.grid: Grid | None = None
        """Which cells of matrix or inputs are shown."""

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield Panel(id="table")
        with Horizontal(id="below"):
            yield Panel(id="checks")
            yield Panel(id="answers")
        yield from self.last_line()

    @property
    def view(self) -> View | None:
        return self.place.view

    @property
    def board(self) -> Board | None:
        return self.place.board

    @property
    def was_rescored(self) -> bool:
        return any(board.original is not None for board in self.snapshot.boards_of(self.job_id))

    @property
    def bakeoffs(self) -> list[int]:
        """The bake-offs that there are leaderboards of."""
        return list(dict.fromkeys(board.job_id for board in self.snapshot.boards or ()))

    @property
    def several(self) -> bool:
        return len(self.bakeoffs) > 1

    def on_mount(self) -> None:
        self.context.reader.staleness.ask_again(older_than=FRESH_SECONDS)
        self.show(self.context.snapshot)

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        board = self.board
        below = self.query_one("#below")
        below.display = self.view in (None, "board") and not self.place.whole
        table = self.query_one("#table").styles
        if not below.display:
            table.height = "1fr"
            return
        height = self.app.size.height
        rows = len(board.candidates) + 4 if board else 6
        notes = len(result_rows.note_rows(board, self.app.size.width - 6, self.snapshot.time)) if board else 0
        table.height = max(7, min(rows + notes, height * 55 // 100))
        width = self.app.size.width
        checks = self.query_one("#checks")
        checks.display = width >= 100
        inputs = len(board.input_ids) if board else 0
        # The answers get what the marks of the checks do not need: two of them side by side want the room.
        checks.styles.width = max(48, min(width // 2, inputs + 36))

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        newest = snapshot.boards_of(self.job_id)
        place = self.place
        place.boards = tuple(board.original or board for board in newest) if self.shows_original else newest
        board = place.board
        if board is not None and place.view is None:
            place.view = place.first_view
        # Answers came in, or other scores or another task are shown; what has changed since makes no other answers.
        rows = None if board is None else board.candidates
        if rows is not self.read_for:
            self.read_for = rows
            self._read()
        self._arrange()
        self._paint()

    def _paint(self) -> None:
        for panel in self.query(Panel):
            panel.paint()
        self.query_one(Footer).paint()

    def panel(self, name: str, width: int, height: int) -> Panelled:
        """Title, note and rows of one panel."""
        place, now = self.place, self.snapshot.time
        board, candidate = place.board, place.candidate
        if board is None or candidate is None:
            problem = board.problem if board else ""
            text = problem or ("no answers yet" if board else "working it out …")
            rows = [Line(printable(text), "bad" if problem else "dim")] if name == "table" else []
            return Line("Bake-off", "bold"), Line(), rows
        if name == "checks":
            return result_panels.checks_panel(candidate, width, height)
        if name == "answers" or place.view == "answers":
            title = Line("Answers") if name == "answers" else result_panels.title_of(place, board, now)
            return result_panels.answers_panel(place, board, self.texts, self._compare, title, width, height)
        if place.view == "matrix" and board.matrix is not None:
            drawn, self.grid = result_panels.matrix_panel(place, board, now, width, height)
            return drawn
        if place.view == "stages" and board.stages is not None:
            self.grid = None
            return result_panels.stages_panel(place, board, now, width, height)
        if place.view == "inputs" and board.input_ids:
            drawn, self.grid = result_panels.inputs_panel(place, board, self.texts, now, width, height)
            return drawn
        self.grid = None
        return result_panels.board_panel(place, board, now, width, height)

    def _compare(
        self, task: str, input_id: str, one: tuple[str, AnswerRead], other: tuple[str, AnswerRead]
    ) -> AnswerDiff | None:
        """Two answers compared: at once where they are short, else as soon as a thread has done it."""
        from core.results.answer_diff import diff_answers

        texts = one[1].text, other[1].text
        key = (task, input_id, one[0], one[1].repeat, other[0], other[1].repeat)
        if key not in self.diffs:
            self.diffs[key] = None
            if sum(map(len, texts)) <= SHORT:
                self.diffs[key] = diff_answers(*texts)
            else:
                ask_beside("diff", lambda: self.Compared(key, diff_answers(*texts)), lambda line: None, self.tell)
        return self.diffs[key]

    def on_results_compared(self, message: Compared) -> None:
        self.diffs[message.key] = message.diff
        self._paint()

    def _read(self) -> None:
        """The answers and the golden inputs, in a thread."""
        board = self.board
        self.diffs = {}
        if not self.context.live or board is None:
            return
        of_board, home = (self.job_id, board.task, board.scored.number), self.context.home

        def read() -> Results.AnswersRead:
            answers, inputs = read_answers(home, of_board[0], of_board[2], of_board[1])
            return self.AnswersRead(of_board, answers, inputs)

        # Nothing is told of a failure: the table says what is wrong with this bake-off.
        ask_beside("answers", read, lambda line: None, self.tell)

    def on_results_answers_read(self, message: AnswersRead) -> None:
        board = self.board
        if board is not None and message.of_board == (self.job_id, board.task, board.scored.number):
            self.texts = Texts(message.answers, message.inputs)
            self._paint()

    def _moved(self) -> None:
        """Draw what a key or a click has changed; the answers of another task are read first."""
        if self.board is not None and self.board.candidates is not self.read_for:
            self.texts = Texts()
        self.show(self.snapshot)

    def clicked(self, x: int, y: int) -> None:
        """A click at these cells of the table: selects, and opens what was selected already."""
        place = self.place
        before = (place.name, place.task, place.position)
        if place.view in ("board", "stages"):
            place.select(y - 1) if place.view == "board" else place.select_stage(y - 1)
            self._moved()
            return
        found = None if self.grid is None or place.view == "answers" else self.grid.clicked(x, y)
        if found is None:
            return
        column, row = found
        if place.view == "matrix":
            place.select_in_matrix(row, place.matrix_place[1] if column is None else column)
        else:
            place.select_cell(row, place.selected if column is None else column)
        if (place.name, place.task, place.position) == before:
            self.action_enter()
        else:
            self._moved()

    def action_vertical(self, step: int) -> None:
        self.place.move(step, 0)
        self._moved()

    def action_horizontal(self, step: int) -> None:
        self.place.move(0, step)
        self._moved()

    def action_view(self, view: View) -> None:
        self.place.show(view)
        self._moved()

    def action_enter(self) -> None:
        if (view := self.place.opened()) is not None:
            self.action_view(view)

    def action_back(self) -> None:
        if (view := self.place.before()) is not None:
            self.action_view(view)
        else:
            self.app.pop_screen()

    def action_input(self, step: int) -> None:
        self.place.next_input(step)
        self._moved()

    def action_task(self, step: int) -> None:
        self.place.next_task(step)
        self._moved()

    def action_candidate(self, step: int) -> None:
        self.place.next_candidate(step)
        self._moved()

    def action_compare(self, step: int) -> None:
        self.place.next_compared(step)
        self._moved()

    def action_differences(self) -> None:
        if self.view == "inputs":
            self.place.show("answers")
            self.place.marks_differences = True
        else:
            self.place.marks_differences = not self.place.marks_differences
        self.place.top = 0
        self._moved()

    def action_failed(self) -> None:
        self.place.next_failed()
        self._moved()

    def action_example(self) -> None:
        self.place.next_example(self.texts.answers)
        self._moved()

    def action_repeat(self) -> None:
        self.place.next_repeat(self.texts.answers)
        self._moved()

    def action_worst(self) -> None:
        self.place.worst = not self.place.worst
        self._moved()

    def action_zoom(self) -> None:
        self.place.whole, self.place.top = not self.place.whole, 0
        self._moved()

    def action_part(self) -> None:
        self.place.next_part()
        self._moved()

    def action_scroll(self, step: int) -> None:
        if self.view in ("matrix", "inputs"):
            self.place.move(step, 0)
        else:
            self.place.top = max(0, self.place.top + step)
        self._moved()

    def action_turn(self, step: int) -> None:
        jobs = self.bakeoffs
        index = jobs.index(self.job_id) if self.job_id in jobs else 0
        self.job_id = jobs[(index + step) % len(jobs)]
        self.place, self.texts = ResultPlace(), Texts()
        self.shows_original = False
        self.show(self.snapshot)

    def action_scores(self) -> None:
        self.shows_original = not self.shows_original
        self.texts = Texts()
        self.show(self.snapshot)

    def action_ask(self) -> None:
        self.context.reader.staleness.ask_again()

    def action_extend(self) -> None:
        from tui.screens.new_bakeoff import NewBakeoff

        self.app.push_screen(NewBakeoff(self.context, extend=self.job_id))

    @property
    def shown_answer(self) -> tuple[str, str, int] | None:
        """Candidate, input and repeat of the selected answer; None where none is shown."""
        board, candidate, answers = self.board, self.place.candidate, self.texts.answers
        if board is None or candidate is None or not board.input_ids or answers is None:
            return None
        input_id = board.input_ids[self.place.position]
        repeats = answers.get((candidate.name, input_id), ())
        return (candidate.name, input_id, repeats[shown_repeat(repeats, self.place.repeat)].repeat) if repeats else None

    def action_marking(self) -> None:
        from tui.screens.marking import MarkingScreen

        if self.board is not None:
            self.app.push_screen(MarkingScreen(self.context, self.job_id, self.board.task))

    def action_drafts(self) -> None:
        from tui.screens.start_drafts import ask_drafts

        board, pair = self.board, [one.name for one in self.place.pair]
        if board is not None and len(pair) == 2:
            names = [one.name for one in board.candidates]
            ask_drafts(self.app, self.context, self.job_id, board.task, names, pair)

    def action_golden(self) -> None:
        from tui.screens.add_golden import ask_golden

        if self.board is not None and (shown := self.shown_answer) is not None:
            ask_golden(self.app, self.context, self.job_id, self.board.task, *shown)

    def action_judge(self) -> None:
        actions.ask_judges(self.context, self.job_id)

    def action_rescore(self) -> None:
        actions.rescore(self.context, self.job_id)
