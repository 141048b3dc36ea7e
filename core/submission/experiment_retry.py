"""Jobs of an experiment that have ended without being done, tried again."""

from __future__ import annotations

import contextlib

from core.config.project import Project
from core.errors import BakehouseError
from core.home import Home
from core.runner.client import request
from core.store.database import open_database
from core.store.experiments import find_experiment, lacking_jobs


def retry_lacking(home: Home, project: Project, name: str, *, by: str) -> list[str]:
    """Have the runner try again what has ended without being done; what it refuses, a sentence each."""
    refused = []
    with contextlib.closing(open_database(home)) as connection:
        known = find_experiment(connection, project.id, name)
        lacking = [] if known is None else lacking_jobs(connection, known.id)
    for job_id in lacking:
        try:
            request(home, "retry", job_id, by=by)
        except BakehouseError as error:
            refused.append(f"job {job_id}: {error.message}")
    return refused
