"""What may take the place of what serves: for each task the newest way to a model that has not come to its end."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from core.store.chains import Chain, list_chains
from core.store.jobs import ACTIVE, JobRow, State, open_jobs


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
    connection: sqlite3.Connection, tasks: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Challenger]:
    """The challenger of each (project, task) that has one. A chain goes before a training by itself; what was cancelled
    challenges nobody."""
    found: dict[tuple[str, str], Challenger] = {}
    if not tasks:
        return found
    for key, one in [*_of_chains(connection), *_of_trainings(connection)]:
        if key in tasks:
            found.setdefault(key, one)
    return found


def _of_chains(connection: sqlite3.Connection) -> Iterator[tuple[tuple[str, str], Challenger]]:
    for chain in list_chains(connection, limit=0):  # those that have something to do, newest first
        current = chain.current.job
        if current.state in ("done", "cancelled"):
            continue
        for task in {link.job.task for link in chain.links if link.job.task is not None}:
            yield (chain.project_id, task), _challenger(current, _model(chain), chain.id)


def _of_trainings(connection: sqlite3.Connection) -> Iterator[tuple[tuple[str, str], Challenger]]:
    for job in sorted(open_jobs(connection), key=lambda job: -job.id):
        if job.kind == "train" and job.task is not None:
            yield (job.project_id, job.task), _challenger(job, job.model or "", None)


def _model(chain: Chain) -> str:
    """The base model that the chain began with; empty where no link names one."""
    return next((link.job.model for link in chain.links if link.job.model), "")


def _challenger(job: JobRow, model: str, chain_id: int | None) -> Challenger:
    progress = job.progress.fraction if job.progress is not None and job.state in ACTIVE else None
    return Challenger(model, job.kind, progress, job.state, job.id, chain_id)
