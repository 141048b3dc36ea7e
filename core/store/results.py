"""What jobs made: artefacts, answers and scores. Files of the run directory are the source; rows can be imported anew."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import NotFoundError
from core.files import read_json, read_lines
from core.home import Home, RunDir
from core.own_paths import former_home, located, stored_result
from core.store.jobs import State


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
    task: str
    project_id: str
    title: str
    state: State
    time: float
    answers: int
    rescorings: int = 0


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

    Repeatable: an answer that is already there stays as it is. Call it in a transaction.
    """
    for answer, behind in read_lines(run.answers, offset):
        offset = behind
        connection.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                job_id,
                answer["candidate"],
                answer["input_id"],
                answer["repeat"],
                answer["key"],
                json.dumps(answer, ensure_ascii=False),
                answer["time"],
            ],
        )
    return offset


def import_scores(connection: sqlite3.Connection, job_id: int, run: RunDir) -> None:
    """Take over the scores of a bake-off's answers. Call it in a transaction, behind `import_answers`."""
    keys = {row["key"] for row in connection.execute("SELECT key FROM answers WHERE job_id = ?", [job_id])}
    scores = (score for score, _ in read_lines(run.scores))
    insert_scores(connection, job_id, (score for score in scores if score["answer_key"] in keys))


def insert_scores(
    connection: sqlite3.Connection, job_id: int, scores: Iterable[dict[str, Any]], rescoring: int = 0
) -> None:
    """Store scores, those of the bake-off itself or of a rescoring; the same check's of the same answer is replaced."""
    connection.executemany(
        """
        INSERT OR REPLACE INTO scores (job_id, rescoring, answer_key, check_hash, check_id, part, value, detail, faulty)
        VALUES (:job_id, :rescoring, :answer_key, :check_hash, :check_id, :part, :value, :detail, :faulty)
        """,
        ({**score, "job_id": job_id, "rescoring": rescoring} for score in scores),
    )


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
    """The bake-offs, newest first."""
    rows = connection.execute(
        """
        SELECT id AS job_id, task, project_id, title, state, coalesce(ended_at, started_at, submitted_at) AS time,
               (SELECT count(*) FROM answers WHERE job_id = jobs.id) AS answers,
               (SELECT count(*) FROM rescorings WHERE job_id = jobs.id) AS rescorings
        FROM jobs WHERE kind = 'bakeoff' ORDER BY id DESC LIMIT ?
        """,
        [limit],
    )
    return [BakeoffRow(**dict(row)) for row in rows]


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


def bakeoff_answers(connection: sqlite3.Connection, job_id: int) -> list[dict[str, Any]]:
    """The answer documents of a bake-off. Raises `NotFoundError`."""
    if connection.execute("SELECT 1 FROM jobs WHERE id = ? AND kind = 'bakeoff'", [job_id]).fetchone() is None:
        raise NotFoundError(f"no bake-off {job_id}", code="job_not_found", remedy="`bakehouse results` lists them")
    rows = connection.execute(
        "SELECT document FROM answers WHERE job_id = ? ORDER BY candidate, input_id, repeat", [job_id]
    )
    return [json.loads(row["document"]) for row in rows]


def bakeoff_scores(connection: sqlite3.Connection, job_id: int, rescoring: int = 0) -> list[dict[str, Any]]:
    """The scores of a bake-off's answers: the original ones, or those of a rescoring by its number."""
    rows = connection.execute(
        """
        SELECT answer_key, check_hash, check_id, part, value, detail, faulty
        FROM scores WHERE job_id = ? AND rescoring = ? ORDER BY answer_key, check_id
        """,
        [job_id, rescoring],
    )
    return [{**dict(row), "faulty": bool(row["faulty"])} for row in rows]
