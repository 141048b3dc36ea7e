"""What the gate of a promotion says: its answer, then each condition with its outcome in words and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.wording.promotion import NAMES, basis_words, condition_words, gate_title
from tui.lines import Line, folded

if TYPE_CHECKING:
    from core.fleet.gate import Gate, GateOutcome

SIGNS: Mapping[GateOutcome, tuple[str, str]] = {
    "pass": ("✓", "good"),
    "fail": ("✗", "bad"),
    "cannot_tell": ("?", "warn"),
    "not_asked": ("·", "dim"),
}


NARROW = 60
"""Below so many cells the names of the conditions have no column of their own."""


def gate_rows(gate: Gate, width: int) -> list[Line]:
    """All of it, however narrow the terminal is: the evidence is to be read."""
    sign, role = SIGNS[gate.outcome]
    rows = folded(Line(f"{sign} ", f"bold {role}").add(gate_title(gate), f"bold {role}"), width)
    rows.append(Line())
    room = max(len(name) for name in NAMES.values()) + 2
    for one in gate.conditions:
        sign, role = SIGNS[one.outcome]
        text = "dim" if one.outcome == "not_asked" else "text"
        label = f"{sign} {NAMES[one.code]:<{room}}" if width >= NARROW else f"{sign} "
        name = "" if width >= NARROW else f"{NAMES[one.code]}: "
        rows += folded(Line(label, role).add(f"{name}{condition_words(one)}", text), width)
    rows += [Line()] * bool(gate.bakeoff_job)
    for words in basis_words(gate):
        rows += folded(Line("  ").add(words, "dim"), width)
    return rows
