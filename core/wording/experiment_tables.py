"""Words for the tables of an experiment: titles, heads of columns, and each value as it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.bakeoff.figures import bounds, signed
from core.experiments.tables import ExperimentTable, Value
from core.format import SCORE_SCALE, data_size, duration, energy, learning_rate, parameters, score_figure
from core.statistics.paired import Interval

TITLES: Mapping[str, str] = {
    "base-scores": "Scores before training",
    "before-after": "Before and after training, and in production",
    "training": "What each arm trains, and what that takes",
    "inputs": "Scores by golden input",
    "sizes": "What serves now, and what would in its place",
}
HEADS: Mapping[str, str] = {
    "serves": "",
    "trainable_share": "share",
    "peak_bytes": "peak",
    "seconds_a_step": "a step",
    "seconds": "a training",
    "joules": "energy",
    "old_model": "now",
    "old_bytes": "size",
    "old_score": "score",
    "new_arm": "in its place",
    "new_bytes": "its size",
    "new_score": "its score",
}
UNKNOWN = "—"


def _number(shown: Callable[[float], str]) -> Callable[[Value], str]:
    return lambda value: shown(value) if isinstance(value, int | float) else UNKNOWN


SHOWN: Mapping[str, Callable[[Value], str]] = {
    "before": _number(score_figure),
    "after": _number(score_figure),
    "gain": _number(signed),
    "old_score": _number(score_figure),
    "new_score": _number(score_figure),
    "parameters": _number(lambda value: parameters(int(value))),
    "trainable": _number(lambda value: f"{value / 1e3:.0f} k" if value < 9_950_000 else parameters(int(value))),
    "trainable_share": _number(lambda value: f"{100 * value:.2f} %"),
    "peak_bytes": _number(data_size),
    "old_bytes": _number(data_size),
    "new_bytes": _number(data_size),
    "seconds_a_step": _number(lambda value: f"{value:.1f} s" if value >= 9.95 else f"{value:.2f} s"),
    "seconds": _number(duration),
    "joules": _number(lambda value: energy(value / 3600)),
    "rank": _number(lambda value: f"{value:g}"),
    "lr": _number(learning_rate),
    "serves": lambda value: str(value or ""),
}
"""How the values of a column are read; of all others texts are themselves and numbers are scores."""


def title_of(table: ExperimentTable) -> str:
    """`Before and after training, and in production: judge, scores 0 to 5`."""
    kind, _, part = table.name.partition(" ")
    where = ", ".join(one for one in (table.task, part) if one)
    scored = f", scores 0 to {SCORE_SCALE}" if kind != "training" else ""
    return f"{TITLES[kind]}{f': {where}' if where else ''}{scored}"


def heads_of(table: ExperimentTable) -> list[str]:
    return [HEADS.get(column, column) for column in shown_columns(table)]


def shown_columns(table: ExperimentTable) -> list[str]:
    """Without the ends of intervals, which are read beside their figures."""
    return [column for column in table.columns if not column.endswith(("_low", "_high"))]


def rows_of(table: ExperimentTable) -> list[list[str]]:
    """Every value as it is read: `4.47 [4.10, 4.80]`."""
    by_column = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return [[_cell(row, column) for column in shown_columns(table)] for row in by_column]


def _cell(row: Mapping[str, Value], column: str) -> str:
    written = value_words(column, row[column])
    low, high = (row.get(f"{column}_{end}") for end in ("low", "high"))
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return written
    least = -1.0 if column == "gain" else 0.0  # a t interval knows of no ends that a score has
    return f"{written} {bounds(Interval(max(least, low), min(1.0, high)))}"


def value_words(column: str, value: Value) -> str:
    if column in SHOWN:
        return SHOWN[column](value)
    if isinstance(value, float | int):
        return score_figure(value)
    return UNKNOWN if value is None else value
