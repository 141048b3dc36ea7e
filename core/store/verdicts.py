"""Verdicts: what judge models said of answers, a row for each time that one was asked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import Literal

from core.files import read_lines
from core.home import RunDir

AskOrder = Literal["", "AB", "BA"]
"""Which of two texts the judge saw first: the answer (`AB`) or the reference; empty where nothing was compared."""


@dataclass(frozen=True)
class JudgeVerdict:
    """What a judge said of one answer. `time` is in Unix seconds.

    `key` is the hash of all that the verdict depends on; `check_hash` tells the check with its rubric. `job_id` is the job that
    asked and `bakeoff_job_id` the bake-off whose answer was shown, each None once that job is removed. `judge_identity` is the
    hash of the weights, template and parameters that answered; `ask` counts from 1 where the same is asked several times.
    `text` is what the judge wrote, `value` what that says in [0, 1], None where it says nothing.
    """

    key: str
    job_id: int | None
    bakeoff_job_id: int | None
    task: str
    check_hash: str
    answer_key: str
    answer_sha256: str
    candidate: str
    judge: str
    judge_identity: str
    ask_order: AskOrder
    ask: int
    text: str
    value: float | None
    time: float


_COLUMNS = ", ".join(field.name for field in fields(JudgeVerdict))


def insert_verdicts(connection: sqlite3.Connection, verdicts: Iterable[JudgeVerdict]) -> None:
    """Store verdicts. Call it in a transaction; again is harmless: of a bake-off's key the first stays, but one
    without a value makes way for one that has it. It is as new as the last time that it was told."""
    connection.executemany(
        f"""
        INSERT INTO verdicts ({_COLUMNS}) VALUES ({", ".join("?" * len(fields(JudgeVerdict)))})
        ON CONFLICT (bakeoff_job_id, key) DO UPDATE
        SET job_id = iif(value IS NULL, excluded.job_id, job_id), text = iif(value IS NULL, excluded.text, text),
            value = coalesce(value, excluded.value), time = max(time, excluded.time)
        WHERE excluded.value IS NOT NULL
        """,
        [astuple(one) for one in verdicts],
    )


def list_verdicts(
    connection: sqlite3.Connection,
    *,
    bakeoff_job_id: int | None = None,
    task: str | None = None,
    check_hash: str | None = None,
) -> list[JudgeVerdict]:
    """The verdicts of a bake-off, a task, a check, as far as they are given; in the order in which they were stored."""
    rows = connection.execute(
        f"""
        SELECT {_COLUMNS} FROM verdicts
        WHERE (:bakeoff IS NULL OR bakeoff_job_id = :bakeoff) AND (:task IS NULL OR task = :task)
          AND (:check IS NULL OR check_hash = :check)
        ORDER BY id
        """,
        {"bakeoff": bakeoff_job_id, "task": task, "check": check_hash},
    )
    return [JudgeVerdict(*row) for row in rows]


def import_verdicts(
    connection: sqlite3.Connection, job_id: int, bakeoff_job_id: int, run: RunDir, offset: int = 0
) -> int:
    """Take over what the judges of a job have said of a bake-off's answers behind `offset`; returns where reading goes on.

    Repeatable; what was withdrawn is taken out. Call it in a transaction.
    """
    for line, behind in read_lines(run.verdicts, offset):
        offset = behind
        if line["withdrawn"]:
            connection.execute(
                "DELETE FROM verdicts WHERE bakeoff_job_id = ? AND key = ?", [bakeoff_job_id, line["key"]]
            )
            continue
        named = {"job_id": job_id, "bakeoff_job_id": bakeoff_job_id}
        insert_verdicts(connection, [JudgeVerdict(*({**line, **named}[field.name] for field in fields(JudgeVerdict)))])
    return offset


def verdicts_of_checks(connection: sqlite3.Connection, check_hashes: Iterable[str]) -> list[JudgeVerdict]:
    """What judges have said in any bake-off when they were asked this, each verdict once; without those that say nothing."""
    rows = connection.execute(
        f"""
        SELECT {_COLUMNS} FROM verdicts WHERE id IN (
          SELECT min(id) FROM verdicts
          WHERE check_hash IN (SELECT value FROM json_each(?)) AND value IS NOT NULL GROUP BY key
        ) ORDER BY id
        """,
        [json.dumps(sorted(set(check_hashes)))],
    )
    return [JudgeVerdict(*row) for row in rows]


def judged_bakeoff(connection: sqlite3.Connection, job_id: int) -> int:
    """The bake-off whose answers a job has judged: itself, or the one that it was told of."""
    row = connection.execute("SELECT json_extract(settings, '$.bakeoff') FROM jobs WHERE id = ?", [job_id]).fetchone()
    return int(row[0]) if row is not None and row[0] is not None else job_id
