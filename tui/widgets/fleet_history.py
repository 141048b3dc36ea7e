"""What an alias was, and what happened to it: a row a version, then a row a move or a thing noticed, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.format import data_size, moment
from core.reasons import Reason
from core.text import printable
from core.wording.fleet import change_reason_words, origin_words, phase_words, state_words
from tui.lines import Line, folded
from tui.widgets.fleet_rows import short_value

if TYPE_CHECKING:
    from core.store.fleet import AliasVersion
    from core.store.fleet_changes import FleetChange, FleetNote

SIGNS: Mapping[str, tuple[str, str]] = {
    "open": ("▷", "busy"),
    "done": ("✓", "good"),
    "taken_back": ("↶", "warn"),
    "failed": ("✗", "bad"),
}
TIME = 14


def version_rows(versions: Sequence[AliasVersion], current: int | None, now: float, width: int) -> list[Line]:
    """`▸ 3  3 Nov  Qwen3-4B  4.3 GB  sha256  promoted, from judge-qwen3-4b-61`."""
    rows = [Line("  version", "dim").cut(width)]
    for one in versions:
        is_current = one.id == current
        line = Line("▸ " if is_current else "  ", "good").add(f"{one.number:<3}", "bold" if is_current else "text")
        line.add(f"{moment(one.created_at, now):<{TIME}}", "dim")
        line.add(f"{one.model or 'model unknown'}  ").add(f"{data_size(one.size_bytes) or 'size unknown'}  ", "dim")
        line.add(f"{short_value(one.digest) if one.digest else 'digest unknown'}  ", "dim")
        source = f" from {one.source}" if one.source else ""
        rows.append(line.add(f"{origin_words(one.origin)}{source}", "dim").cut(width))
    return rows


def history_rows(
    versions: Sequence[AliasVersion],
    changes: Sequence[FleetChange],
    notes: Sequence[FleetNote],
    now: float,
    width: int,
) -> list[Line]:
    """Moves and notes, the newest first."""
    numbers = {one.id: one.number for one in versions}
    told = [(one.asked_at, 1, change_rows(one, numbers, now, width)) for one in changes]
    told += [(one.time, 0, note_rows(one, now, width)) for one in notes]
    rows = [Line("  history", "dim").cut(width)]
    for _, _, lines in sorted(told, key=lambda one: one[:2], reverse=True):
        rows += lines
    return rows


def change_rows(change: FleetChange, numbers: Mapping[int, int], now: float, width: int) -> list[Line]:
    """A move: what was asked by whom, what the gate said, how it ended."""
    sign, role = SIGNS[change.state]
    line = Line(f"{sign} ", role).add(f"{moment(change.asked_at, now):<{TIME}}", "dim")
    line.add(move_words(change, numbers)).add(f" · {change.author}", "dim")
    rows = folded(line, width)
    gutter = " " * (2 + TIME)
    if change.gate is not None:
        outcome = str(change.gate.get("outcome", "")).replace("_", " ")
        rows += folded(Line(gutter).add(f"gate: {printable(outcome)}", "good" if outcome == "pass" else "warn"), width)
    if change.override_reason:
        rows += folded(
            Line(gutter).add(f"against its gate, because: {printable(change.override_reason)}", "warn"), width
        )
    if change.state == "open":
        rows += folded(Line(gutter).add(f"now: {phase_words(change.phase)}", "busy"), width)
    elif change.reason is not None:
        words = f"{state_words(change.state)}: {change_reason_words(change.reason)}"
        rows += folded(Line(gutter).add(words, role), width)
    return rows


def move_words(change: FleetChange, numbers: Mapping[int, int]) -> str:
    """`promote, version 2 → 3, from judge-qwen3-4b-61`."""
    before, after = numbers.get(change.from_version or 0), numbers.get(change.to_version or 0)
    of = f" {change.task}" if change.task else ""
    if before is not None and after is not None and before != after:
        versions = f", version {before} → {after}"
    elif after is not None:
        versions = f", version {after}"
    else:
        versions = ""
    source = f", from {change.target.source}" if change.kind == "promote" and change.target.source else ""
    name = {"rollback": "roll back"}.get(change.kind, change.kind)
    return printable(f"{name}{of}{versions}{source}")


def note_rows(note: FleetNote, now: float, width: int) -> list[Line]:
    of = f"{note.task}: " if note.task else ""
    line = (
        Line("▲ ", "warn")
        .add(f"{moment(note.time, now):<{TIME}}", "dim")
        .add(f"{of}{reason_words(note.reason)}", "warn")
    )
    return folded(line, width)


def reason_words(reason: Reason) -> str:
    told = (f"{key.replace('_', ' ')} {short_value(value)}" for key, value in reason.values.items())
    return printable(", ".join([reason.code.replace("_", " "), *told]))
