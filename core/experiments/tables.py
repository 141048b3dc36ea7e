"""The tables of an experiment as plain values, which commands, `--json` and reports show alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import NotFoundError
from core.experiments.shown import ShownExperiment, ShownTask
from core.fleet.rows import FleetRow, fleet_rows
from core.home import Home
from core.statistics.recipe_effect import Effect, recipe_mean

Value = str | int | float | None


@dataclass(frozen=True)
class ExperimentTable:
    """`columns` are keys, `rows` values by column; scores and differences in [−1, 1], sizes in bytes, times in seconds.

    Where a figure has a 95 % interval, columns of its name with `_low` and `_high` follow.
    """

    name: str
    task: str | None
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        document["rows"] = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return document


@dataclass(frozen=True, eq=False)
class TableSource:
    """What tables are made of; `serving` is what serves each task of the project, `of` names arms or models to show alone."""

    shown: ShownExperiment
    serving: Mapping[str, FleetRow]
    file_bytes: Mapping[int, int]
    of: tuple[str, ...] = ()


def table_source(
    home: Home, connection: sqlite3.Connection, shown: ShownExperiment, of: Sequence[str] = ()
) -> TableSource:
    """Looked up once for all tables of an experiment. Raises `NotFoundError` for an arm or a model that it does not have."""
    known = {name for task in shown.tasks for arm in task.evidence.arms for name in (arm.name, arm.model)}
    for name in of:
        if name not in known:
            raise NotFoundError(
                f"{shown.stored.name} has no arm or model `{name}`",
                code="no_arm",
                remedy=f"it has: {', '.join(sorted(known))}",
            )
    rows = fleet_rows(home, connection, shown.stored.project_id)
    serving = {row.task: row for row in rows if row.task is not None}
    jobs = [run.job_id for run in shown.runs.runs]
    sizes = connection.execute(
        f"SELECT job_id, bytes FROM artefacts WHERE kind = 'gguf' AND job_id IN ({', '.join('?' * len(jobs))})",
        jobs,
    )
    return TableSource(shown, serving, {row["job_id"]: row["bytes"] for row in sizes}, tuple(of))


def base_scores(source: TableSource) -> list[ExperimentTable]:
    """What the models score before training, a row a model, a column a task and part."""
    shown = source.shown
    models = list(dict.fromkeys(arm.model for task in shown.tasks for arm in task.evidence.arms))
    places = [(task, part) for task in shown.tasks for part in task.answer.parts]
    rows = []
    for model in models:
        scores: list[Value] = []
        for task, part in places:
            found = task.evidence.untrained.get(model, {}).get(part)
            scores += _bounded(None if found is None else recipe_mean(found))
        rows.append((model, *scores))
    columns = ("model", *(name for task, part in places for name in _bounds(f"{task.name} {part}")))
    return [ExperimentTable("base-scores", None, columns, tuple(rows))]


def before_after(source: TableSource) -> list[ExperimentTable]:
    """Each arm before and after training, and what serves the task now, in a row of its own."""
    return [_before_after(source, task) for task in source.shown.tasks]


def _before_after(source: TableSource, task: ShownTask) -> ExperimentTable:
    serving = source.serving.get(task.name)
    rows: list[tuple[Value, ...]] = []
    for part in task.answer.parts:
        for key in _ranked(task):
            score, gain = task.answer.score(key, part), task.answer.gain(key, part)
            before, after = (None, None) if score is None else (score.untrained, score.tuned)
            gained = None if gain is None else gain.effect
            rows.append((source.shown.names[key], part, *_bounded(before), *_bounded(after), *_bounded(gained), None))
        if serving is not None:
            name, now, unknown = serving.model or serving.alias.name, serving.scores.get(part), _bounded(None)
            rows.append((name, part, *unknown, now, None, None, *unknown, "in production"))
    columns = ("arm", "part", *_bounds("before"), *_bounds("after"), *_bounds("gain"), "serves")
    return ExperimentTable("before-after", task.name, columns, tuple(rows))


def _bounds(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _bounded(effect: Effect | None) -> tuple[Value, Value, Value]:
    return (None, None, None) if effect is None else (effect.mean, effect.interval.low, effect.interval.high)


def training(source: TableSource) -> list[ExperimentTable]:
    """What each arm trains and what that takes: base, rank, learning rate, peak, trainable share, seconds a step."""
    own_columns = ("arm", "base", "weights", "rank", "lr", "parameters", "trainable", "trainable_share")
    columns = (*own_columns, "peak_bytes", "seconds_a_step", "seconds", "joules")
    tables = []
    for task in source.shown.tasks:
        rows = []
        for arm in task.evidence.arms:
            cost, stored = task.answer.cost(arm.key), source.shown.stored.arm(arm.key)
            recipe = {} if stored is None else stored.definition["recipe"]
            share = arm.trainable / arm.parameters if arm.trainable and arm.parameters else None
            own: tuple[Value, ...] = (
                arm.name,
                arm.model,
                arm.weights,
                recipe.get("rank"),
                arm.learning_rate,
                arm.parameters,
                arm.trainable,
            )
            took: tuple[Value, ...] = (None,) * 4
            if cost is not None:
                took = (cost.peak_bytes, cost.seconds_a_step, cost.seconds, cost.joules)
            rows.append((*own, share, *took))
        tables.append(ExperimentTable("training", task.name, columns, tuple(rows)))
    return tables


def inputs(source: TableSource) -> list[ExperimentTable]:
    """What each golden input scores, a column an arm (the mean over its seeds) or an untrained model; `of` names which."""
    tables = []
    for task in source.shown.tasks:
        for part in task.answer.parts:
            scores: dict[str, Any] = {}
            for arm in task.evidence.arms:
                if part in arm.scores and (not source.of or arm.name in source.of):
                    scores[arm.name] = arm.scores[part]
            for model, by_part in task.evidence.untrained.items():
                if part in by_part and (not source.of or model in source.of):
                    scores[f"{model} untrained"] = by_part[part]
            rows = []
            for place, name in enumerate(task.evidence.cluster_of):
                rows.append((name, *(_mean(one.answered[:, place].tolist()) for one in scores.values())))
            columns = ("input", *scores)
            tables.append(ExperimentTable(f"inputs {part}", task.name, columns, tuple(rows)))
    return tables


def sizes(source: TableSource) -> list[ExperimentTable]:
    """What serves each task now, and what would in its place: the leader; with the sizes of their files, where known."""
    rows: list[tuple[Value, ...]] = []
    for task in source.shown.tasks:
        serving, leader = source.serving.get(task.name), task.answer.leader
        part = task.answer.parts[0] if task.answer.parts else None
        new = None if leader is None or part is None else task.answer.score(leader, part)
        old = None if serving is None or part is None else serving.scores.get(part)
        rows.append(
            (
                task.name,
                None if serving is None else serving.model,
                None if serving is None else serving.size_bytes,
                old,
                None if leader is None else source.shown.names[leader],
                None if leader is None else _file_bytes(source, task, leader),
                None if new is None else new.tuned.mean,
            )
        )
    columns = ("task", "old_model", "old_bytes", "old_score", "new_arm", "new_bytes", "new_score")
    return [ExperimentTable("sizes", None, columns, tuple(rows))]


def _file_bytes(source: TableSource, task: ShownTask, arm: str) -> int | None:
    """Of the file that was measured, where files were; an adapter alone serves nobody."""
    known = [source.file_bytes.get(run.job_id) for run in source.shown.runs.of(task.name, arm)]
    found = [size for size in known if size is not None]
    return found[-1] if found else None


def _ranked(task: ShownTask) -> Sequence[str]:
    return task.answer.ranking.order


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else None


TABLES: Mapping[str, Callable[[TableSource], list[ExperimentTable]]] = {
    "base-scores": base_scores,
    "before-after": before_after,
    "training": training,
    "inputs": inputs,
    "sizes": sizes,
}
