"""What jobs made: artefacts, answers, measurements. Files of the run directory are the source; rows can be imported anew."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import NotFoundError
from core.files import read_json, read_lines
from core.home import Home, RunDir
from core.own_paths import former_home, located, stored_result
from core.store.jobs import State, known_id


@dataclass(frozen=True)
class ArtefactRow:
    """Something a job made: kind is `adapter`, `merged`, `model`, …"""

    sha256: str
    job_id: int
    kind: str
    path: Path
    bytes: int
    lineage: dict[str, Any]
    created_at: float


@dataclass(frozen=True)
class BakeoffRow:
    """A bake-off in the queue, whatever its state. `answers` counts those imported so far,
    `rescorings` how often they were scored again."""

    job_id: int
    tasks: tuple[str, ...]
    project_id: str
    title: str
    state: State
    time: float
    answers: int
    rescorings: int = 0

    @property
    def task(self) -> str:
        """The name of its one task, or `3 tasks`."""
        return self.tasks[0] if len(self.tasks) == 1 else f"{len(self.tasks)} tasks"


def import_result(connection: sqlite3.Connection, job_id: int, run: RunDir) -> dict[str, Any]:
    """Take over `result.json`: the job's summary and its artefacts. Call it in a transaction; again is harmless."""
    result = stored_result(run.home, read_json(run.result), former_home(run))
    for artefact in result.get("artefacts", []):
        connection.execute(
            "INSERT OR REPLACE INTO artefacts VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                artefact["sha256"],
                job_id,
                artefact["kind"],
                artefact["path"],
                artefact["bytes"],
                json.dumps(artefact.get("lineage", {})),
                time.time(),
            ],
        )
    connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [json.dumps(result), job_id])
    return result


def import_answers(connection: sqlite3.Connection, job_id: int, run: RunDir, offset: int = 0) -> int:
    """Take over the answers of a bake-off that were written behind `offset`; returns where reading goes on.

    Repeatable. Of the lines for one place the first counts; one that a server failed to give makes way for a later good answer,
    and one with another key (its model changed half-way, so it was asked for again) for the later one, if that is a good one.
    One that is withdrawn counts no more. Call it in a transaction.
    """
    for answer, behind in read_lines(run.answers, offset):
        offset = behind
        connection.execute(
            """
            INSERT INTO answers (job_id, task, candidate, input_id, repeat, key, time, document)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (job_id, task, candidate, input_id, repeat) DO UPDATE
            SET key = excluded.key, time = excluded.time, document = excluded.document
            WHERE CASE
              WHEN json_extract(excluded.document, '$.withdrawn') THEN key = excluded.key
              WHEN json_extract(excluded.document, '$.fault') IS 'server' THEN fault = 'server' AND key <> excluded.key
              ELSE fault = 'server' OR key <> excluded.key END
            """,
            [
                job_id,
                answer["task"],
                answer["candidate"],
                answer["input_id"],
                answer["repeat"],
                answer["key"],
                answer["time"],
                json.dumps(answer, ensure_ascii=False),
            ],
        )
    return offset


