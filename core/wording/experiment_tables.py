"""Words for the tables of an experiment: titles, heads of columns, and each value as it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.bakeoff.figures import signed
from core.experiments.tables import ExperimentTable, Value
from core.format import SCORE_SCALE, data_size, duration, energy, parameters, score_figure

TITLES: Mapping[str, str] = {
    "base-scores": "Scores before training",
    "before-after": "Before and after training, and in production",
    "training": "What each arm trains, and what that takes",
    "inputs": "Scores by golden input",
    "sizes": "What serves now, and what would in its place",
}
HEADS: Mapping[str, str] = {
    "gain_low": "from",
    "gain_high": "to",
    "in_production": "in production",
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
    "gain_low": _number(signed),
    "gain_high": _number(signed),
    "in_production": _number(score_figure),
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
}
"""How the values of a column are read; of all others texts are themselves and numbers are scores."""


def title_of(table: ExperimentTable) -> str:
    """`Before and after training, and in production: judge, scores 0 to 5`."""
    kind, _, part = table.name.partition(" ")
    where = ", ".join(one for one in (table.task, part) if one)
    scored = f", scores 0 to {SCORE_SCALE}" if kind != "training" else ""
    return f"{TITLES[kind]}{f': {where}' if where else ''}{scored}"


def heads_of(table: ExperimentTable) -> list[str]:
    return [HEADS.get(column, column) for column in table.columns]


def rows_of(table: ExperimentTable) -> list[list[str]]:
    """Every value as it is read."""
    return [
        [value_words(column, value) for column, value in zip(table.columns, row, strict=True)] for row in table.rows
    ]


def value_words(column: str, value: Value) -> str:
    if column in SHOWN:
        return SHOWN[column](value)
    if isinstance(value, float | int):
        return score_figure(value)
    return UNKNOWN if value is None else value
