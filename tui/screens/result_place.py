"""Where one is in the results of a bake-off: which view, task, candidates, input and repeat; and how keys move there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.scoring.passing import passes
from core.wording.matrix import by_standing
from tui.model.answers import Answers
from tui.model.snapshot import Board, RankedCandidate
from tui.screens.result_answers import shown_repeat

View = Literal["matrix", "stages", "board", "inputs", "answers"]


@dataclass
class ResultPlace:
    """Names stand for candidates and tasks: their rows differ from board to board. None of `repeat`: the worst of each."""

    boards: tuple[Board, ...] = ()
    """Of the bake-off, a task each, under the scores that are shown."""
    view: View | None = None
    """None: there is nothing to show yet."""
    came_from: View = "board"
    """Where the answers were opened from."""
    inputs_from: View = "board"
    """Where the table of inputs was opened from."""
    task: str | None = None
    name: str | None = None
    """The candidate that is selected; None: the first."""
    compared: str | None = None
    """Whom it is compared with; None: the best, or the next one of the best itself."""
    position: int = 0
    repeat: int | None = None
    example: tuple[str, str, int] = ("", "", -1)
    """Task, candidate, and which of its failure modes was shown last."""
    top: int = 0
    worst: bool = False
    part: str | None = None
    marks_differences: bool = False
    whole: bool = False
    """The table of the board and its notes have the whole screen, without checks and answers below."""

    @property
    def board(self) -> Board | None:
        return next(
            (board for board in self.boards if board.task == self.task), self.boards[0] if self.boards else None
        )

    @property
    def selected(self) -> int:
        """The row of the selected candidate on the board of the task."""
        return self.row_of(self.name)

    def row_of(self, name: str | None) -> int:
        """The row of a candidate on the board of the task; the first one of whom it does not have."""
        names = [one.name for one in self.board.candidates] if self.board else []
        return names.index(name) if name in names else 0

    @property
    def candidate(self) -> RankedCandidate | None:
        board = self.board
        return board.candidates[self.selected] if board is not None and board.candidates else None

    @property
    def pair(self) -> list[RankedCandidate]:
        """The one it is compared with, and the selected candidate; the best stands at the left of the next."""
        board, candidate = self.board, self.candidate
        if board is None or candidate is None:
            return []
        others = [other for other in board.candidates if other is not candidate]
        chosen = next((other for other in others if other.name == self.compared), None)
        if chosen is not None:
            return [chosen, candidate]
        return [*others[:1], candidate] if candidate is not board.candidates[0] else [candidate, *others[:1]]

    @property
    def shown_part(self) -> str:
        parts = self.board.parts if self.board else ()
        return self.part if self.part in parts else parts[0] if parts else "format"

    @property
    def matrix_place(self) -> tuple[int, int]:
        """(row, column) of the selected candidate and task in the matrix; zeros without one."""
        board = self.board
        if board is None or board.matrix is None:
            return 0, 0
        order = by_standing(board.matrix)
        row = order.index(self.name) if self.name in order else 0
        return row, board.matrix.tasks.index(board.task) if board.task in board.matrix.tasks else 0

    @property
    def stage(self) -> int:
        """The row of the selected candidate among the stages; the first one of whom is none."""
        table = self.board.stages if self.board else None
        names = [row.name for row in table.rows] if table else []
        return names.index(self.name) if self.name in names else 0

    def select_stage(self, row: int) -> None:
        """A stage by its row; beyond the ends the last one."""
        table = self.board.stages if self.board else None
        if table is not None:
            self.name = table.rows[max(0, min(row, len(table.rows) - 1))].name

    def show(self, view: View) -> None:
        if view == "answers" and self.view in ("board", "inputs"):
            self.came_from = self.view
        if view == "inputs" and self.view in ("matrix", "stages", "board"):
            self.inputs_from = self.view
        if self.view == "matrix" and self.name is None:
            self.select_in_matrix(*self.matrix_place)
        if self.view == "stages" and self.name is None:
            self.select_stage(self.stage)
        self.view, self.top = view, 0

    def opened(self) -> View | None:
        """What opens from the selected row or cell."""
        following: dict[View | None, View] = {
            "matrix": "board",
            "stages": "board",
            "board": "answers",
            "inputs": "answers",
        }
        return following.get(self.view)

    def before(self) -> View | None:
        """Where this view was opened from; None: it is the first."""
        first = self.first_view
        if self.view == "answers":
            return self.came_from
        if self.view == "inputs":
            return self.inputs_from if first != "board" else "board"
        return first if self.view != first and self.view in ("board", "stages") else None

    @property
    def first_view(self) -> View:
        """What the results open on: the matrix of several tasks, the stages of an adapter, else the board."""
        board = self.board
        if board is None or (board.matrix is None and board.stages is None):
            return "board"
        return "stages" if board.matrix is None else "matrix"

    def select(self, row: int) -> None:
        """A candidate by its row on the board."""
        board = self.board
        if board is not None and 0 <= row < len(board.candidates):
            self.name = board.candidates[row].name

    def select_in_matrix(self, row: int, column: int) -> None:
        """A cell by its row and column; beyond the ends the last one."""
        matrix = self.board.matrix if self.board else None
        if matrix is None:
            return
        order = by_standing(matrix)
        self.name = order[max(0, min(row, len(order) - 1))]
        self.task = matrix.tasks[max(0, min(column, len(matrix.tasks) - 1))]

    def select_cell(self, row: int, column: int) -> None:
        """An input and a candidate of the table of inputs; beyond the ends the last one."""
        board = self.board
        if board is not None and board.input_ids and board.candidates:
            self.to_input(max(0, min(row, len(board.input_ids) - 1)))
            self.select(max(0, min(column, len(board.candidates) - 1)))

    def to_input(self, position: int) -> None:
        self.position, self.top, self.repeat = position, 0, None

    def move(self, down: int, right: int) -> None:
        """By arrow keys, in the view that is shown."""
        if self.view == "matrix":
            row, column = self.matrix_place
            self.select_in_matrix(row + down, column + right)
        elif self.view == "stages" and not right:
            self.select_stage(self.stage + down)
        elif self.view == "inputs":
            self.select_cell(self.position + down, self.selected + right)
        elif right:
            self.next_input(right)
        elif self.view == "answers":
            self.top = max(0, self.top + down)
        elif self.board is not None:
            self.select(max(0, min(len(self.board.candidates) - 1, self.selected + down)))

    def next_input(self, step: int) -> None:
        if self.board and self.board.input_ids:
            self.to_input((self.position + step) % len(self.board.input_ids))

    def next_task(self, step: int) -> None:
        board = self.board
        if board is not None:
            at = self.boards.index(board)
            self.name = self.name or (self.candidate.name if self.candidate else None)
            self.task = self.boards[(at + step) % len(self.boards)].task
            self.to_input(0)

    def next_candidate(self, step: int) -> None:
        """The selected one of the two that are compared: the next that is not the other."""
        pair = self.pair
        if self.board is not None and len(pair) == 2:
            self.compared = next(one.name for one in pair if one is not self.candidate)
            self.name = self._next(self.name, self.compared, step)
            self.top = 0

    def next_compared(self, step: int) -> None:
        """The other one of the two: the next that is not the selected one."""
        pair, candidate = self.pair, self.candidate
        if candidate is not None and len(pair) == 2:
            other = next(one.name for one in pair if one is not candidate)
            self.name = candidate.name
            self.compared = self._next(other, candidate.name, step)
            self.top = 0

    def _next(self, name: str | None, without: str, step: int) -> str:
        names = [one.name for one in self.board.candidates] if self.board else []
        rest = [one for one in names if one != without]
        at = rest.index(name) if name in rest else 0
        return rest[(at + step) % len(rest)]

    def next_failed(self) -> None:
        """The next input that the candidate does not pass."""
        board, candidate = self.board, self.candidate
        if board is None or candidate is None:
            return
        count = len(board.input_ids)
        for step in range(1, count + 1):
            position = (self.position + step) % count
            marks = [check.worst[position] for check in candidate.checks if position < len(check.worst)]
            if any(mark is not None and not passes(mark) for mark in marks):
                self.to_input(position)
                return

    def next_example(self, answers: Answers | None) -> None:
        """The answer that shows the candidate's next failure mode best, of the most frequent first."""
        candidate, board = self.candidate, self.board
        if board is None or candidate is None or not candidate.modes:
            return
        before = self.example[2] if self.example[:2] == (board.task, candidate.name) else -1
        number = (before + 1) % len(candidate.modes)
        mode = candidate.modes[number]
        if mode.input_id not in board.input_ids:
            return
        self.to_input(board.input_ids.index(mode.input_id))
        stored = [one.repeat for one in (answers or {}).get((candidate.name, mode.input_id), ())]
        self.repeat = stored.index(mode.repeat) if mode.repeat in stored else None
        self.name, self.example = candidate.name, (board.task, candidate.name, number)

    def next_repeat(self, answers: Answers | None) -> None:
        board, candidate = self.board, self.candidate
        if board is None or candidate is None or not answers or not board.input_ids:
            return
        repeats = answers.get((candidate.name, board.input_ids[self.position]), ())
        if repeats:
            self.repeat = (shown_repeat(repeats, self.repeat) + 1) % len(repeats)
            self.top = 0

    def next_part(self) -> None:
        parts = self.board.parts if self.board else ()
        if parts:
            self.part = parts[(parts.index(self.shown_part) + 1) % len(parts)]
