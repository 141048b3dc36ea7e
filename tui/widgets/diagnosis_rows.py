"""A diagnosis as rows of a screen: the surest cause first, long ones folded to the right of their gutter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.lines import Line, folded

if TYPE_CHECKING:
    from core.diagnosis.diagnosis import Diagnosis

ROLES = {"head": "bold", "command": "focus"}
"""Of the rows whose role is not one of the theme's."""


def diagnosis_lines(found: Diagnosis, width: int) -> list[Line]:
    """All rows in so many columns."""
    from core.wording.diagnosis import diagnosis_rows

    lines: list[Line] = []
    for row in diagnosis_rows(found):
        role = ROLES.get(row.role, row.role)
        line = Line(row.gutter, role) if row.gutter else Line()
        lines += folded(line.add(row.text, role), width) if row.text else [Line()]
    return lines
