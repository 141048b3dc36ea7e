"""The fleet as a table for a terminal of any width: the write-up's last table, old → new."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from core.cli.text_grid import grid, wrap
from core.fleet.rows import FleetRow
from core.format import data_size, gb, score_figure, when
from core.text import clip, printable
from core.wording.fleet_rows import challenger_words, drift_line, open_words, origin_line, warnings

HEAD = ("task", "alias", "format", "content", "GB", "memory", "since")
WIDE = 110
"""From so many cells on names are shown longer; below, the figures are worth more."""
NONE = "—"


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
    where = alias.name if alias.server == "ollama" else f"{alias.server}:{alias.name}"
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
    """`3.20 → 4.92`; of two that are alike or of which one is unknown the known one."""
    return f"{before} → {now}" if before and now and before != now else now or NONE


def _memory(row: FleetRow) -> str:
    if row.resident is None:
        return "?"
    if not row.resident:
        return "○"
    return f"● {data_size(row.vram_bytes)}" if row.vram_bytes else "●"


def _below(row: FleetRow, now: float) -> Iterator[str]:
    is_known = row.model is not None or row.before is not None
    if row.task is not None or is_known:  # of what does no task and has no record the table says all there is
        yield origin_line(row)
    if row.change is not None:
        yield f"▶ {open_words(row.change, now)}"
    for said in warnings(row):
        yield printable(f"▲ {said}")
    if row.challenger is not None:
        yield f"◷ challenger {challenger_words(row.challenger)}"
    if said := drift_line(row, now):
        yield said
