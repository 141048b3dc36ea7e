"""What may take the place of what serves: for each task the newest way to a model that has not come to its end.

One that failed is shown until something else has come to serve: by then it is of the past.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from core.progress import Progress
from core.store.chains import Chain, list_chains
from core.store.jobs import ACTIVE, RETRYABLE, State


@dataclass(frozen=True)
class Challenger:
    """`stage` is the kind of the job that the way has come to, `state` that job's, `progress` how much of it is done, in [0, 1]
    (None: not known, or not begun). `chain_id` is None of a training that was queued by itself."""

    model: str
    stage: str
    progress: float | None
    state: State = "waiting"
    job_id: int = 0
    chain_id: int | None = None


def challengers(
    connection: sqlite3.Connection, tasks: Mapping[tuple[str, str], float | None]
) -> dict[tuple[str, str], Challenger]:
    """The challenger of each (project, task) that has one; `tasks` says since when each has what serves it (Unix seconds).

    A chain goes before a training by itself. What was cancelled challenges nobody, and neither does what has failed before.
    """
    found: dict[tuple[str, str], Challenger] = {}
    if not tasks:
        return found
    for key, one, failed_at in [*_of_chains(connection), *_of_trainings(connection)]:
        if key in tasks and (failed_at is None or failed_at > (tasks[key] or 0.0)):
            found.setdefault(key, one)
    return found


_Way: TypeAlias = tuple[tuple[str, str], Challenger, float | None]
"""(project, task), the challenger, and when it failed (Unix seconds); None of one that goes on."""


def _of_chains(connection: sqlite3.Connection) -> Iterator[_Way]:
    for chain in list_chains(connection, limit=0):  # those that have something to do, newest first
        current = chain.current.job
        # A link that failed stays what it is where the rest of its chain is cancelled.
        is_cancelled = current.state not in ACTIVE and any(link.job.state == "cancelled" for link in chain.links)
        if current.state == "done" or is_cancelled:
            continue
        failed_at = (current.ended_at or current.submitted_at) if current.state in RETRYABLE else None
        one = _challenger(current.id, current.kind, current.state, current.progress, _model(chain), chain.id)
        for task in {link.job.task for link in chain.links if link.job.task is not None}:
            yield (chain.project_id, task), one, failed_at


def _of_trainings(connection: sqlite3.Connection) -> Iterator[_Way]:
    """Those that were queued by themselves: what a chain queued stands and falls with it, and an experiment compares ways to
    train, not models that are to serve."""
    rows = connection.execute(
        """
        SELECT id, kind, project_id, task, model, state, progress FROM jobs JOIN job_states USING (state)
        WHERE kind = 'train' AND task IS NOT NULL AND stage <> 'ended'
          AND id NOT IN (SELECT job_id FROM chain_links WHERE NOT taken)
          AND id NOT IN (SELECT job_id FROM experiment_runs) ORDER BY id DESC
        """
    )
    for row in rows:
        progress = Progress.from_json(row["progress"])
        one = _challenger(row["id"], row["kind"], row["state"], progress, row["model"] or "", None)
        yield (row["project_id"], row["task"]), one, None


def _model(chain: Chain) -> str:
    """The base model that the chain began with; empty where no link names one."""
    return next((link.job.model for link in chain.links if link.job.model), "")


def _challenger(
    job_id: int, kind: str, state: State, progress: Progress | None, model: str, chain_id: int | None
) -> Challenger:
    fraction = progress.fraction if progress is not None and state in ACTIVE else None
    return Challenger(model, kind, fraction, state, job_id, chain_id)
