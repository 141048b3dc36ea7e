"""What stands in the panels of the results screen, view by view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.format import SCORE_SCALE, plural, when
from core.text import printable
from core.wording.matrix import by_standing
from core.wording.scoring import scoring_label
from tui.lines import Line
from tui.model.answers import AnswerRead, Answers
from tui.model.snapshot import Board, RankedCandidate
from tui.panes.bakeoff import stale_label
from tui.screens import result_answers, result_inputs, result_matrix, result_rows, result_stages
from tui.screens.result_place import ResultPlace

if TYPE_CHECKING:
    from core.results.answer_diff import AnswerDiff

BESIDE = 60
"""Columns from which two answers stand beside each other."""
LEAST_OF_BOARD = 6
"""Candidates of the selected task's board that are worth showing below the matrix."""
HEAD = 3
"""Rows of an answer that stay when it is scrolled."""
Panelled = tuple[Line, Line, list[Line]]
"""Title, note at the right, rows."""


@dataclass
class Texts:
    """The answers to the task that is shown, and what they were asked; None: being read. `compare` gives the difference of
    two of them, or None while that is worked out."""

    answers: Answers | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)


Compare = Callable[[str, str, tuple[str, AnswerRead], tuple[str, AnswerRead]], "AnswerDiff | None"]
"""(task, input, each candidate with its answer); None while the difference is worked out."""


def checks_panel(candidate: RankedCandidate, width: int, height: int) -> Panelled:
    return Line("Checks"), Line(), result_rows.check_rows(candidate, width, height)


def board_panel(place: ResultPlace, board: Board, now: float, width: int, height: int) -> Panelled:
    title = title_of(place, board, now)
    title.add(f"  {len(board.input_ids)} inputs × {board.repeats}, paired, 95 %, scores 0 to {SCORE_SCALE}", "dim")
    right = result_rows.title_of(board).add(f" · {when(board.time, now)}", "dim")
    rows = result_rows.table_rows(board, place.selected, width, height)
    rows += [Line(), *result_rows.note_rows(board, width, now, None if place.whole else height - len(rows) - 1)]
    if place.whole:
        place.top = max(0, min(place.top, len(rows) - height))
        rows = rows[place.top :]
    if (further := len(rows) - height) > 0:
        how = "space" if place.whole else "z"
        rows = [*rows[: height - 1], Line(f"… {plural(further + 1, 'further row')}: {how}", "warn")]
    return title, right, rows


