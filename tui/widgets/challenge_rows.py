"""A challenge in the morning: a row a task with what a switch would gain, and below it the stage of those on their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from core.wording.challenge import HEAD, advice_words, could_gain_words, table_row, way_words, why_lines
from tui.lines import Line, folded

if TYPE_CHECKING:
    from core.fleet.challenge import ChallengedTask

ADVICE_ROLES: Mapping[str, str] = {"switch": "good", "keep": "dim", "cannot tell": "warn", "serves already": "good"}


def challenge_rows(tasks: Sequence[ChallengedTask], selected: str | None, width: int) -> list[Line]:
    """The measured ones as a table, then the others in their order; the selected task is marked."""
    measured = [one for one in tasks if one.is_measured]
    others = [one for one in tasks if not one.is_measured]
    rows: list[Line] = []
    if measured:
        head, *lines = aligned([HEAD, *(table_row(one) for one in measured)], max(0, width - 2))
        rows.append(Line(f"  {head}", "dim").cut(width))
        for one, text in zip(measured, lines, strict=True):
            rows.append(_row(one, text, selected, ADVICE_ROLES.get(advice_words(one), "text")).cut(width))
            for why in why_lines(one):
                rows += folded(Line("    ").add(why, "dim"), width)
    if others:
        rows += [Line()] * bool(rows) + [Line("  on their way", "dim")]
        for one in others:
            role = "bad" if one.stage in ("stopped", "gone") else "busy" if one.stage == "running" else "text"
            line = _row(one, f"{one.task}: {could_gain_words(one.told.gain)} · {way_words(one)}", selected, role)
            for part in folded(line, width):
                part.mark = line.mark
                rows.append(part)
    return rows


def aligned(table: Sequence[Sequence[str]], width: int) -> list[str]:
    """Columns two cells apart, the first two to the left, as many from the left as fit."""
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    shown = next((count for count in range(len(widths), 1, -1) if sum(widths[:count]) + 2 * (count - 1) <= width), 1)
    return [
        "  ".join(
            cell + " " * (room - cell_len(cell)) if place < 2 else " " * (room - cell_len(cell)) + cell
            for place, (cell, room) in enumerate(zip(row[:shown], widths[:shown], strict=True))
        )
        for row in table
    ]


def _row(one: ChallengedTask, text: str, selected: str | None, role: str) -> Line:
    is_selected = one.task == selected
    return Line("▸ " if is_selected else "  ", "focus", mark="chosen" if is_selected else "").add(text, role)
