"""Jobs of an experiment that have ended without being done, tried again."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from core.config.project import Project
from core.errors import BakehouseError
from core.home import Home
from core.runner.client import request
from core.store.database import open_database
from core.store.experiments import find_experiment, lacking_jobs


@dataclass(frozen=True)
class RetriedJobs:
    """The jobs that are tried again, and what the runner refused, a sentence each."""

    jobs: tuple[int, ...] = ()
    refused: tuple[str, ...] = ()


def retry_lacking(home: Home, project: Project, name: str, *, by: str) -> RetriedJobs:
    """Have the runner try again what has ended without being done.

    Where no runner lived, one looks first at what became of the jobs: a job that was killed together with it counts as running
    until then. Raises `BakehouseError` when no runner answers.
    """
    retried, refused = [], []
    with contextlib.closing(open_database(home)) as connection:
        known = find_experiment(connection, project.id, name)
        if known is None:
            return RetriedJobs()
        request(home, "look", by=by)
        lacking = lacking_jobs(connection, known.id)
    for job_id in lacking:
        try:
            request(home, "retry", job_id, by=by)
            retried.append(job_id)
        except BakehouseError as error:
            refused.append(f"job {job_id}: {error.message}")
    return RetriedJobs(tuple(retried), tuple(refused))
