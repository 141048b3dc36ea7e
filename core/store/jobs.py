"""Jobs as the console and the commands see them, and the named changes of their state."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from core.errors import BakehouseError, NotFoundError
from core.progress import Progress
from core.reasons import Reason
from core.store.job_reasons import from_columns, values_to_json

State = Literal[
    "waiting", "ready", "starting", "running", "stopping", "done", "failed", "cancelled", "interrupted", "lost"
]
Lane = Literal["gpu", "cpu"]
QUEUED = frozenset({"waiting", "ready"})
ACTIVE = frozenset({"starting", "running", "stopping"})
ENDED = frozenset({"done", "failed", "cancelled", "interrupted", "lost"})
RETRYABLE = ENDED - {"done"}
LARGEST_ID = 2**63 - 1
"""What SQLite takes as an integer."""


@dataclass(frozen=True)
class Rescored:
    """The newest rescoring of a bake-off: its number, when (Unix seconds), and what it came to in a line."""

    number: int
    time: float
    message: str


@dataclass(frozen=True)
class JobRow:
    """One thing in the queue. `stop_reason` is a key of the table `stop_reasons`."""

    id: int
    kind: str
    title: str
    project_id: str
    task: str | None
    lane: Lane
    host_memory_bytes: int
    on_restart: Literal["requeue", "hold"]
    state: State
    reason: Reason
    held: bool
    stop_reason: str | None
    stop_asked_at: float | None
    position: float
    attempt: int
    orphaned: bool
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    needs: tuple[int, ...]
    """The jobs that must be done before it starts."""
    progress: Progress | None
    result: dict[str, Any] | None
    device_memory_bytes: int | None = None
    """What the GPU is expected to hold for it at most, None where that is not predicted."""
    model: str | None = None
    """The base model by name; None where there are several."""
    source: str | None = None
    """What the job takes: `job:12/adapter`, or where a pull gets the model from (`hub:OWNER/NAME`)."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the job was told, by the names of its settings; empty of jobs that an older version stored."""
    rescored: Rescored | None = None
    needs_ended: tuple[int, ...] = ()
    """The jobs that must have ended before it starts, whatever their end."""

    @property
    def behind(self) -> tuple[int, ...]:
        """All jobs that it waits for, or waited for."""
        return tuple(sorted({*self.needs, *self.needs_ended}))

    @property
    def is_censored(self) -> bool:
        """Done, and by its experiment's own rule without having made anything."""
        return bool(((self.result or {}).get("summary") or {}).get("censored"))

    @property
    def makes_nothing(self) -> bool:
        """Whether nothing comes of it as it stands: it did not end well, or was left out of its experiment."""
        return self.state in RETRYABLE or self.is_censored

    def to_json(self) -> dict[str, Any]:
        """All columns; the reason as `reason_code` and `reason_values`."""
        return with_reason_columns(asdict(self))


@dataclass(frozen=True)
class Transition:
    """One change of a job's state; `from_state` is None for its submission."""

    job_id: int
    attempt: int
    from_state: State | None
    to_state: State
    reason: Reason
    author: str
    time: float

    def to_json(self) -> dict[str, Any]:
        return with_reason_columns(asdict(self))


@dataclass(frozen=True)
class QueueState:
    """`reason` is what the person wrote who paused the queue. `gpu_faulted`: the GPU is blocked after a page fault; no row has
    that, the lease tells it."""

    paused: bool
    reason: str
    author: str
    gpu_faulted: bool = False


def with_reason_columns(document: dict[str, Any]) -> dict[str, Any]:
    reason = document.pop("reason")
    return {**document, "reason_code": reason["code"], "reason_values": reason["values"]}