def import_measured(connection: sqlite3.Connection, job_id: int, run: RunDir) -> None:
    """Take over what a bake-off measured of its candidates beside their answers; again is harmless. In a transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO measured_candidates (job_id, number, candidate, time, document) VALUES (?, ?, ?, ?, ?)",
        [
            (job_id, number, line["candidate"], line["time"], json.dumps(line, ensure_ascii=False))
            for number, (line, _) in enumerate(read_lines(run.candidates), 1)
        ],
    )


def bakeoff_measured(connection: sqlite3.Connection, job_id: int) -> list[dict[str, Any]]:
    """What was measured of the candidates of a bake-off beside their answers, as its job wrote it, in its order."""
    rows = connection.execute("SELECT document FROM measured_candidates WHERE job_id = ? ORDER BY number", [job_id])
    return [json.loads(row["document"]) for row in rows]


def list_artefacts(connection: sqlite3.Connection, home: Home, job_id: int | None = None) -> list[ArtefactRow]:
    """The artefacts of one job or of all, newest first."""
    where = "" if job_id is None else "WHERE job_id = :job_id"
    rows = connection.execute(f"SELECT * FROM artefacts {where} ORDER BY created_at DESC", {"job_id": job_id})
    return [
        ArtefactRow(
            sha256=row["sha256"],
            job_id=row["job_id"],
            kind=row["kind"],
            path=Path(located(home, row["path"])),
            bytes=row["bytes"],
            lineage=json.loads(row["lineage"]),
            created_at=row["created_at"],
        )
        for row in rows
    ]


def list_bakeoffs(connection: sqlite3.Connection, limit: int = 50) -> list[BakeoffRow]:
    """The bake-offs, newest first. Their tasks are told by what the job was told, else by its answers."""
    rows = connection.execute(
        """
        SELECT id AS job_id, task, json_extract(settings, '$.tasks') AS tasks, project_id, title, state,
               coalesce(ended_at, started_at, submitted_at) AS time,
               (SELECT count(*) FROM answers WHERE job_id = jobs.id) AS answers,
               (SELECT count(*) FROM rescorings WHERE job_id = jobs.id) AS rescorings
        FROM jobs WHERE kind = 'bakeoff' ORDER BY id DESC LIMIT ?
        """,
        [limit],
    )
    found = []
    for row in rows.fetchall():
        values = dict(row)
        tasks, task = values.pop("tasks"), values.pop("task")
        named = tuple(map(str, json.loads(tasks))) if tasks else (task,) if task else ()
        found.append(BakeoffRow(**values, tasks=named or answered_tasks(connection, values["job_id"])))
    return found


def answered_tasks(connection: sqlite3.Connection, job_id: int) -> tuple[str, ...]:
    """The tasks that the answers of a bake-off are of, in the order of their names."""
    return tuple(
        row[0]
        for row in connection.execute("SELECT DISTINCT task FROM answers WHERE job_id = ? ORDER BY task", [job_id])
    )


def run_scores(connection: sqlite3.Connection) -> dict[int, float]:
    """The score in [0, 1] of what each job made, by the job: in the newest bake-off with it, under the newest scores."""
    found: dict[int, float] = {}
    rows = connection.execute(
        """
        SELECT coalesce((SELECT summary FROM rescorings WHERE job_id = jobs.id ORDER BY number DESC LIMIT 1),
                        json_extract(result, '$.summary')) AS summary
        FROM jobs WHERE kind = 'bakeoff' AND state = 'done' ORDER BY ended_at DESC LIMIT 100
        """
    )
    for row in rows:
        for job, score in scores_in(json.loads(row["summary"]) if row["summary"] else {}):
            found.setdefault(job, score)
    return found


def scores_in(summary: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """(job, score in [0, 1]) of each candidate of a result that a job made; of several tasks the first that scored counts."""
    for of_task in summary.get("tasks") or [summary]:
        for candidate in of_task.get("candidates") or ():
            reference, score = str(candidate.get("ref") or ""), candidate.get("score")
            job = reference.removeprefix("job:").partition("/")[0]
            if reference.startswith("job:") and job.isdecimal() and isinstance(score, int | float):
                yield int(job), float(score)


def require_bakeoff(connection: sqlite3.Connection, job_id: int) -> None:
    """Raises `NotFoundError` when there is no bake-off of that number."""
    if (
        connection.execute("SELECT 1 FROM jobs WHERE id = ? AND kind = 'bakeoff'", [known_id(job_id)]).fetchone()
        is None
    ):
        raise NotFoundError(f"no bake-off {job_id}", code="job_not_found", remedy="`bakehouse results` lists them")


def bakeoff_answers(connection: sqlite3.Connection, job_id: int, task: str | None = None) -> list[dict[str, Any]]:
    """The answer documents of a bake-off, or of one of its tasks. Raises `NotFoundError`."""
    require_bakeoff(connection, job_id)
    rows = connection.execute(
        """
        SELECT document FROM answers WHERE job_id = :job_id AND (:task IS NULL OR task = :task)
        ORDER BY task, candidate, input_id, repeat
        """,
        {"job_id": job_id, "task": task},
    )
    return [json.loads(row["document"]) for row in rows]
