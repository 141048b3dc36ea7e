"""The rows of the matrix: task × candidate, of many as many as fit around the one that is selected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.bakeoff.short_names import heads
from core.format import listed, of_five, plural, score_figure
from core.text import cell_width, printable
from core.wording.matrix import AGAINST, LEFT_OUT, OUTCOMES, by_standing, cell_legend, cell_mark
from tui.lines import Line, wrapped

if TYPE_CHECKING:
    from core.bakeoff.matrix import Matrix, MatrixCell, Standing
    from core.statistics.comparison import Comparison

CELL = 11
NAME_FRAME = 3
"""Around a name in the first column of a table: the mark of the selected row, and a blank."""
STANDING, MEAN = 13, 24
"""`wins` and `loses`, and the mean difference to the incumbent, for terminals with room for them."""
AGAINST_ROLES = {"wins": "good", "loses": "bad"}


@dataclass(frozen=True)
class Grid:
    """Which rows and columns of a table are shown, and where its columns begin: for drawing, and for clicks."""

    first_row: int
    rows: int
    first_column: int
    columns: int
    name: int
    """Of the first column, with the mark before a name and a blank behind it."""
    cell: int

    @property
    def name_room(self) -> int:
        """How much of the first column a name may take."""
        return self.name - NAME_FRAME

    def clicked(self, x: int, y: int) -> tuple[int | None, int] | None:
        """(column, row) of a click at these cells of the table, its head in row 0; column None: on the name."""
        row = y - 1
        if not 0 <= row < self.rows:
            return None
        column = (x - self.name) // self.cell if x >= self.name else None
        if column is not None and column >= self.columns:
            column = None
        return None if column is None else self.first_column + column, self.first_row + row


def window(selected: int, count: int, room: int) -> int:
    """Where to begin so that the selected one is among `room` of `count`."""
    return max(0, min(selected - room // 2, count - room))


def grid_of(matrix: Matrix, row: int, column: int, width: int, height: int) -> Grid:
    longest = max((cell_width(printable(one)) for one in matrix.candidates), default=8)
    free = width - STANDING - CELL * len(matrix.tasks) - NAME_FRAME
    name = min(36, longest, max(14, width // 4, free)) + NAME_FRAME
    columns = max(1, min(len(matrix.tasks), (width - name - (STANDING if width >= 60 else 0)) // CELL))
    rows = max(1, min(len(matrix.candidates), height - 1))
    first_row = window(row, len(matrix.candidates), rows)
    return Grid(first_row, rows, window(column, len(matrix.tasks), columns), columns, name, CELL)


def matrix_rows(matrix: Matrix, row: int, column: int, grid: Grid, width: int) -> list[Line]:
    """A head and a line a candidate; `row` and `column` are selected."""
    order = by_standing(matrix)
    names = heads(order, grid.name_room).of
    shown = range(grid.first_column, grid.first_column + grid.columns)
    titles = heads(list(matrix.tasks), CELL - 2).of
    free = width - grid.name - CELL * grid.columns
    room, with_mean = free >= STANDING, free >= STANDING + MEAN and matrix.incumbent is not None
    head = Line("‹ " if grid.first_column else "  ", "dim").add("candidate", "dim").to(grid.name)
    for index in shown:
        title = printable(titles[matrix.tasks[index]])
        head.add(" ").extend(Line(title, "bold" if index == column else "dim").cut(CELL - 1)).to(
            grid.name + CELL * (index - grid.first_column + 1)
        )
    if room:
        head.add(f"{'wins':>6}{'loses':>7}", "dim")
    if with_mean:
        head.add(f"  mean to {printable(matrix.incumbent or '')}", "dim").cut(width)
    if shown.stop < len(matrix.tasks):
        head.cut(width - 2).to(width - 2).add(" ›", "dim")
    rows = [head]
    for index in range(grid.first_row, grid.first_row + grid.rows):
        name = order[index]
        line = Line("▸ " if index == row else "  ", "focus")
        role = "dim" if name == matrix.incumbent else "bold" if index == row else "text"
        line.add(printable(names[name]), role).cut(grid.name - 1).to(grid.name)
        for at in shown:
            chosen = " chosen" if (index, at) == (row, column) else ""
            line.extend(cell_line(matrix.cell(matrix.tasks[at], name), chosen))
        if room:
            one = matrix.standing(name)
            figures = ("—", "—") if one.incumbent else (str(len(one.wins)), str(len(one.loses)))
            line.add(f"{figures[0]:>6}{figures[1]:>7}", "dim")
        if with_mean:
            line.add(f"  {mean_figure(matrix.standing(name))}", "dim")
        rows.append(line.cut(width))
    return rows


def cell_line(cell: MatrixCell, chosen: str) -> Line:
    """` 4.92 ◆↑  `: the score, the best or tied with it, better or worse than the incumbent."""
    mark = cell_mark(cell)
    role = "good" if mark[:1] in ("◆", "=") and mark else "dim" if cell.left_out else "text"
    line = Line(f" {score_figure(cell.score):>5} ", f"{role}{chosen}").add(mark, f"{role}{chosen}")
    if sign := AGAINST.get(cell.outcome or ""):
        line.add(sign, f"{AGAINST_ROLES[cell.outcome or '']}{chosen}")
    return line.add(" " * max(0, CELL - line.width - 1), f"{role}{chosen}").to(CELL)


def below_rows(matrix: Matrix, row: int, column: int, width: int) -> list[Line]:
    """What may be said of the selected cell and its candidate, what the signs mean, and the notes."""
    name, task = by_standing(matrix)[row], matrix.tasks[column]
    cell, standing = matrix.cell(task, name), matrix.standing(name)
    rows = [Line()]
    rows += [Line(text) for text in wrapped(cell_words(matrix, cell), width)]
    if not standing.incumbent and matrix.incumbent is not None:
        told = [f"{words} {listed(tasks)}" for words, tasks in outcomes(matrix, name)]
        mean = mean_words(matrix, name)
        said = f"{printable(name)} over all tasks: {'; '.join(told) or 'not compared'}{f'; {mean}' if mean else ''}"
        rows += [Line(text) for text in wrapped(said, width)]
    for cost in matrix.tuning_costs:
        if cost.candidate == name:
            comparison = cost.statements[0].comparison
            said = f"tuned for {printable(cost.trained_for)}: {difference_words(comparison)} to its base at"
            said += f" {printable(cost.task)}, {OUTCOMES[cost.outcome]}"
            role = "bad" if cost.outcome == "loses" else "dim"
            rows += [Line(text, role) for text in wrapped(said, width)]
    rows += [Line(text, "dim") for text in wrapped("; ".join(cell_legend(matrix)), width)]
    for note in matrix.notes:
        rows += [
            Line(f"{'· ' if i == 0 else '  '}{text}", "dim")
            for i, text in enumerate(wrapped(printable(note), width - 2))
        ]
    return rows


def outcomes(matrix: Matrix, name: str) -> list[tuple[str, tuple[str, ...]]]:
    """(outcome, tasks) of a candidate, without the empty ones."""
    standing = matrix.standing(name)
    found = [(words, tuple(map(printable, getattr(standing, code)))) for code, words in OUTCOMES.items()]
    return [(words, tasks) for words, tasks in found if tasks]


def mean_words(matrix: Matrix, name: str) -> str:
    """`mean +1.20 [0.40, 2.00] to base`; empty where nothing is compared."""
    figure = mean_figure(matrix.standing(name))
    return f"mean {figure} to {printable(matrix.incumbent or '')}" if figure else ""


def mean_figure(standing: Standing) -> str:
    """`+1.20 [0.40, 2.00]`, over the tasks; empty where nothing is compared."""
    from core.bakeoff.figures import bounds, signed

    if standing.mean_difference is None or standing.incumbent:
        return ""
    interval = f" {bounds(standing.interval)}" if standing.interval.estimable else ""
    return f"{signed(standing.mean_difference)}{interval}"


def difference_words(comparison: Comparison) -> str:
    """`+4.63 [4.31, 4.95]`, on the scale of five."""
    from core.bakeoff.figures import bounds, signed

    interval = f" {bounds(comparison.interval)}" if comparison.interval.estimable else ""
    return f"{signed(comparison.difference)}{interval}"


def cell_words(matrix: Matrix, cell: MatrixCell) -> str:
    """`Qwen3 base at planner: 3.92/5, +1.50 [0.51, 2.49] to SmolLM2 base, wins`."""
    said = f"{printable(cell.candidate)} at {printable(cell.task)}: {of_five(cell.score)}"
    if cell.statements:
        said += f", {difference_words(cell.statements[0].comparison)} to {printable(matrix.incumbent or '')}"
    if cell.outcome is not None:
        said += f", {OUTCOMES[cell.outcome]}"
    if cell.left_out is not None:
        said += f", {LEFT_OUT[cell.left_out]}"
    if cell.missing and not cell.curtailed:
        said += f"; {cell.missing} of {plural(cell.expected, 'answer')} missing"
    return said