SELECT_JOBS = """
SELECT jobs.*, stage,
       (SELECT group_concat(needs_id) FROM dependencies WHERE job_id = jobs.id AND until = 'done') AS needs,
       (SELECT group_concat(needs_id) FROM dependencies WHERE job_id = jobs.id AND until = 'ended') AS needs_ended,
       coalesce((SELECT orphaned FROM attempts WHERE job_id = jobs.id AND number = jobs.attempt), 0) AS orphaned,
       (SELECT json_object('number', number, 'time', time, 'message', message)
        FROM rescorings WHERE job_id = jobs.id ORDER BY number DESC LIMIT 1) AS rescored
FROM jobs JOIN job_states USING (state)
"""

ORDER_JOBS = """
ORDER BY CASE stage WHEN 'active' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END,
         CASE stage WHEN 'queued' THEN position END, ended_at DESC, id
"""


def to_row(row: sqlite3.Row) -> JobRow:
    read: dict[str, Any] = {
        "needs": to_numbers(row["needs"]),
        "needs_ended": to_numbers(row["needs_ended"]),
        "reason": from_columns(row["reason_code"], row["reason_values"]),
        "held": bool(row["held"]),
        "orphaned": bool(row["orphaned"]),
        "progress": Progress.from_json(row["progress"]),
        "result": json.loads(row["result"]) if row["result"] else None,
        "settings": json.loads(row["settings"]),
        "rescored": Rescored(**json.loads(row["rescored"])) if row["rescored"] else None,
    }
    plain = {one.name: row[one.name] for one in fields(JobRow) if one.name not in read}
    return JobRow(**plain, **read)


def to_numbers(joined: str | None) -> tuple[int, ...]:
    """What `group_concat` made of numbers, ascending."""
    return tuple(sorted(map(int, joined.split(",")))) if joined else ()


def list_jobs(connection: sqlite3.Connection, limit: int = 200) -> list[JobRow]:
    """The active jobs, then the queued ones in their order, then the ended ones, newest first."""
    return [to_row(row) for row in connection.execute(f"{SELECT_JOBS} {ORDER_JOBS} LIMIT ?", [limit])]


def open_jobs(connection: sqlite3.Connection) -> list[JobRow]:
    """Every job that has not ended, in the order of `list_jobs`."""
    return [to_row(row) for row in connection.execute(f"{SELECT_JOBS} WHERE stage <> 'ended' {ORDER_JOBS}")]


def get_job(connection: sqlite3.Connection, job_id: int) -> JobRow:
    """One job. Raises `NotFoundError`."""
    row = connection.execute(f"{SELECT_JOBS} WHERE jobs.id = ?", [known_id(job_id)]).fetchone()
    if row is None:
        raise NotFoundError(f"no job {job_id}", code="job_not_found", remedy="`bakehouse queue list` shows them")
    return to_row(row)


def jobs_by_id(connection: sqlite3.Connection, job_ids: Iterable[int]) -> dict[int, JobRow]:
    """Those of these jobs that are there, by their ids."""
    listed = json.dumps([known_id(number) for number in job_ids])
    rows = connection.execute(f"{SELECT_JOBS} WHERE jobs.id IN (SELECT value FROM json_each(?))", [listed])
    return {row["id"]: to_row(row) for row in rows}


def require_jobs(connection: sqlite3.Connection, job_ids: Collection[int]) -> None:
    """Raises `NotFoundError` for the first of these that is not there."""
    listed = json.dumps([known_id(number) for number in job_ids])
    rows = connection.execute("SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?))", [listed])
    there = {row["id"] for row in rows}
    for number in sorted(job_ids):
        if number not in there:
            get_job(connection, number)


def known_id(number: int) -> int:
    """The same, or an id that nothing has for a number that is too large for the database."""
    return number if 0 <= number <= LARGEST_ID else -1


def count_states(connection: sqlite3.Connection) -> dict[str, int]:
    """How many jobs are in each state that occurs."""
    return {row["state"]: row["n"] for row in connection.execute("SELECT state, count(*) n FROM jobs GROUP BY state")}


