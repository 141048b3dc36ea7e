"""The rows of the table of inputs and candidates: which input does a model fail?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.bakeoff.short_names import heads
from core.format import score_figure
from core.scoring.passing import passes
from core.text import printable
from core.wording.matrix import FAULT_LEGEND, fault_signs
from tui.lines import Line, wrapped
from tui.model.snapshot import Board
from tui.screens.result_answers import use_words
from tui.screens.result_matrix import NAME_FRAME, Grid, window

if TYPE_CHECKING:
    from core.bakeoff.input_cells import InputCell

CELL, WIDEST_CELL = 13, 26
USE_MARK = 2
"""The column of `CONFIRMS` before a name, where some inputs confirm."""
CONFIRMS = "◇"
"""Before an input that is kept to confirm by."""


def grid_of(board: Board, row: int, column: int, width: int, height: int) -> Grid:
    longest = max((len(printable(one)) for one in board.input_ids), default=8)
    name = min(30, max(8, longest), max(12, width // 4)) + NAME_FRAME + (USE_MARK if board.confirming else 0)
    columns = max(1, min(len(board.candidates), (width - name) // CELL))
    cell = max(CELL, min(WIDEST_CELL, (width - name - 2) // columns))
    rows = max(1, min(len(board.input_ids), height - 1))
    first_row = window(row, len(board.input_ids), rows)
    return Grid(first_row, rows, window(column, len(board.candidates), columns), columns, name, cell)


def input_rows(board: Board, part: str, worst: bool, row: int, column: int, grid: Grid, width: int) -> list[Line]:
    """A head with the candidates by rank and a line an input; `row` and `column` are selected."""
    names = heads([one.name for one in board.candidates], grid.cell - 2).of
    inputs = heads(list(board.input_ids), grid.name_room - (USE_MARK if board.confirming else 0)).of
    shown = range(grid.first_column, grid.first_column + grid.columns)
    head = Line("‹ " if grid.first_column else "  ", "dim").add("input", "dim").to(grid.name)
    for index in shown:
        title = printable(names[board.candidates[index].name])
        head.add(" ").extend(Line(title, "bold" if index == column else "dim").cut(grid.cell - 1)).to(
            grid.name + grid.cell * (index - grid.first_column + 1)
        )
    if shown.stop < len(board.candidates):
        head.cut(width - 2).to(width - 2).add(" ›", "dim")
    rows = [head]
    for index in range(grid.first_row, grid.first_row + grid.rows):
        line = Line("▸ " if index == row else "  ", "focus")
        if board.confirming:
            line.add(f"{CONFIRMS if board.input_ids[index] in board.confirming else ' '} ", "violet")
        line.add(printable(inputs[board.input_ids[index]]), "bold" if index == row else "text")
        line.cut(grid.name - 1).to(grid.name)
        for at in shown:
            cells = board.candidates[at].inputs
            chosen = " chosen" if (index, at) == (row, column) else ""
            line.extend(cell_line(cells[index] if index < len(cells) else None, part, worst, chosen, grid.cell))
        rows.append(line.cut(width))
    return rows


def cell_line(cell: InputCell | None, part: str, worst: bool, chosen: str, width: int) -> Line:
    """` 4.17 e?`: the score, and a sign for each kind of fault among the repeats."""
    scores = None if cell is None else cell.format if part == "format" else cell.content
    value = None if scores is None else scores.worst if worst else scores.mean
    role = "dim" if value is None else "good" if passes(value) else "bad" if value < 0.5 else "text"
    line = Line(f" {score_figure(value):>5} ", f"{role}{chosen}")
    if cell is not None and (signs := fault_signs(cell.faults, cell.missing)):
        line.add(signs, f"warn{chosen}")
    return line.add(" " * max(0, CELL - line.width - 1), f"{role}{chosen}").to(width)


def below_rows(board: Board, row: int, column: int, inputs: Mapping[str, str], width: int) -> list[Line]:
    """What the selected input asks, whose cell is selected, and what the signs mean."""
    name, candidate = board.input_ids[row], board.candidates[column]
    asked = " ".join(printable(line) for line in inputs.get(name, "").splitlines() if line.strip())
    head = Line(printable(name), "bold")
    if use := use_words(board, name):
        head.add(f"  {use}", "violet")
    rows = [
        Line(),
        head.add(f"  {asked or 'an empty input'}" if name in inputs else "", "dim").cut(width),
    ]
    rows.append(Line(printable(candidate.name)).cut(width))
    signs = {sign for one in board.candidates for cell in one.inputs for sign in fault_signs(cell.faults, cell.missing)}
    told = [f"{sign} {words}" for sign, words in FAULT_LEGEND.items() if sign in signs]
    if board.confirming:
        told.append(f"{CONFIRMS} kept to confirm by: the others chose the best")
    legend = ", ".join(told)
    rows += [Line(text, "dim") for text in wrapped(legend, width)]
    return rows
