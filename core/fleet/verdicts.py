"""What bake-offs measured of the versions of a fleet: for all of them at once, in a few queries."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.aliases.digests import bare
from core.fleet.lineage import deployments
from core.fleet.sent_examples import newest_by_weights, sent_count, shots_of
from core.home import Home

PARTS = ("format", "content")


class Sought(NamedTuple):
    """A version whose measurement is looked for: its task, its weights and its template (None: not known). `project_id`: whose
    bake-offs count, a task of that name in another project being another one; None: all."""

    task: str
    weights: str | None
    template: str | None
    project_id: str | None = None


@dataclass(frozen=True)
class Measurement:
    """What a bake-off measured of a version at a task. `scores` are in [0, 1] by part, `score` is the whole.

    `n_inputs` is how many inputs the candidate was asked. `server_version`, `weights` and `template` are those that answered;
    None where the server did not tell.
    """

    job_id: int
    candidate: str
    task: str
    score: float | None
    scores: Mapping[str, float]
    n_inputs: int | None
    seconds_per_answer: float | None
    tokens_per_second: float | None
    vram_bytes: int | None
    server_version: str | None
    weights: str | None
    template: str | None


class _MeasuredModel(NamedTuple):
    job_id: int
    project_id: str
    name: str
    shots: int | None
    weights: str
    template: str | None
    version: str | None
    vram_bytes: int | None


def measurements(
    home: Home, connection: sqlite3.Connection, sought: Collection[Sought]
) -> dict[Sought, tuple[Measurement, ...]]:
    """The measurements of each version in bake-offs that are done, newest bake-off first; those with its own template go before
    others of its weights. Models that were asked in another way than clients ask are left out: with anything else than the task
    says (`@think=on`), and with more or fewer examples than their deployment says that requests send."""
    weights = {one.weights for one in sought if one.weights is not None}
    if not weights:
        return dict.fromkeys(sought, ())
    by_weights: dict[str | None, list[_MeasuredModel]] = {}
    for found in _candidates(connection, weights):
        by_weights.setdefault(bare(found.weights), []).append(found)
    jobs = {one.job_id for listed in by_weights.values() for one in listed}
    rows = _rows(connection, jobs)
    made = newest_by_weights(deployments(connection)) if rows else {}
    wanted: dict[Sought, list[tuple[_MeasuredModel, Mapping[str, Any]]]] = {}
    for one in sought:
        listed = by_weights.get(bare(one.weights), []) if one.weights is not None else []
        listed = [c for c in listed if one.project_id in (None, c.project_id)]
        listed = [c for c in listed if (c.job_id, one.task, c.name) in rows]
        shots = sent_count(home, made.get((one.task, bare(one.weights) or ""))) if listed else 0
        fitting = [(c, rows[c.job_id, one.task, c.name]) for c in listed if c.shots == shots]
        wanted[one] = sorted(fitting, key=lambda pair: (not _same_template(one, pair[0]), -pair[0].job_id))
    return {one: tuple(_measurement(one.task, c, row) for c, row in pairs) for one, pairs in wanted.items()}


def _same_template(one: Sought, candidate: _MeasuredModel) -> bool:
    return None in (one.template, candidate.template) or one.template == candidate.template


def _measurement(task: str, candidate: _MeasuredModel, row: Mapping[str, Any]) -> Measurement:
    scores = {part: float(row[f"{part}_score"]) for part in PARTS if row.get(f"{part}_score") is not None}
    return Measurement(
        candidate.job_id,
        candidate.name,
        task,
        row.get("score"),
        scores,
        row.get("inputs"),
        row.get("seconds_per_answer"),
        row.get("tokens_per_second"),
        candidate.vram_bytes,
        candidate.version,
        candidate.weights,
        candidate.template,
    )


def _candidates(connection: sqlite3.Connection, weights: Collection[str]) -> Iterator[_MeasuredModel]:
    """The newest load of each candidate with such weights, in bake-offs that are done."""
    both = {f"sha256:{bare(one)}" for one in weights} | {str(bare(one)) for one in weights}
    rows = connection.execute(
        """
        SELECT job_id, project_id, max(number), candidate,
               json_extract(document, '$.identity.weights') AS weights,
               json_extract(document, '$.identity.template') AS template,
               json_extract(document, '$.identity.version') AS version,
               json_extract(document, '$.loaded.vram_bytes') AS vram_bytes
        FROM measured_candidates JOIN jobs ON jobs.id = job_id
        WHERE state = 'done'
          AND json_extract(document, '$.identity.weights') IN (SELECT value FROM json_each(?))
        GROUP BY job_id, candidate
        """,
        [json.dumps(sorted(both))],
    )
    for row in rows:
        yield _MeasuredModel(
            row["job_id"],
            row["project_id"],
            row["candidate"],
            shots_of(row["candidate"]),
            row["weights"],
            row["template"],
            row["version"],
            row["vram_bytes"],
        )


def _rows(connection: sqlite3.Connection, jobs: Collection[int]) -> dict[tuple[int, str, str], Mapping[str, Any]]:
    """What these bake-offs came to, by (bake-off, task, candidate): under the newest scores, with the number of `inputs`."""
    found: dict[tuple[int, str, str], Mapping[str, Any]] = {}
    rows = connection.execute(
        """
        SELECT id, settings, coalesce((SELECT summary FROM rescorings WHERE job_id = jobs.id ORDER BY number DESC LIMIT 1),
                                      json_extract(result, '$.summary')) AS summary
        FROM jobs WHERE id IN (SELECT value FROM json_each(?))
        """,
        [json.dumps(sorted(jobs))],
    )
    for row in rows:
        summary, repeats = json.loads(row["summary"]) if row["summary"] else {}, _repeats(json.loads(row["settings"]))
        for task, candidates in _tasks(summary):
            for one in candidates:
                # What a job loads itself has the same weights, and is not what clients ask.
                if one.get("form") == "served":
                    inputs = _inputs(one, repeats.get(task))
                    found[row["id"], task, str(one.get("name"))] = {**one, "inputs": inputs}
    return found


def _repeats(settings: Mapping[str, Any]) -> dict[str, int]:
    """How often each input of a task was asked, by the task; empty of a bake-off that an older version queued."""
    tasks, told = settings.get("tasks") or [], settings.get("repeats")
    listed = told if isinstance(told, list) else [told] * len(tasks)
    return {str(task): int(one) for task, one in zip(tasks, listed, strict=False) if one}


def _inputs(row: Mapping[str, Any], repeats: int | None) -> int | None:
    """How many inputs a candidate was asked, by how many answers were expected of it."""
    answers, missing = row.get("answers"), row.get("missing")
    if not repeats or not isinstance(answers, int) or not isinstance(missing, int):
        return None
    return (answers + missing) // repeats


def _tasks(summary: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for of_task in summary.get("tasks") or [summary]:
        yield str(of_task.get("task")), of_task.get("candidates") or []