def matrix_panel(
    place: ResultPlace, board: Board, now: float, width: int, height: int
) -> tuple[Panelled, result_matrix.Grid]:
    """All tasks and candidates, below them what may be said of the selected cell; and which cells are shown."""
    matrix = board.matrix
    assert matrix is not None
    row, column = place.matrix_place
    # The board of each task has all of it.
    stale = result_rows.changed_rows(board.changed_anywhere, width, now, most=max(3, height // 5))
    below = result_matrix.below_rows(matrix, row, column, width)
    least = min(len(matrix.candidates), 6) + 1
    below = below[: max(2, height - len(stale) - least)]
    grid = result_matrix.grid_of(matrix, row, column, width, height - len(stale) - len(below))
    rows = [*stale, *result_matrix.matrix_rows(matrix, row, column, grid, width), *below]
    room = height - len(rows) - 2
    if room > min(len(board.candidates), LEAST_OF_BOARD):
        selected = place.row_of(by_standing(matrix)[row])  # before the first key nobody has named a candidate
        rule = Line("── ", "frame").add(printable(board.task), "bold").add(" ")
        rule.cut(width).add("─" * max(0, width - rule.width), "frame")
        rows += [Line(), rule, *result_rows.table_rows(board, selected, width, room)]
    right = Line(f"{board.state} · {when(board.time, now)}", "dim")
    title = title_of(place, None, now)
    title.add(f"  {len(matrix.tasks)} tasks × {len(matrix.candidates)} candidates, scores 0 to {SCORE_SCALE}", "dim")
    return (title, right, rows), grid


def stages_panel(place: ResultPlace, board: Board, now: float, width: int, height: int) -> Panelled:
    """Where quality was lost on the way from an adapter to what serves."""
    table = board.stages
    assert table is not None
    stale = result_rows.changed_rows(board.changed, width, now, most=max(2, height // 6))
    part = next((one for one in table.parts if one == place.shown_part), table.parts[0])
    rows = result_stages.stage_rows(table, part, place.stage, width)
    below = [*result_stages.below_rows(table, place.stage, width), *([Line(), *stale] if stale else [])]
    place.top = max(0, min(place.top, len(below) - (height - len(rows))))
    further = len(rows) + len(below) - place.top - height
    title = title_of(place, board, now)
    title.add(f"  stages, {plural(len(board.input_ids), 'input')} × {board.repeats}", "dim")
    note = f"further rows: {further}, space" if further > 0 else f"{board.state} · {when(board.time, now)}"
    return title, Line(note, "dim"), [*rows, *below[place.top :]]


def inputs_panel(
    place: ResultPlace, board: Board, texts: Texts, now: float, width: int, height: int
) -> tuple[Panelled, result_matrix.Grid]:
    """Each candidate on each input, below them what the selected one asks; and which cells are shown."""
    below = result_inputs.below_rows(board, place.position, place.selected, texts.inputs, width)
    grid = result_inputs.grid_of(board, place.position, place.selected, width, max(2, height - len(below)))
    rows = result_inputs.input_rows(board, place.shown_part, place.worst, place.position, place.selected, grid, width)
    which = "worst repeat" if place.worst else "mean" if board.repeats > 1 else "score"
    title = title_of(place, board, now).add(f"  {place.shown_part}, {which} of each input, 0 to {SCORE_SCALE}", "dim")
    note = Line(f"input {place.position + 1} of {len(board.input_ids)}", "dim")
    return (title, note, [*rows, *below]), grid


def answers_panel(
    place: ResultPlace, board: Board, texts: Texts, compare: Compare, title: Line, width: int, height: int
) -> Panelled:
    """One input and two answers to it, as they are or with what differs marked; scrolls, and notes where that ends."""
    pair = place.pair if width >= BESIDE else [one for one in place.pair if one is place.candidate]
    told = "two answers need a wider terminal" if place.marks_differences and len(pair) < 2 else ""
    if place.marks_differences and len(pair) == 2 and texts.answers is not None and board.input_ids:
        diff = compared(place, board, texts.answers, compare, pair)
        rows = result_answers.diff_rows(
            board, pair, place.position, texts.answers, texts.inputs, place.repeat, diff, width
        )
        told = "" if diff is None else f"{diff.different} of {len(diff.rows)} lines differ"
    else:
        rows = result_answers.answer_rows(board, pair, place.position, texts.answers, texts.inputs, place.repeat, width)
    head, body = rows[:HEAD], rows[HEAD:]
    place.top = max(0, min(place.top, len(body) - (height - HEAD)))
    further = len(body) - place.top - height + HEAD
    notes = [told, f"further rows: {further}" if further > 0 else ""]
    return title, Line(" · ".join(filter(None, notes)), "dim"), [*head, *body[place.top :]]


def compared(
    place: ResultPlace, board: Board, answers: Answers, compare: Compare, pair: list[RankedCandidate]
) -> AnswerDiff | None:
    """The difference of the answers that are shown; None where one of them is missing, too."""
    input_id = board.input_ids[place.position]
    sides = []
    for one in pair:
        repeats = answers.get((one.name, input_id), ())
        if not repeats:
            return None
        sides.append((one.name, repeats[result_answers.shown_repeat(repeats, place.repeat)]))
    return compare(board.task, input_id, sides[0], sides[1])


def title_of(place: ResultPlace, board: Board | None, now: float) -> Line:
    """Which bake-off, and which task of it; None: all."""
    first = place.board
    assert first is not None
    title = Line(f"Bake-off {first.job_id}", "bold")
    if board is not None:
        title.add(f" {printable(board.task)}", "bold")
    if board is not None and len(place.boards) > 1:
        title.add(f"  task {place.boards.index(board) + 1} of {len(place.boards)}", "dim")
    changed = first.changed_anywhere if board is None else board.changed
    for label in filter(None, (scoring_label(first.scored, now), stale_label(changed))):
        title.add(f"  {label}", "warn")
    return title
