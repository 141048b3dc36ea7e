"""A job as submission leaves one, for tests that need no submission: its row, and its job file."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

from core.config.project import Project
from core.home import Home, RunDir
from core.jobfile.spec import JobFile, Spec
from tests.support.stored import add_job


def job_file(home: Home, spec: Spec, job_id: int = 1, **values: Any) -> JobFile:
    """That of a job which runs with this interpreter and is told `spec`; `values` are whatever matters to the test."""
    common = {
        "title": spec.title,
        "project_id": "test",
        "project_root": str(home.root),
        "artefacts": str(home.artefacts),
        "python": sys.executable,
        "author": "tester",
        "submitted_at": 1.0,
        "lane": "gpu",
        "host_memory_bytes": 0,
    }
    return JobFile(id=job_id, home=str(home.root), spec=spec, **{**common, **values})


def add_job_of(connection: sqlite3.Connection, spec: Spec, **values: Any) -> int:
    """The row of a job that is told `spec`; `values` are further columns."""
    columns = spec.columns
    told = {
        "kind": spec.kind,
        "title": spec.title,
        "task": columns.task,
        "model": columns.model,
        "source": columns.source,
        "settings": spec.settings,
    }
    return add_job(connection, **{**told, **values})


def put_job(
    home: Home, connection: sqlite3.Connection, project: Project, spec: Spec, **values: Any
) -> tuple[int, RunDir]:
    """A job of a project that waits, with its job file: its number and its run directory. `values` are further columns."""
    job_id = add_job_of(connection, spec, project_id=project.id, **values)
    run = home.run_dir(job_id)
    run.path.mkdir(parents=True)
    job_file(home, spec, job_id, project_id=project.id, project_root=str(project.root)).save(run)
    return job_id, run
