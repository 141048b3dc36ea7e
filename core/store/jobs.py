"""Jobs as the console and the commands see them, and the named changes of their state."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from core.errors import BakehouseError, NotFoundError
from core.text import printable

State = Literal[
    "waiting", "ready", "starting", "running", "stopping", "done", "failed", "cancelled", "interrupted", "lost"
]
Lane = Literal["gpu", "cpu"]
StopReason = Literal["cancel", "pause", "disk", "watch", "room"]
"""A person's cancel or pause; the disk is nearly full; something is wrong with the run; others need its GPU."""
QUEUED = frozenset({"waiting", "ready"})
ACTIVE = frozenset({"starting", "running", "stopping"})
ENDED = frozenset({"done", "failed", "cancelled", "interrupted", "lost"})
RETRYABLE = ENDED - {"done"}


@dataclass(frozen=True)
class Progress:
    """The newest figures of an attempt, as the runner gathered them from its events. None is "not known"."""

    phase: str | None = None
    done: int | None = None
    total: int | None = None
    unit: str | None = None
    eta_seconds: float | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    checkpoint_step: int | None = None
    warnings: int = 0
    message: str | None = None
    time: float | None = None

    @property
    def fraction(self) -> float | None:
        """Share done, 0 to 1."""
        return None if not self.total or self.done is None else min(1.0, self.done / self.total)

    def to_json(self) -> str:
        """For SQLite, which reads no NaN: a loss that is not finite is not known."""
        figures = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }
        return json.dumps(figures, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | None) -> Progress | None:
        if not text:
            return None
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


@dataclass(frozen=True)
class JobRow:
    """One thing in the queue."""

    id: int
    kind: str
    title: str
    project_id: str
    task: str | None
    lane: Lane
    host_memory_bytes: int
    on_restart: Literal["requeue", "hold"]
    state: State
    reason: str
    held: bool
    stop_reason: StopReason | None
    stop_asked_at: float | None
    position: float
    attempt: int
    orphaned: bool
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    needs: tuple[int, ...]
    progress: Progress | None
    result: dict[str, Any] | None
    device_memory_bytes: int | None = None
    """What the GPU is expected to hold for it at most, None where that is not predicted."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Transition:
    """One change of a job's state; `from_state` is None for its submission."""

    job_id: int
    attempt: int
    from_state: State | None
    to_state: State
    reason: str
    author: str
    time: float


@dataclass(frozen=True)
class QueueState:
    paused: bool
    reason: str
    author: str


SELECT_JOBS = """
SELECT jobs.*, stage,
       (SELECT group_concat(needs_id) FROM dependencies WHERE job_id = jobs.id) AS needs,
       coalesce((SELECT orphaned FROM attempts WHERE job_id = jobs.id AND number = jobs.attempt), 0) AS orphaned
FROM jobs JOIN job_states USING (state)
"""

ORDER_JOBS = """
ORDER BY CASE stage WHEN 'active' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END,
         CASE stage WHEN 'queued' THEN position END, ended_at DESC, id
"""


def to_row(row: sqlite3.Row) -> JobRow:
    needs = tuple(sorted(int(part) for part in row["needs"].split(","))) if row["needs"] else ()
    plain = {
        field.name: row[field.name] for field in fields(JobRow) if field.name not in {"needs", "progress", "result"}
    }
    plain["held"], plain["orphaned"] = bool(row["held"]), bool(row["orphaned"])
    result = json.loads(row["result"]) if row["result"] else None
    return JobRow(**plain, needs=needs, progress=Progress.from_json(row["progress"]), result=result)


def list_jobs(connection: sqlite3.Connection, limit: int = 200) -> list[JobRow]:
    """The active jobs, then the queued ones in their order, then the ended ones, newest first."""
    return [to_row(row) for row in connection.execute(f"{SELECT_JOBS} {ORDER_JOBS} LIMIT ?", [limit])]


def open_jobs(connection: sqlite3.Connection) -> list[JobRow]:
    """Every job that has not ended, in the order of `list_jobs`."""
    return [to_row(row) for row in connection.execute(f"{SELECT_JOBS} WHERE stage <> 'ended' {ORDER_JOBS}")]


def get_job(connection: sqlite3.Connection, job_id: int) -> JobRow:
    """One job. Raises `NotFoundError`."""
    row = connection.execute(f"{SELECT_JOBS} WHERE jobs.id = ?", [job_id]).fetchone()
    if row is None:
        raise NotFoundError(f"no job {job_id}", code="job_not_found", remedy="`bakehouse queue list` shows them")
    return to_row(row)


def count_states(connection: sqlite3.Connection) -> dict[str, int]:
    """How many jobs are in each state that occurs."""
    return {row["state"]: row["n"] for row in connection.execute("SELECT state, count(*) n FROM jobs GROUP BY state")}