def history(connection: sqlite3.Connection, job_id: int) -> list[Transition]:
    """All changes of a job's state, oldest first."""
    rows = connection.execute("SELECT * FROM transitions WHERE job_id = ? ORDER BY id", [job_id])
    return [
        Transition(
            job_id=row["job_id"],
            attempt=row["attempt"],
            from_state=row["from_state"],
            to_state=row["to_state"],
            reason=from_columns(row["reason_code"], row["reason_values"]),
            author=row["author"],
            time=row["time"],
        )
        for row in rows
    ]


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
    model: str | None = None,
    source: str | None = None,
    settings: Mapping[str, Any] | None = None,
    needs_ended: Iterable[int] = (),
) -> int:
    """Store a new job at the end of the queue and return its id. Call it in a transaction.

    It waits until each of `needs` is done and each of `needs_ended` has ended. Raises `NotFoundError` when one of them is not
    there.
    """
    until = {**dict.fromkeys(needs_ended, "ended"), **dict.fromkeys(needs, "done")}
    require_jobs(connection, until)
    now = time.time()
    cursor = connection.execute(
        """
        INSERT INTO jobs (kind, title, project_id, task, model, source, lane, host_memory_bytes, device_memory_bytes,
                          settings, on_restart, reason_code, submitted_at, changed_at, changed_by, position)
        VALUES (:kind, :title, :project_id, :task, :model, :source, :lane, :host_memory_bytes, :device_memory_bytes,
                :settings, :on_restart, 'submitted', :now, :now, :author, (SELECT coalesce(max(position), 0) + 1 FROM jobs))
        """,
        {
            "kind": kind,
            "title": title,
            "project_id": project_id,
            "task": task,
            "model": model,
            "source": source,
            "settings": json.dumps(dict(settings or {})),
            "lane": lane,
            "host_memory_bytes": host_memory_bytes,
            "device_memory_bytes": device_memory_bytes,
            "on_restart": on_restart,
            "now": now,
            "author": author,
        },
    )
    job_id = int(cursor.lastrowid or 0)
    if until:
        connection.executemany(
            "INSERT INTO dependencies (job_id, needs_id, until) VALUES (?, ?, ?)",
            [(job_id, needed, end) for needed, end in sorted(until.items())],
        )
    return job_id


def change_state(
    connection: sqlite3.Connection, job_id: int, to_state: State, reason: Reason, author: str, **columns: Any
) -> None:
    """Move a job to another state, with further columns, in one statement. Call it in a transaction.

    The schema refuses a transition that is not in `allowed_transitions` and notes the one that happens. `stop_reason` and
    `ended_at` follow from the state.
    """
    now = time.time()
    columns = {
        "state": to_state,
        "reason_code": reason.code,
        "reason_values": values_to_json(reason),
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


def set_reason(connection: sqlite3.Connection, job_id: int, reason: Reason) -> None:
    """Replace why a job is as it is: no change of state, so nothing in its history, and nothing written when it is the same."""
    connection.execute(
        """
        UPDATE jobs SET reason_code = :code, reason_values = :values
        WHERE id = :id AND (reason_code <> :code OR reason_values <> :values)
        """,
        {"id": job_id, "code": reason.code, "values": values_to_json(reason)},
    )


def set_held(connection: sqlite3.Connection, job_id: int, held: bool, reason: Reason, author: str) -> None:
    """Hold or release a queued job; the schema notes it in the job's history."""
    connection.execute(
        """
        UPDATE jobs SET held = ?, reason_code = ?, reason_values = ?, changed_at = ?, changed_by = ? WHERE id = ?
        """,
        [int(held), reason.code, values_to_json(reason), time.time(), author, job_id],
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
            SET state = 'starting', attempt = attempt + 1, reason_code = 'starting', reason_values = '{}',
                progress = json_object('checkpoint_step', json_extract(progress, '$.checkpoint_step'),
                                       'peak_memory_bytes', json_extract(progress, '$.peak_memory_bytes')),
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
