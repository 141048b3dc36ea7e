"""Scores of single checks, stored as an older version left them: without faults, and without what repeats are compared by."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from core.store.answer_scores import of_single
from core.store.scores import insert_answer_scores


def insert_check_scores(connection: sqlite3.Connection, job_id: int, scores: Iterable[Mapping[str, Any]]) -> None:
    """Store them as the scores that the bake-off itself was made with; in a transaction."""
    of_answer: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for score in scores:
        of_answer.setdefault((score["answer_key"], score.get("candidate") or ""), []).append(score)
    insert_answer_scores(connection, job_id, map(of_single, of_answer.values()))
