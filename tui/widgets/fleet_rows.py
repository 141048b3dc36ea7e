"""The fleet, a row a task: what serves it, its scores and size before and now, and what a person should know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.format import SCORE_SCALE, data_size, percent, plural, score_figure, when
from core.serving.replies import name_key
from core.text import printable
from core.wording.fleet_rows import RemarkCode, RowRemark, row_remarks
from tui.lines import Line
from tui.widgets.served_rows import ServingRow, short_name

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow

NOT_LOADED = "◌"
SIGN, SCORES, LEAST_STATE = 2, 10, 12
WIDE = 92
"""From so many cells on the model, its content score and its memory have columns of their own."""
MODEL, CONTENT, VRAM = 22, 9, 9


@dataclass(frozen=True)
class Remark:
    """One thing to know of a row: in full, in a few cells, and its role. An `urgent` one says that all may not be well."""

    words: str
    short: str
    role: str
    urgent: bool = False


@dataclass(frozen=True)
class FleetColumns:
    """Where the columns of a table of so many cells begin; `model` is None where there is no room for the further ones."""

    width: int
    alias: int
    model: int | None
    scores: int
    sizes: int
    """How many cells the sizes take."""
    state: int


def columns(rows: Sequence[FleetRow], width: int) -> FleetColumns:
    """As much of the names as fits; scores and sizes are never cut."""
    task = max(8, min(16, max((len(row.task or "") for row in rows), default=0) + 1))
    names = max(12, max((len(row.alias.name) for row in rows), default=0) + 1)
    sizes = 1 + max(3, *(len(former) + len(now) for former, now in map(size_words, rows)))
    figures = SCORES + sizes
    if width >= WIDE:
        figures += CONTENT + VRAM
        names = min(names, 28)
        model = SIGN + task + names
        return FleetColumns(width, SIGN + task, model, model + MODEL, sizes, model + MODEL + figures)
    names = max(10, min(names, width - SIGN - task - figures - LEAST_STATE))
    scores = SIGN + task + names
    return FleetColumns(width, SIGN + task, None, scores, sizes, scores + figures)


def serves(one: ServingRow, row: FleetRow) -> bool:
    """Whether what serves is this alias: by the name of a served model, or as Ollama compares names."""
    if row.alias.is_served_here:
        return one.served is not None and one.name == row.alias.name
    return one.served is None and name_key(one.name) == row.alias.name_key


def is_alias(one: ServingRow, fleet: Iterable[FleetRow]) -> bool:
    return any(serves(one, row) for row in fleet)


def serving_of(row: FleetRow, serving: Iterable[ServingRow]) -> ServingRow:
    """What is known this moment of the model that serves; one of Ollama that is not in memory is loaded when a client asks."""
    for one in serving:
        if serves(one, row):
            return replace(one, reference=row.reference)
    if row.alias.is_served_here:
        return ServingRow(row.alias.name, row.reference, "✗", "bad", "there is no such served model")
    return ServingRow(row.alias.name, row.reference, NOT_LOADED, "text", "not loaded until a client asks")


def leading(scores: Mapping[str, float]) -> float | None:
    """The score that leads: that of the format, else of the content."""
    return next((scores[part] for part in ("format", "content") if part in scores), None)


def figures_of(count: float | None) -> str:
    """Bytes in GB for a column: `4.3`, `0.14`; `—` when not known."""
    if count is None:
        return "—"
    return f"{count / 1e9:.1f}" if count >= 995_000_000 else f"{count / 1e9:.2f}"


def size_words(row: FleetRow) -> tuple[str, str]:
    """`8.5→` and `4.3`, in GB; the former one only where it was another."""
    now = figures_of(row.size_bytes)
    before = None if row.before is None else row.before.version.size_bytes
    former = "" if before is None or row.size_bytes is None else figures_of(before)
    return (f"{former}→" if former not in ("", now) else "", now)


def remarks(row: FleetRow, now: float) -> list[Remark]:
    """What a person should know, the most urgent first. That a served model is stopped, its own sign says."""
    return [_remark(row, one) for one in row_remarks(row, now) if one.code in MARKS]


def _remark(row: FleetRow, one: RowRemark) -> Remark:
    short, role = MARKS[one.code]
    if one.code == "moving" and row.change is not None:
        short += CHANGES.get(row.change.kind, row.change.kind)
    if one.code == "challenger" and row.challenger is not None:
        progress = row.challenger.progress
        short += printable(row.challenger.stage) + ("" if progress is None else f" {percent(progress)}")
    back = ": R brings back what was recorded" if one.code in ("gone", "changed") else ""
    return Remark(f"{one.words}{back}", short, role, one.urgent)


MARKS: Mapping[RemarkCode, tuple[str, str]] = {
    "moving": ("▷ ", "busy"),
    "empty": ("nothing yet", "dim"),
    "silent": ("▲ silent", "warn"),
    "gone": ("▲ gone", "bad"),
    "changed": ("▲ changed", "bad"),
    "drift": ("▼ drift", "bad"),
    "stale": ("▲ stale", "warn"),
    "challenger": ("◇ ", "busy"),
    "checked": ("", "dim"),
    "overridden": ("", "warn"),
}
"""By the code of a remark: in a few cells, and its role."""
CHANGES: Mapping[str, str] = {
    "promote": "promoting",
    "rollback": "rollback",
}
"""A move under way, in a narrow column: the others are done at once."""


def fleet_head(place: FleetColumns) -> Line:
    line = Line("  task", "dim").to(place.alias).add("alias", "dim")
    if place.model is not None:
        line.to(place.model).add("model", "dim")
    line.to(place.scores).add(f"{f'of {SCORE_SCALE}':>{SCORES - 1}} ", "dim")
    if place.model is not None:
        line.add(f"{'content':>{CONTENT - 1}} ", "dim")
    line.add(f"{'GB':>{place.sizes - 1}} ", "dim")
    if place.model is not None:
        line.add(f"{'VRAM':>{VRAM - 1}} ", "dim")
    return line.right(Line("since", "dim"), place.width)


def fleet_line(row: FleetRow, place: FleetColumns, serving: ServingRow, now: float, mark: str = "") -> Line:
    """A task in one row: the sign says whether its model serves now, the end what to look at, else since when it serves."""
    line = Line(f"{serving.sign} ", serving.role, mark)
    line.add(printable(row.task or "—"), "text" if row.task else "dim").cut(place.alias - 1).to(place.alias)
    names = (place.model or place.scores) - place.alias
    line.add(short_name(printable(row.alias.name), names - 1)).to(place.model or place.scores)
    if place.model is not None:
        line.add(short_name(printable(row.model or "model unknown"), MODEL - 1), "text" if row.model else "dim")
        line.to(place.scores)
    line.extend(_scores(row, leading, SCORES))
    if place.model is not None:
        line.extend(_scores(row, lambda scores: scores.get("content"), CONTENT, with_before=False))
    former, now_held = size_words(row)
    line.add(" " * max(0, place.sizes - 1 - len(former) - len(now_held))).add(former, "dim").add(f"{now_held} ")
    if place.model is not None:
        line.add(f"{data_size(serving.size):>{VRAM - 1}} ", "dim")
    state = _state(row, remarks(row, now), place.width - place.state, now)
    return line.to(place.width - state.width).extend(state)


def _state(row: FleetRow, told: Sequence[Remark], room: int, now: float) -> Line:
    shown = next((one for one in told if one.short), None)
    if shown is None:
        return Line(when(row.alias.since, now), "dim")
    words = shown.words if len(shown.words) <= room else shown.short
    return Line(words, shown.role).cut(max(1, room))


def _scores(
    row: FleetRow, of: Callable[[Mapping[str, float]], float | None], room: int, *, with_before: bool = True
) -> Line:
    """`2.10→4.92`, the former one dimmed; a fall is marked."""
    now, before = of(row.scores), of(row.before.scores) if row.before is not None and with_before else None
    former = f"{score_figure(before)}→" if before is not None and now is not None else ""
    role = "dim" if now is None else "warn" if before is not None and now < before else "good" if now >= 0.9 else "text"
    text = score_figure(now)
    return Line(" " * max(0, room - 1 - len(former) - len(text))).add(former, "dim").add(text, role).add(" ")


def fleet_words(rows: Collection[FleetRow], now: float) -> str:
    """`8 tasks · 1 promoting · 2 stale`: how many tasks are served, and what is to be looked at."""
    tasks = sum(row.task is not None for row in rows)
    counts = Counter(one.short[2:] for row in rows for one in remarks(row, now) if one.urgent)
    return " · ".join([plural(tasks, "task"), *(f"{count} {word}" for word, count in counts.items())])
