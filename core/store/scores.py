"""What scorings say of the answers of a bake-off: a row an answer, with a number for each of its checks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from core.files import read_lines
from core.home import RunDir
from core.store.answer_scores import AnswerScores, Kept, of_single
from core.store.database import transaction
from core.store.rescorings import CheckChange, current_number, insert_rescoring
from core.store.store_error import StoreError


def read_scores(run: RunDir) -> Iterator[AnswerScores]:
    """The lines of `scores.jsonl`; in those of older versions each check has a line of its own."""
    singles: dict[str, list[dict[str, Any]]] = {}
    for document, _ in read_lines(run.scores):
        if "points" in document:
            yield AnswerScores.from_json(document)
        else:
            singles.setdefault(document["answer_key"], []).append(document)
    yield from map(of_single, singles.values())


def import_scores(connection: sqlite3.Connection, job_id: int, run: RunDir) -> None:
    """Take over the scores of a bake-off's answers. Call it in a transaction, behind `import_answers`; again is harmless."""
    insert_answer_scores(connection, job_id, read_scores(run))


def import_judging(connection: sqlite3.Connection, run: RunDir, result: Mapping[str, Any]) -> None:
    """Take over what a judging came to: a rescoring of its bake-off. Call it in a transaction.

    Nothing where the bake-off was scored again meanwhile: these are not the checks that count by now. Its verdicts are stored,
    so that another rescoring reads them.
    """
    found = result["summary"]["rescoring"]
    job_id = int(found["bakeoff"])
    if current_number(connection, job_id) != found["scoring"]:
        return
    number = insert_rescoring(
        connection,
        job_id,
        author=found["author"],
        message=found["message"],
        checks=found["checks"],
        changes=[CheckChange(**change) for change in found["changes"]],
        summary=found["summary"],
    )
    insert_answer_scores(connection, job_id, read_scores(run), number)


def insert_answer_scores(
    connection: sqlite3.Connection, job_id: int, scores: Iterable[AnswerScores], rescoring: int = 0
) -> None:
    """Store what a scoring says of answers. What it says of an answer that is not stored is left out; a row that is there is
    replaced."""
    by_key: dict[str, dict[str, int]] = {}
    for number, key, candidate in connection.execute(
        "SELECT id, key, candidate FROM answers WHERE job_id = ?", [job_id]
    ):
        by_key.setdefault(key, {})[candidate] = number
    plans: dict[tuple[tuple[str, str, str], ...], int] = {}

    def rows() -> Iterator[tuple[Any, ...]]:
        for one in scores:
            givers = by_key.get(one.answer_key, {})
            answers = list(givers.values()) if one.candidate is None else [givers.get(one.candidate)]
            for answer in answers:
                if answer is None:
                    continue
                if (plan := plans.get(one.checks)) is None:
                    plan = plans[one.checks] = _plan_id(connection, one.checks)
                details = json.dumps({str(k): v for k, v in one.details.items()}, ensure_ascii=False)
                points = json.dumps(one.points)
                yield (
                    job_id,
                    rescoring,
                    answer,
                    plan,
                    points,
                    details,
                    json.dumps(one.faulty),
                    one.fault,
                    one.compared,
                    one.thinks_aloud,
                    None if one.modes is None else json.dumps(one.modes),
                )

    connection.executemany(
        """
        INSERT OR REPLACE INTO scores
        (job_id, rescoring, answer_id, plan_id, points, details, faulty, fault, compared, thinks_aloud, modes)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        list(rows()),
    )


def keep(connection: sqlite3.Connection, job_id: int, rescoring: int, found: Mapping[int, Kept]) -> None:
    """Store by answer what a scoring of an older version did not keep. Where nothing can be written, it is worked out again the
    next time."""
    if connection.in_transaction:
        return
    rows = [(one.fault, one.thinks_aloud, one.compared, job_id, rescoring, answer) for answer, one in found.items()]
    with suppress(StoreError), transaction(connection):
        connection.executemany(
            """
            UPDATE scores SET fault = ?, thinks_aloud = ?, compared = ?
            WHERE job_id = ? AND rescoring = ? AND answer_id = ? AND compared IS NULL
            """,
            rows,
        )


def _plan_id(connection: sqlite3.Connection, checks: Sequence[tuple[str, str, str]]) -> int:
    text = json.dumps(checks, ensure_ascii=False)
    connection.execute("INSERT OR IGNORE INTO check_plans (checks) VALUES (?)", [text])
    return int(connection.execute("SELECT id FROM check_plans WHERE checks = ?", [text]).fetchone()[0])


def bakeoff_scores(
    connection: sqlite3.Connection, job_id: int, rescoring: int = 0, task: str | None = None
) -> list[dict[str, Any]]:
    """The scores of a bake-off's answers, check by check: the original ones, or those of a rescoring by its number."""
    return [score for one in answer_scores(connection, job_id, rescoring, task) for score in one.single()]


def answer_scores(
    connection: sqlite3.Connection, job_id: int, rescoring: int = 0, task: str | None = None
) -> Iterator[AnswerScores]:
    """What a scoring says of each answer of a bake-off, or of one of its tasks."""
    plans: dict[int, tuple[tuple[str, str, str], ...]] = {}
    rows = connection.execute(
        """
        SELECT a.key, a.candidate, s.plan_id, s.points, s.details, s.faulty, s.fault, s.compared, s.thinks_aloud,
               s.modes
        FROM scores s JOIN answers a ON a.id = s.answer_id
        WHERE s.job_id = :job_id AND s.rescoring = :rescoring AND (:task IS NULL OR a.task = :task) ORDER BY a.id
        """,
        {"job_id": job_id, "rescoring": rescoring, "task": task},
    ).fetchall()
    for key, candidate, plan, points, details, faulty, fault, compared, thinks_aloud, modes in rows:
        if plan not in plans:
            plans[plan] = read_plan(connection, plan)
        yield AnswerScores(
            answer_key=key,
            checks=plans[plan],
            points=tuple(json.loads(points)),
            details={int(place): words for place, words in json.loads(details).items()} if details != "{}" else {},
            faulty=tuple(json.loads(faulty)) if faulty != "[]" else (),
            fault=fault,
            compared=compared,
            candidate=candidate,
            thinks_aloud=bool(thinks_aloud),
            modes=None if modes is None else tuple(json.loads(modes)),
        )


def answer_modes(
    connection: sqlite3.Connection, job_id: int, rescoring: int = 0, task: str | None = None
) -> dict[tuple[str, str], tuple[str, ...]]:
    """The failure modes that a scoring saw in answers, by key and candidate; answers without any are left out."""
    rows = connection.execute(
        """
        SELECT a.key, a.candidate, s.modes FROM scores s JOIN answers a ON a.id = s.answer_id
        WHERE s.job_id = :job_id AND s.rescoring = :rescoring AND (:task IS NULL OR a.task = :task)
          AND s.modes IS NOT NULL AND s.modes != '[]'
        """,
        {"job_id": job_id, "rescoring": rescoring, "task": task},
    )
    return {(key, candidate): tuple(json.loads(modes)) for key, candidate, modes in rows}


def read_plan(connection: sqlite3.Connection, plan_id: int) -> tuple[tuple[str, str, str], ...]:
    """(id, part, hash) of each check of a plan."""
    (text,) = connection.execute("SELECT checks FROM check_plans WHERE id = ?", [plan_id]).fetchone()
    return tuple((name, part, digest) for name, part, digest in json.loads(text))
