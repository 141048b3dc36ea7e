"""The tasks of a project as a table, and below it what stands behind the figures of the selected one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from core.format import SCORE_SCALE, plural, score_figure
from core.text import cell_width, printable
from tui.lines import Line, wrapped
from tui.model.snapshot import Board

if TYPE_CHECKING:
    from core.authoring.task_rows import TaskRow

COLUMNS: tuple[tuple[str, int, Callable[[TaskRow], str]], ...] = (
    ("inputs", 8, lambda row: f"{row.inputs:,}"),
    ("confirm", 9, lambda row: f"{row.confirm:,}"),
    ("format", 8, lambda row: f"{len(row.format_checks)}"),
    ("content", 9, lambda row: f"{len(row.content_checks)}"),
    ("examples", 10, lambda row: figure(row.examples)),
    ("tokens each", 13, lambda row: figure(row.example_tokens)),
    ("longest prompt", 16, lambda row: figure(row.prompt_tokens)),
    ("room", 7, lambda row: f"{row.room_tokens:,}"),
)
"""(title, width, figure); left out from the right where there is no room."""
LEAST_NAME, MOST_NAME = 12, 30
BEST = 30
"""Columns of the best candidate."""
LABEL = 9


def figure(value: int | None) -> str:
    return "—" if value is None else f"{value:,}"


def task_table_rows(
    rows: Sequence[TaskRow], boards: Mapping[str, Board], selected: str | None, width: int
) -> list[Line]:
    """A row a task: what it has, and where there is room the best candidate of its newest bake-off."""
    name = min(MOST_NAME, max([LEAST_NAME, *(cell_width(printable(row.name)) + 4 for row in rows)]))
    shown, room = [], width - name
    for column in COLUMNS:
        if room < column[1]:
            break
        shown.append(column)
        room -= column[1]
    head = Line("  task", "dim").to(name)
    for title, columns, _ in shown:
        head.add(f"{title:>{columns}}", "dim")
    if room >= BEST:
        head.add(f"  best, of {SCORE_SCALE}", "dim")
    lines = [head.cut(width)]
    for row in rows:
        sign, role = ("✗", "bad") if row.problems else ("▲", "warn") if row.warnings else (" ", "text")
        line = Line(f"{sign} ", role, mark="chosen" if row.name == selected else "")
        line.add(printable(row.name), "dim" if row.shipped else "text").cut(name - 1).to(name)
        for _, columns, said in shown:
            line.add(f"{said(row):>{columns}}")
        board = boards.get(row.name)
        if room >= BEST and board is not None and board.best is not None:
            best = board.best
            line.add(f"  {score_figure(best.score)} ", "good").add(printable(best.name), "dim")
        lines.append(line.cut(width))
    return lines


def task_detail_rows(row: TaskRow, board: Board | None, width: int) -> list[Line]:
    """What is wrong with a task first, then its checks and its last bake-off."""
    lines = [Line(printable(row.title or row.name), "bold").cut(width)]
    if row.shipped:
        lines[0].add("  comes with Bakehouse", "dim").cut(width)
    for found, sign, role in ((row.problems, "✗", "bad"), (row.warnings, "▲", "warn")):
        for one in found:
            said = [*wrapped(printable(str(one)), width - 2)]
            lines += [
                Line(f"{sign if number == 0 else ' '} ", role).add(text, role) for number, text in enumerate(said)
            ]
    for part, names in (("format", row.format_checks), ("content", row.content_checks)):
        lines += labelled(part, ", ".join(names) or "no check", width)
    inputs = f"{plural(row.inputs, 'golden input')} from {plural(row.sources, 'source')}"
    if row.confirm:
        inputs += f", {row.confirm} of them kept to confirm by"
    lines += labelled("inputs", inputs, width)
    if board is not None:
        lines += labelled("last", f"bake-off {board.job_id}: {board.headline}", width)
    return lines + labelled("system", row.system or "no system prompt", width)


def labelled(label: str, text: str, width: int) -> list[Line]:
    """A text in rows, its label before the first."""
    said = [row for line in text.splitlines() for row in wrapped(printable(line), width - LABEL) or ("",)]
    return [Line(label if number == 0 else "", "dim").to(LABEL).add(row) for number, row in enumerate(said)]
