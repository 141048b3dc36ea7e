"""The words and signs for the cells of a matrix of tasks and candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.text import printable

if TYPE_CHECKING:
    from core.bakeoff.matrix import Matrix, MatrixCell

OUTCOMES: Mapping[str, str] = {
    "wins": "wins",
    "no_worse": "no worse",
    "loses": "loses",
    "mixed": "mixed",
    "cannot_tell": "cannot tell",
}
LEFT_OUT: Mapping[str, str] = {
    "not_asked": "not asked",
    "no_answers": "no scored answers",
    "curtailed": "curtailed, as it could not reach the incumbent any more",
    "incumbent_not_answered": "not compared, as the incumbent did not answer",
}
CELL_SIGNS: Mapping[str, str] = {
    "◆": "best",
    "=": "tied with the best",
    "c": "curtailed",
    "?": "answers are missing",
}
FAULT_SIGNS: Mapping[str, str] = {"empty": "e", "length": "l", "thinking": "t"}
FAULT_LEGEND: Mapping[str, str] = {
    "e": "empty answer",
    "l": "cut at the length limit",
    "t": "thinking in the answer",
    "?": "an answer is missing",
}


AGAINST: Mapping[str, str] = {"wins": "↑", "loses": "↓"}
"""Behind a score: what may be said of it against the incumbent, corrected over all tasks."""


def cell_mark(cell: MatrixCell) -> str:
    """`◆` of the best, `=` of those tied with it; behind them `c` of a curtailed one, `?` where answers are missing."""
    place = "◆" if cell.best else "=" if cell.tied else ""
    rest = "c" if cell.curtailed else "?" if cell.missing else ""
    return place + rest


def cell_legend(matrix: Matrix) -> list[str]:
    """What the signs mean that stand in and behind the cells of this matrix: `◆ best`, …"""
    used = {sign for cell in matrix.cells for sign in cell_mark(cell)}
    legend = [f"{sign} {words}" for sign, words in CELL_SIGNS.items() if sign in used]
    outcomes, incumbent = {cell.outcome for cell in matrix.cells}, printable(matrix.incumbent or "")
    against = {"wins": f"wins against {incumbent}", "loses": f"loses to {incumbent}"}
    if shown := [f"{AGAINST[code]} {words}" for code, words in against.items() if code in outcomes]:
        legend.append(f"{', '.join(shown)}, corrected over all tasks")
    return legend


def fault_signs(faults: Mapping[str, int], missing: int) -> str:
    """`e`, `l`, `t` for answers that are empty, cut at the limit, or with thinking in them, `?` where some are missing."""
    return "".join(sign for fault, sign in FAULT_SIGNS.items() if faults.get(fault)) + ("?" if missing else "")


def by_standing(matrix: Matrix) -> list[str]:
    """The candidates by their mean difference to the incumbent, the highest first; those without one last."""

    def order(name: str) -> tuple[bool, float]:
        one = matrix.standing(name)
        difference = 0.0 if one.incumbent else one.mean_difference
        return difference is None, -(difference or 0.0)

    return sorted(matrix.candidates, key=order)
