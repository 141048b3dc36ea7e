"""What scorings say of the answers of a bake-off: a row an answer, with a number for each of its checks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from core.files import read_lines
from core.home import RunDir


@dataclass(frozen=True)
class AnswerScores:
    """All that a scoring says of one answer; a line of `scores.jsonl`.

    `checks` are (id, part, hash) of what was checked, `points` their values in [0, 1]. `details` has the words to those that
    have some, and `faulty` those that could not be done, by their place in `checks`. `fault` is what the model did wrong, by
    which all points are 0; `thinks_aloud`: the text seems to begin with thinking. `compared` is the hash of what the repeats of
    an input are compared by; None: this scoring did not keep it, nor the two before. A `candidate` of None: whoever gave the
    answer with this key.
    """

    answer_key: str
    checks: tuple[tuple[str, str, str], ...]
    points: tuple[float, ...]
    details: Mapping[int, str] = field(default_factory=dict)
    faulty: tuple[int, ...] = ()
    fault: str | None = None
    compared: str | None = None
    candidate: str | None = None
    thinks_aloud: bool = False

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "candidate": self.candidate,
            "answer_key": self.answer_key,
            "checks": self.checks,
            "points": self.points,
        }
        if self.details:
            document["details"] = {str(place): words for place, words in self.details.items()}
        if self.faulty:
            document["faulty"] = self.faulty
        if self.thinks_aloud:
            document["thinks_aloud"] = True
        return document | {"fault": self.fault, "compared": self.compared}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> AnswerScores:
        """The scores of a line. KeyError, TypeError or ValueError for one that is not as this version expects it."""
        return cls(
            answer_key=document["answer_key"],
            checks=tuple((name, part, digest) for name, part, digest in document["checks"]),
            points=tuple(float(value) for value in document["points"]),
            details={int(place): words for place, words in document.get("details", {}).items()},
            faulty=tuple(document.get("faulty", ())),
            fault=document.get("fault"),
            compared=document.get("compared"),
            candidate=document.get("candidate"),
            thinks_aloud=bool(document.get("thinks_aloud")),
        )

    def __post_init__(self) -> None:
        if len(self.points) != len(self.checks) or not all(0 <= value <= 1 for value in self.points):
            raise ValueError(
                f"the scores of the answer {self.answer_key} are no numbers from 0 to 1, one for each check"
            )

    def single(self) -> Iterator[dict[str, Any]]:
        """The score of each check, as `core.bakeoff.scoring.Score` has them."""
        for place, ((name, part, digest), value) in enumerate(zip(self.checks, self.points, strict=True)):
            yield {
                "answer_key": self.answer_key,
                "check_hash": digest,
                "check_id": name,
                "part": part,
                "value": value,
                "detail": self.details.get(place, ""),
                "faulty": place in self.faulty,
                "candidate": self.candidate or "",
            }


def of_single(scores: Iterable[Mapping[str, Any]]) -> AnswerScores:
    """One answer's scores from those of its single checks, at least one; of two of a check's hash the later counts."""
    by_hash = {score["check_hash"]: score for score in scores}
    listed = list(by_hash.values())
    return AnswerScores(
        answer_key=listed[0]["answer_key"],
        checks=tuple((score["check_id"], score["part"], digest) for digest, score in by_hash.items()),
        points=tuple(float(score["value"]) for score in listed),
        details={place: score["detail"] for place, score in enumerate(listed) if score["detail"]},
        faulty=tuple(place for place, score in enumerate(listed) if score["faulty"]),
        candidate=listed[0].get("candidate") or None,
    )


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


def insert_scores(
    connection: sqlite3.Connection, job_id: int, scores: Iterable[Mapping[str, Any]], rescoring: int = 0
) -> None:
    """Store scores of single checks, those of the bake-off itself or of a rescoring; the same check's of the same answer is
    replaced, those of an answer's other checks stay."""
    listed = sorted(scores, key=_whose)
    stored: dict[str, list[dict[str, Any]]] = {}
    for score in bakeoff_scores(connection, job_id, rescoring):
        stored.setdefault(score["answer_key"], []).append(score)
    found = []
    for (key, candidate), of_answer in groupby(listed, key=_whose):
        before = [score for score in stored.get(key, ()) if candidate in {"", score["candidate"]}]
        found.append(of_single([*({**score, "candidate": candidate} for score in before), *of_answer]))
    insert_answer_scores(connection, job_id, found, rescoring)


def _whose(score: Mapping[str, Any]) -> tuple[str, str]:
    return score["answer_key"], score.get("candidate") or ""


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
                )

    connection.executemany(
        """
        INSERT OR REPLACE INTO scores
        (job_id, rescoring, answer_id, plan_id, points, details, faulty, fault, compared, thinks_aloud)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        list(rows()),
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
        SELECT a.key, a.candidate, s.plan_id, s.points, s.details, s.faulty, s.fault, s.compared, s.thinks_aloud
        FROM scores s JOIN answers a ON a.id = s.answer_id
        WHERE s.job_id = :job_id AND s.rescoring = :rescoring AND (:task IS NULL OR a.task = :task) ORDER BY a.id
        """,
        {"job_id": job_id, "rescoring": rescoring, "task": task},
    ).fetchall()
    for key, candidate, plan, points, details, faulty, fault, compared, thinks_aloud in rows:
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
        )


def read_plan(connection: sqlite3.Connection, plan_id: int) -> tuple[tuple[str, str, str], ...]:
    """(id, part, hash) of each check of a plan."""
    (text,) = connection.execute("SELECT checks FROM check_plans WHERE id = ?", [plan_id]).fetchone()
    return tuple((name, part, digest) for name, part, digest in json.loads(text))
