"""What an alias was, and what became of it: a row a version, then a sentence a move or a thing noticed, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.format import data_size, moment
from core.text import printable
from core.wording.fleet import origin_words, short_digest
from core.wording.fleet_history import entry_words
from tui.lines import Line, folded

if TYPE_CHECKING:
    from core.fleet.history import HistoryEntry
    from core.store.fleet import AliasVersion

SIGNS: Mapping[str, tuple[str, str]] = {
    "open": ("▷", "busy"),
    "done": ("✓", "good"),
    "taken_back": ("↶", "warn"),
    "failed": ("✗", "bad"),
}
TIME = 14


def version_rows(versions: Sequence[AliasVersion], current: int | None, now: float, width: int) -> list[Line]:
    """`▸ 3  3 Nov 14:37  Qwen3-4B  4.3 GB  1f2e3d4c5b6a  promoted from judge:qwen3-4b-61`."""
    rows = []
    for one in versions:
        is_current = one.id == current
        line = Line("▸ " if is_current else "  ", "good").add(f"{one.number:<3}", "bold" if is_current else "text")
        line.add(f"{moment(one.created_at, now):<{TIME}}", "dim")
        line.add(f"{one.model or 'model unknown'}  ").add(f"{data_size(one.size_bytes) or 'size unknown'}  ", "dim")
        line.add(f"{short_digest(one.digest) if one.digest else 'digest unknown'}  ", "dim")
        source = f" from {one.source}" if one.source else ""
        rows.append(line.add(f"{origin_words(one.origin)}{source}", "dim").cut(width))
    return rows


def history_rows(entries: Sequence[HistoryEntry], now: float, width: int) -> list[Line]:
    """In the order in which it happened, whatever the clock said: the newest first."""
    rows = []
    for one in reversed(entries):
        sign, role = ("▲", "warn") if one.change is None else SIGNS[one.change.state]
        gutter = f"{sign} {moment(one.time, now):<{TIME}}" if width >= 60 else f"{sign} "
        rows += folded(Line(gutter, role).add(printable(entry_words(one))), width)
    return rows
