"""Marks: what persons said of answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Mark:
    """What a person said of one answer to one input, whoever gave it; `time` is in Unix seconds.

    The texts of input and answer are known by their hashes. `value` is in [0, 1]: 1 is right, 0 is wrong.
    """

    project_id: str
    task: str
    input_sha256: str
    input_id: str
    answer_sha256: str
    value: float
    note: str
    author: str
    time: float


_COLUMNS = ", ".join(field.name for field in fields(Mark))


def insert_mark(connection: sqlite3.Connection, mark: Mark) -> int:
    """Store a mark and return its id. Call it in a transaction."""
    values = [getattr(mark, field.name) for field in fields(Mark)]
    cursor = connection.execute(f"INSERT INTO marks ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)
    return int(cursor.lastrowid or 0)


def delete_marks(connection: sqlite3.Connection, mark_ids: Iterable[int]) -> None:
    """Take marks back. Call it in a transaction."""
    connection.executemany("DELETE FROM marks WHERE id = ?", [(one,) for one in mark_ids])


def marks_stamp(connection: sqlite3.Connection) -> tuple[int, float]:
    """(how many marks there are, when the newest was made): another one of these is another set of marks."""
    count, newest = connection.execute("SELECT count(*), max(time) FROM marks").fetchone()
    return int(count), float(newest or 0.0)


def list_marks(connection: sqlite3.Connection, project_id: str, task: str | None = None) -> list[Mark]:
    """The marks of a project, or of one of its tasks, oldest first.

    Of several of one author for one answer the last counts, and the others are left out.
    """
    rows = connection.execute(
        f"""
        SELECT {_COLUMNS} FROM marks WHERE id IN (
          SELECT max(id) FROM marks WHERE project_id = :project AND (:task IS NULL OR task = :task)
          GROUP BY task, input_sha256, answer_sha256, author
        ) ORDER BY id
        """,
        {"project": project_id, "task": task},
    )
    return [Mark(*row) for row in rows]
