"""Trainings side by side: a column each, their cells in as many rows as they take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from core.text import cell_width
from core.wording.plan_comparison import comparison_notes, comparison_table
from tui.lines import Line, folded, wrapped

if TYPE_CHECKING:
    from core.submission.plan_comparison import ComparedTraining

GAP = 2
LEAST = 13
"""Cells of a column that still reads well: a model's name, most figures with their units."""


def comparison_rows(trainings: Sequence[ComparedTraining], width: int) -> list[Line]:
    """The figures of `comparison_table`; those in which the trainings do not differ are dimmed. Where not all columns have
    room, further ones stand below."""
    table = comparison_table(trainings)
    label = max(cell_width(line[0]) for line in table) + GAP
    widths = [max(cell_width(line[place]) for line in table) for place in range(1, len(trainings) + 1)]
    room = width - label
    at_once = max(1, min(len(trainings), (room + GAP) // (LEAST + GAP)))
    lines: list[Line] = []
    for first in range(0, len(trainings), at_once):
        places = range(first, min(first + at_once, len(trainings)))
        shown = _shared([widths[place] for place in places], room)
        if lines:
            lines.append(Line())
        for name, *values in table:
            same = len(set(values)) == 1 and len(values) > 1
            cells = [[*_in_cell(values[place], cell)] for place, cell in zip(places, shown, strict=True)]
            roles = [_role(trainings[place], name, same) for place in places]
            for number, parts in enumerate(zip_longest(*cells, fillvalue="")):
                line = Line("" if number else name, "dim").to(label)
                column = label
                for part, role, cell in zip(parts, roles, shown, strict=True):
                    line.to(column).add(part, role)
                    column += cell + GAP
                lines.append(line)
    notes = [part for note in comparison_notes(trainings) for part in folded(Line(note, "dim"), width)]
    return [*lines, *([Line()] if notes else []), *notes]


def _in_cell(text: str, width: int) -> Iterator[str]:
    """In rows of `width` cells, broken before brackets and after a comma; elsewhere only where that is not enough."""
    row = ""
    for part in re.split(r"(?<=,) | (?=\()", text):
        if row and cell_width(f"{row} {part}") <= width:
            row = f"{row} {part}"
            continue
        yield from wrapped(row, width)
        row = part
    yield from wrapped(row, width)


def _shared(widths: Sequence[int], room: int) -> list[int]:
    """Each column as wide as it is; where the room is not enough, the widest give way."""
    widths = list(widths)
    while sum(widths) + GAP * (len(widths) - 1) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def _role(one: ComparedTraining, name: str, same: bool) -> str:
    if name == "base":
        return "bold"
    forecast = one.row.forecast
    if name == "fits":
        if forecast is None:
            return "warn"
        return "good" if forecast.surely_fits else "warn" if forecast.fits else "bad"
    return "dim" if same else "text"
