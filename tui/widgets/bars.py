"""Bars, sparklines and intervals, each as a piece of one row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from tui.lines import Line

LEVELS = "▁▂▃▄▅▆▇█"


def progress_bar(fraction: float, width: int, role: str = "busy") -> Line:
    """Share done: heavy line, then light line."""
    full = round(max(0.0, min(1.0, fraction)) * width)
    return Line("━" * full, role).add("─" * (width - full), "dim")


def stacked_bar(parts: Sequence[tuple[float, str]], total: float, width: int, limit: float | None = None) -> Line:
    """Parts of a whole as blocks of their roles, the rest shaded, `limit` as a dashed rule."""
    return signed_bar([("█", amount, role) for amount, role in parts], total, width, limit)


def signed_bar(parts: Sequence[tuple[str, float, str]], total: float, width: int, limit: float | None = None) -> Line:
    """`stacked_bar` whose parts have a sign each (sign, amount, role), so that they differ without colours as well."""
    width = max(0, width)
    cells: list[tuple[str, str]] = []
    reached = 0.0
    for sign, amount, role in parts:
        reached += amount
        end = min(width, round(reached / total * width)) if total > 0 else 0
        cells += [(sign, role)] * (end - len(cells))
    cells += [("░", "frame")] * (width - len(cells))
    if limit is not None and 0 < limit < total and width:
        cells[min(width - 1, int(limit / total * width))] = ("┊", "warn")
    line = Line()
    for character, role in cells:
        line.add(character, role)
    return line


def sparkline(values: Sequence[float | None], width: int, top: float, role: str = "busy") -> Line:
    """The newest `width` values on a scale from 0 to `top`; what is not known is blank."""
    shown = list(values)[-width:]
    line = Line(" " * (width - len(shown)))
    for value in shown:
        if value is None:
            line.add(" ")
        else:
            level = int(value / top * len(LEVELS)) if top > 0 else 0
            line.add(LEVELS[max(0, min(len(LEVELS) - 1, level))], role)
    return line


def resample(values: Sequence[float | None], width: int) -> list[float | None]:
    """Means of equal stretches, so that all values fit into `width`; shorter series are left as they are."""
    if len(values) <= width or width < 1:
        return list(values)
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    means: list[float | None] = []
    for start, end in itertools.pairwise(edges):
        known = [value for value in values[start:end] if value is not None]
        means.append(sum(known) / len(known) if known else None)
    return means


def interval(
    low: float | None, value: float, high: float | None, start: float, end: float, width: int, role: str
) -> Line:
    """`├──●──┤` on a scale from `start` to `end`; `◂` where the value lies below the scale, `●` alone without an interval.

    Nothing where there is no room: a pane can be smaller than what stands left of the scale.
    """
    if width < 1:
        return Line()

    def cell(position: float) -> int:
        share = (position - start) / (end - start)
        return max(0, min(width - 1, round(share * (width - 1))))

    if value < start or math.isnan(value):
        return Line("◂", role).to(width)
    dot = cell(value)
    left = dot if low is None else cell(low)
    right = dot if high is None else cell(high)
    row = [" "] * width
    for position in range(left, right + 1):
        row[position] = "─"
    row[left], row[right] = "├", "┤"
    row[dot] = "●"
    return Line("".join(row), role)
