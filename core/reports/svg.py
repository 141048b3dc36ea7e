"""Charts as SVG without anything outside: they take the colours of the page that holds them, in print and on dark screens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from core.bakeoff.figures import signed
from core.format import SCORE_SCALE, score_figure
from core.text import cell_width, printable

ROW, PLOT, AXIS = 26, 420, 30
CELL = 8.8
"""The most that a letter takes on average at 13 px, in px: that of DejaVu Sans, the widest that pages are usually shown in."""
POINT = 4.5


@dataclass(frozen=True)
class ForestMark:
    """A row of a forest plot: a mean with its interval on the scores' own scale. None: not known; `words` stand beside it."""

    label: str
    mean: float | None
    low: float | None
    high: float | None
    words: str
    worse: bool = False
    leads: bool = False


def forest_svg(rows: Sequence[ForestMark], title: str) -> str:
    """Each arm less the leader; the line is no difference."""
    ends = [0.0] + [end for row in rows for end in (row.low, row.high, row.mean) if end is not None]
    low, high = max(-1.0, min(ends)), min(1.0, max(ends))
    low, high = (low, high) if high > low else (low - 0.1, high + 0.1)

    left, right = _room(row.label for row in rows), _room(row.words for row in rows)

    def at(value: float) -> float:
        return left + PLOT * (min(high, max(low, value)) - low) / (high - low)

    height = ROW * len(rows) + AXIS
    parts = [_line(at(0.0), 0, at(0.0), ROW * len(rows), "zero")]
    for number, row in enumerate(rows):
        y = ROW * number + ROW / 2
        kind = "worse" if row.worse else "leads" if row.leads else "tied"
        parts.append(_text(left - 12, y, row.label, "end"))
        if row.low is not None and row.high is not None:
            parts.append(_line(at(row.low), y, at(row.high), y, kind))
            parts += [_line(at(end), y - 5, at(end), y + 5, kind) for end in (row.low, row.high)]
        if row.mean is not None:
            parts.append(f'<circle class="{kind}" cx="{at(row.mean):.1f}" cy="{y:.1f}" r="{POINT}"/>')
        elif row.leads:
            x = at(0.0)
            parts.append(f'<path class="{kind}" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>')
        parts.append(_text(left + PLOT + 12, y, row.words, "start"))
    for value in sorted({low, 0.0, high}):
        parts.append(_text(at(value), height - 8, signed(value), "middle", "axis"))
    return _svg(left + PLOT + right, height, title, parts)


@dataclass(frozen=True)
class Slope:
    """A score before and after, on the scores' own scale."""

    label: str
    before: float
    after: float
    leads: bool = False


def slopes_svg(slopes: Sequence[Slope], title: str) -> str:
    """Before on the left, after on the right, one line an arm."""
    top, left, right, least = 20, 90, 420, 16
    height = max(320, 2 * top + least * len(slopes))

    def y(score: float) -> float:
        return top + (height - 2 * top) * (1 - min(1.0, max(0.0, score)))

    parts = [_line(left, top, left, height - top, "axis"), _line(right, top, right, height - top, "axis")]
    parts += [_text(left - 12, y(value / SCORE_SCALE), str(value), "end", "axis") for value in range(SCORE_SCALE + 1)]
    places = _apart([y(one.after) for one in slopes], least, height - top)
    labels = [f"{one.label} {score_figure(one.after)}" for one in slopes]
    for one, label, place in zip(slopes, labels, places, strict=True):
        kind = "leads" if one.leads else "tied"
        parts.append(_line(left, y(one.before), right, y(one.after), kind))
        for x, score in ((left, one.before), (right, one.after)):
            parts.append(f'<circle class="{kind}" cx="{x}" cy="{y(score):.1f}" r="{POINT}"/>')
        parts.append(_text(right + 14, place, label, "start"))
    parts += [_text(left, height - 4, "before", "middle", "axis"), _text(right, height - 4, "after", "middle", "axis")]
    return _svg(right + _room(labels), height, title, parts)


def _room(texts: Iterable[str]) -> float:
    """What the widest of the texts takes beside a chart, in px."""
    return 24 + CELL * max((cell_width(printable(text)) for text in texts), default=0)


def _apart(places: Sequence[float], least: float, bottom: float) -> list[float]:
    """The same, moved so that no two labels are nearer than `least` and none is below `bottom`, in the same order."""
    order = sorted(range(len(places)), key=lambda one: places[one])
    found = list(places)
    for before, after in itertools.pairwise(order):
        found[after] = max(found[after], found[before] + least)
    for number, one in enumerate(reversed(order)):
        found[one] = min(found[one], bottom - least * number)
    return found


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    said = escape(printable(title))
    head = f'<svg role="img" aria-label="{said}" viewBox="0 0 {width:g} {height:g}" xmlns="http://www.w3.org/2000/svg">'
    return f"{head}<title>{said}</title>{''.join(parts)}</svg>"


def _line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "label") -> str:
    where = f'x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {where}>{escape(printable(text))}</text>'
