"""The fleet as a table for a terminal of any width: the write-up's last table, old → new."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from core.cli.text_grid import grid, wrap
from core.fleet.lineage import UNKNOWN
from core.fleet.rows import FleetRow
from core.format import data_size, gb, score_figure, when
from core.text import clip, printable
from core.wording.fleet_rows import RemarkCode, origin_line, row_remarks

HEAD = ("task", "alias", "format", "content", "GB", "memory", "since")
WIDE = 110
"""From so many cells on names are shown longer; below, the figures are worth more."""
NONE = "—"
SIGNS: Mapping[RemarkCode, str] = {"moving": "▶ ", "challenger": "◷ challenger ", "checked": ""}
"""What stands before a remark, by its code; before those of no code here stands `▲`."""


def fleet_lines(rows: Sequence[FleetRow], width: int) -> Iterator[str]:
    """A line a row under its head, and below each what is to be known of it; scores are of 5, sizes those of the files."""
    now = time.time()
    longest = (24, 28) if width >= WIDE else (16, 20)
    table = list(grid([HEAD, *(_cells(row, now, *longest) for row in rows)], width, left=2))
    yield table[0]
    for line, row in zip(table[1:], rows, strict=True):
        yield line
        for said in _below(row, now):
            yield from (f"  {part}" for part in wrap(said, width - 2))


def _cells(row: FleetRow, now: float, longest_task: int, longest_alias: int) -> tuple[str, ...]:
    alias = row.alias
    where = alias.name if alias.server == "ollama" else row.reference
    before = {} if row.before is None else row.before.scores
    sizes = [None if row.before is None else row.before.version.size_bytes, row.size_bytes]
    return (
        clip(printable(row.task or NONE), longest_task),
        clip(printable(where), longest_alias),
        _change(*(_figure(scores.get("format")) for scores in (before, row.scores))),
        _change(*(_figure(scores.get("content")) for scores in (before, row.scores))),
        _change(*("" if size is None else gb(size) for size in sizes)),
        _memory(row),
        when(alias.since, now) or NONE,
    )


def _figure(score: float | None) -> str:
    return "" if score is None else score_figure(score)


def _change(before: str, now: str) -> str:
    """`3.20 → 4.92`; what is now alone where the former is the same or one of the two is unknown."""
    return f"{before} → {now}" if before and now and before != now else now or NONE


def _memory(row: FleetRow) -> str:
    if row.resident is None:
        return "?"
    if not row.resident:
        return "○"
    return f"● {data_size(row.vram_bytes)}" if row.vram_bytes else "●"


def _below(row: FleetRow, now: float) -> Iterator[str]:
    if not is_unknown(row):  # else the table says all there is
        yield origin_line(row)
    for one in row_remarks(row, now):
        if one.code != "empty":  # which the line before says
            said = "; ".join(filter(None, [one.words, ", ".join(one.remedies)]))
            yield f"{SIGNS.get(one.code, '▲ ')}{said}"


def is_unknown(row: FleetRow) -> bool:
    """Whether nothing is on record of what serves: neither what it was made of, nor a measurement, nor a former version."""
    if row.version is None or row.version.origin == "promoted":  # its source is known
        return False
    made = row.model is not None or row.lineage != UNKNOWN
    return not (made or row.before is not None or row.measured is not None)
