"""Storing a job: its row and its run directory come into being in one transaction; when anything fails, neither is there."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterable

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import InputError
from core.format import data_size
from core.gpu.devices import find_gpu
from core.home import Home
from core.jobfile.kinds import kind_of
from core.jobfile.pull import PullSpec
from core.jobfile.spec import JobFile, Spec
from core.models.files import check_model_files, needs_pull
from core.runner.client import ensure_runner
from core.store.database import open_database, transaction
from core.store.jobs import JobRow, get_job, insert_job
from core.submission.python_environment import find_python, require


def gpu_vendor() -> str | None:
    """`amd` or `nvidia`, that of the GPU that jobs run on; None without one."""
    gpu = find_gpu()
    return None if gpu is None else gpu.vendor


def store(home: Home, project: Project, spec: Spec, *, needs: Iterable[int] = (), author: str) -> JobRow:
    """Put a job into the queue, behind the pull of each model that is not there yet, and see that a runner lives.

    `needs` are jobs to wait for beside those that the spec names itself. Raises `InputError` for an interpreter, a model's
    files or a memory that the job cannot be run with.
    """
    python = interpreter(home, project, spec)
    for model in spec.models:
        check_model_files(model)
    check_host_memory(spec.host_memory(home, gpu_vendor() is not None))
    connection = open_database(home)
    try:
        with transaction(connection):
            pulls = [pull_job(home, project, connection, model, python, author) for model in unique(spec.models)]
            needed = [*needs, *spec.needs, *(pull for pull in pulls if pull is not None)]
            job_id = insert(home, project, connection, spec, python=python, needs=needed, author=author)
        row = get_job(connection, job_id)
    finally:
        connection.close()
    ensure_runner(home)
    return row


def interpreter(home: Home, project: Project, spec: Spec) -> str:
    """The interpreter of the project's jobs: with the packages that the job needs, and a torch for this machine's GPU."""
    python = find_python(project.settings.jobs.python)
    if spec.packages:
        require(home, python, spec.packages, vendor=gpu_vendor())
    return python


def check_host_memory(wanted_bytes: int) -> None:
    """Refuse a job that could never start. Raises `InputError`."""
    import psutil

    if wanted_bytes > (total := psutil.virtual_memory().total):
        raise InputError(
            f"the job needs about {data_size(wanted_bytes)} of host memory; this machine has {data_size(total)}",
            code="too_large",
            remedy="take a smaller model",
        )


def unique(models: Iterable[ModelEntry]) -> list[ModelEntry]:
    return list({model.name: model for model in models}.values())


def pull_job(
    home: Home, project: Project, connection: sqlite3.Connection, model: ModelEntry, python: str, author: str
) -> int | None:
    """The id of the job that fetches a model, a new one where none is on its way; None when the model is there."""
    if not needs_pull(home, model):
        return None
    spec = PullSpec(model=model)
    on_its_way = connection.execute(
        """
        SELECT id FROM jobs JOIN job_states USING (state)
        WHERE kind = ? AND model = ? AND source = ? AND stage <> 'ended' ORDER BY id LIMIT 1
        """,
        [spec.kind, spec.columns.model, spec.columns.source],
    ).fetchone()
    if on_its_way is not None:
        return int(on_its_way["id"])
    return insert(home, project, connection, spec, python=python, needs=spec.needs, author=author)


def insert(
    home: Home,
    project: Project,
    connection: sqlite3.Connection,
    spec: Spec,
    *,
    python: str,
    needs: Iterable[int],
    author: str,
) -> int:
    """The row and the job file of one job, in the transaction that is open."""
    needs = sorted(set(needs))
    on_gpu = gpu_vendor() is not None
    lane, title, host_memory_bytes = kind_of(spec.kind).lane, spec.title, spec.host_memory(home, on_gpu)
    on_restart = project.settings.queue.on_restart
    job_id = insert_job(
        connection,
        kind=spec.kind,
        title=title,
        project_id=project.id,
        task=spec.columns.task,
        model=spec.columns.model,
        source=spec.columns.source,
        lane=lane,
        host_memory_bytes=host_memory_bytes,
        on_restart=on_restart,
        needs=needs,
        author=author,
        device_memory_bytes=spec.device_memory(on_gpu),
    )
    run = home.run_dir(job_id)
    # An id that was rolled back is given out again: nothing of its former owner may be left.
    if run.attempts():
        # It ran, under a database that is no longer here: what it made is not ours to delete.
        run.path.rename(run.path.with_name(f"{job_id}.former-{time.time():.0f}"))
    shutil.rmtree(run.path, ignore_errors=True)
    run.path.mkdir(mode=0o700, parents=True)
    JobFile(
        id=job_id,
        title=title,
        project_id=project.id,
        project_root=str(project.root),
        home=str(home.root),
        artefacts=project.settings.artefacts or str(home.artefacts),
        python=python,
        author=author,
        submitted_at=time.time(),
        on_restart=on_restart,
        lane=lane,
        host_memory_bytes=host_memory_bytes,
        needs=needs,
        spec=spec,
    ).save(run)
    return job_id