def history(connection: sqlite3.Connection, job_id: int) -> list[Transition]:
    """All changes of a job's state, oldest first."""
    rows = connection.execute("SELECT * FROM transitions WHERE job_id = ? ORDER BY id", [job_id])
    return [Transition(**{field.name: row[field.name] for field in fields(Transition)}) for row in rows]


def queue_state(connection: sqlite3.Connection) -> QueueState:
    row = connection.execute("SELECT paused, reason, author FROM queue").fetchone()
    return QueueState(bool(row["paused"]), row["reason"], row["author"])


def insert_job(
    connection: sqlite3.Connection,
    *,
    kind: str,
    title: str,
    project_id: str,
    task: str | None,
    lane: Lane,
    host_memory_bytes: int,
    on_restart: Literal["requeue", "hold"],
    needs: Iterable[int],
    author: str,
    device_memory_bytes: int | None = None,
) -> int:
    """Store a new job at the end of the queue and return its id. Call it in a transaction.

    Raises `NotFoundError` when it needs a job that is not there.
    """
    needs = sorted(set(needs))
    for needed in needs:
        get_job(connection, needed)
    now = time.time()
    cursor = connection.execute(
        """
        INSERT INTO jobs (kind, title, project_id, task, lane, host_memory_bytes, device_memory_bytes, on_restart, reason,
                          position, submitted_at, changed_at, changed_by)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'submitted', (SELECT coalesce(max(position), 0) + 1 FROM jobs), ?, ?, ?)
        """,
        [kind, title, project_id, task, lane, host_memory_bytes, device_memory_bytes, on_restart, now, now, author],
    )
    job_id = int(cursor.lastrowid or 0)
    connection.executemany("INSERT INTO dependencies VALUES (?, ?)", [(job_id, needed) for needed in needs])
    return job_id


def change_state(
    connection: sqlite3.Connection, job_id: int, to_state: State, reason: str, author: str, **columns: Any
) -> None:
    """Move a job to another state, with further columns, in one statement. Call it in a transaction.

    The schema refuses a transition that is not in `allowed_transitions` and notes the one that happens. `stop_reason` and
    `ended_at` follow from the state.
    """
    now = time.time()
    columns = {
        "state": to_state,
        "reason": printable(reason),
        "changed_at": now,
        "changed_by": author,
        "ended_at": now if to_state in ENDED else None,
        **({} if to_state == "stopping" else {"stop_reason": None, "stop_asked_at": None}),
        **columns,
    }
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    try:
        cursor = connection.execute(f"UPDATE jobs SET {assignments} WHERE id = :id", {**columns, "id": job_id})
    except sqlite3.IntegrityError as error:
        raise BakehouseError(f"job {job_id} cannot become {to_state}: {error}", code="wrong_state") from error
    if cursor.rowcount != 1:
        raise NotFoundError(f"no job {job_id}", code="job_not_found")


def set_reason(connection: sqlite3.Connection, job_id: int, reason: str) -> None:
    """Say anew why a job waits (no change of state, so nothing in its history)."""
    reason = printable(reason)
    connection.execute("UPDATE jobs SET reason = ? WHERE id = ? AND reason <> ?", [reason, job_id, reason])


def set_held(connection: sqlite3.Connection, job_id: int, held: bool, reason: str, author: str) -> None:
    """Hold or release a queued job; the schema notes it in the job's history."""
    connection.execute(
        "UPDATE jobs SET held = ?, reason = ?, changed_at = ?, changed_by = ? WHERE id = ?",
        [int(held), reason, time.time(), author, job_id],
    )


def claim_next(connection: sqlite3.Connection, lane: Lane, boot_id: str, author: str) -> JobRow | None:
    """Take the first ready job of a lane: it becomes `starting` and its next attempt begins. None when there is none.

    One transaction under the write lock, so that no job is ever taken twice, however many ask.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        row = connection.execute(
            """
            UPDATE jobs
            SET state = 'starting', attempt = attempt + 1, reason = 'starting its process',
                progress = json_object('checkpoint_step', json_extract(progress, '$.checkpoint_step')),
                changed_at = :now, changed_by = :author, started_at = coalesce(started_at, :now)
            WHERE id = (SELECT id FROM jobs WHERE state = 'ready' AND lane = :lane ORDER BY position, id LIMIT 1)
            RETURNING id, attempt
            """,
            {"now": time.time(), "author": author, "lane": lane},
        ).fetchone()
        if row is not None:
            connection.execute(
                "INSERT INTO attempts (job_id, number, boot_id, created_at) VALUES (?, ?, ?, ?)",
                [row["id"], row["attempt"], boot_id, time.time()],
            )
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return None if row is None else get_job(connection, row["id"])
