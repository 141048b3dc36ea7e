"""Challenges: a new base model held against what serves, one chain a task."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import NotFoundError
from core.store.chains import Chain, get_chain
from core.store.jobs import known_id


@dataclass(frozen=True)
class ChallengeTask:
    """A task of a challenge; `chain_id` is None once its jobs were removed.

    `place` is its place in the order, from 1; `gain` the score that could be gained when its chain was queued, in [0, 1], None
    where that was not known.
    """

    task: str
    chain_id: int | None
    place: int
    gain: float | None


@dataclass(frozen=True)
class Challenge:
    """A base model by name and the tasks that it was trained for, in their order. `created_at` in Unix seconds."""

    id: int
    model: str
    project_id: str
    author: str
    created_at: float
    tasks: tuple[ChallengeTask, ...]

    def task(self, name: str) -> ChallengeTask | None:
        return next((one for one in self.tasks if one.task == name), None)


def insert_challenge(connection: sqlite3.Connection, *, model: str, project_id: str, author: str) -> int:
    """A challenge without tasks as yet. Call it in a transaction."""
    cursor = connection.execute(
        "INSERT INTO challenges (model, project_id, author, created_at) VALUES (?, ?, ?, ?)",
        [model, project_id, author, time.time()],
    )
    return int(cursor.lastrowid or 0)


def add_challenge_task(
    connection: sqlite3.Connection, challenge_id: int, *, task: str, chain_id: int, gain: float | None
) -> None:
    """Behind those that the challenge has. A task that is in it gets another chain, in its place. Call it in a transaction."""
    connection.execute(
        """
        INSERT INTO challenge_tasks (challenge_id, task, chain_id, place, gain)
        VALUES (?, ?, ?, (SELECT coalesce(max(place), 0) + 1 FROM challenge_tasks WHERE challenge_id = ?), ?)
        ON CONFLICT (challenge_id, task) DO UPDATE SET chain_id = excluded.chain_id, gain = excluded.gain
        """,
        [challenge_id, task, chain_id, challenge_id, gain],
    )


def newest_challenge(connection: sqlite3.Connection, model: str, project_id: str) -> Challenge | None:
    """The newest challenge of a model in a project."""
    found = _read(connection, "model = ? AND project_id = ?", [model, project_id])
    return found[0] if found else None


def get_challenge(connection: sqlite3.Connection, challenge_id: int) -> Challenge:
    """One challenge. Raises `NotFoundError`."""
    found = _read(connection, "id = ?", [known_id(challenge_id)])
    if not found:
        raise NotFoundError(
            f"no challenge {challenge_id}", code="challenge_not_found", remedy="`bakehouse challenge` lists them"
        )
    return found[0]


def chain_of_task(connection: sqlite3.Connection, task: ChallengeTask) -> Chain | None:
    """The chain of a task, None once its jobs were removed."""
    try:
        return None if task.chain_id is None else get_chain(connection, task.chain_id)
    except NotFoundError:  # the chain has no links any more
        return None


def list_challenges(connection: sqlite3.Connection, project_id: str | None = None) -> list[Challenge]:
    """Those of a project, else all, newest first."""
    return _read(connection, *(("1", []) if project_id is None else ("project_id = ?", [project_id])))


def _read(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[Challenge]:
    tasks: dict[int, list[ChallengeTask]] = {}
    for row in connection.execute(
        f"""
        SELECT challenge_id, task, chain_id, place, gain FROM challenge_tasks
        WHERE challenge_id IN (SELECT id FROM challenges WHERE {where}) ORDER BY challenge_id, place
        """,
        values,
    ):
        tasks.setdefault(row["challenge_id"], []).append(
            ChallengeTask(row["task"], row["chain_id"], row["place"], row["gain"])
        )
    return [
        Challenge(
            row["id"],
            row["model"],
            row["project_id"],
            row["author"],
            row["created_at"],
            tuple(tasks.get(row["id"], ())),
        )
        for row in connection.execute(f"SELECT * FROM challenges WHERE {where} ORDER BY id DESC", values)
    ]
