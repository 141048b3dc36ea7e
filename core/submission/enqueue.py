"""Storing a job: its row and its run directory come into being in one transaction; when anything fails, neither is there."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import InputError
from core.format import data_size
from core.home import Home
from core.jobfile.kinds import kind_of
from core.jobfile.pull import PullSpec
from core.jobfile.spec import JobFile, Spec
from core.models.files import check_model_files, needs_pull
from core.runner.client import ensure_runner
from core.store.database import open_database, transaction
from core.store.jobs import JobRow, Lane, get_job, insert_job
from core.submission.python_environment import find_python, require
from core.telemetry.newest import jobs_vendor


def store(home: Home, project: Project, spec: Spec, *, needs: Iterable[int] = (), author: str) -> JobRow:
    """Put a job into the queue, behind the pull of each model that is not there yet, and see that a runner lives.

    `needs` are jobs to wait for beside those that the spec names itself. Raises `InputError` for an interpreter, a model's
    files or a memory that the job cannot be run with.
    """
    vendor = jobs_vendor(home)
    python = interpreter(home, project, spec, vendor)
    for model in spec.models:
        check_model_files(home, model)
    check_host_memory(spec.host_memory(home, vendor is not None))
    connection = open_database(home)
    try:
        with transaction(connection):
            place = Place(home, project, connection, python, author, on_gpu=vendor is not None)
            pulls = [pull_job(place, model) for model in unique(spec.models)]
            needed = [*needs, *spec.needs, *(pull for pull in pulls if pull is not None)]
            job_id = insert(place, spec, needed)
        row = get_job(connection, job_id)
    finally:
        connection.close()
    ensure_runner(home)
    return row


SpecMaker = Callable[[str], Spec]
"""Makes what a job is told of what the job before it makes: `job:7/merged`."""


def store_chain(home: Home, project: Project, makers: Sequence[SpecMaker], first: str, *, author: str) -> list[JobRow]:
    """Put jobs into the queue of which each takes what the one before makes; the first takes `first`. All of them or none.

    Raises as `store`.
    """
    vendor = jobs_vendor(home)
    python = None
    # Only the references are not known yet, and nothing of this looks at them.
    for spec in [maker(first if number == 0 else "job:0/none") for number, maker in enumerate(makers)]:
        python = interpreter(home, project, spec, vendor)
        for model in spec.models:
            check_model_files(home, model)
        check_host_memory(spec.host_memory(home, vendor is not None))
    assert python is not None  # there is at least one
    reference = first
    with contextlib.closing(open_database(home)) as connection:
        with transaction(connection):
            place = Place(home, project, connection, python, author, on_gpu=vendor is not None)
            ids = []
            for maker in makers:
                spec = maker(reference)
                pulls = [pull_job(place, model) for model in unique(spec.models)]
                ids.append(insert(place, spec, [*spec.needs, *(pull for pull in pulls if pull is not None)]))
                reference = f"job:{ids[-1]}/{kind_of(spec.kind).makes[0]}"
        rows = [get_job(connection, job_id) for job_id in ids]
    ensure_runner(home)
    return rows


def interpreter(home: Home, project: Project, spec: Spec, vendor: str | None) -> str:
    """The interpreter of the project's jobs: with the packages that the job needs, and a torch for this machine's GPU."""
    python = find_python(project.settings.jobs.python)
    if spec.packages:
        require(home, python, spec.packages, vendor=vendor)
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


@dataclass(frozen=True)
class Place:
    """Where jobs are stored, in the transaction that is open on `connection`, and what all of a submission have alike."""

    home: Home
    project: Project
    connection: sqlite3.Connection
    python: str
    author: str
    on_gpu: bool


def pull_job(place: Place, model: ModelEntry) -> int | None:
    """The id of the job that fetches a model, a new one where none is on its way; None when the model is there."""
    if not needs_pull(place.home, model):
        return None
    spec = PullSpec(model=model)
    on_its_way = place.connection.execute(
        """
        SELECT id FROM jobs JOIN job_states USING (state)
        WHERE kind = ? AND model = ? AND source = ? AND stage <> 'ended' ORDER BY id LIMIT 1
        """,
        [spec.kind, spec.columns.model, spec.columns.source],
    ).fetchone()
    if on_its_way is not None:
        return int(on_its_way["id"])
    return insert(place, spec, spec.needs)


def insert(place: Place, spec: Spec, needs: Iterable[int]) -> int:
    """The row and the job file of one job."""
    home, project = place.home, place.project
    needs = sorted(set(needs))
    kind, use, title = kind_of(spec.kind), spec.gpu_use, spec.title
    lane: Lane = "cpu" if use.mode == "none" else kind.lane
    host_memory_bytes = spec.host_memory(home, place.on_gpu)
    on_restart = project.settings.queue.on_restart if kind.retries_itself else "hold"
    job_id = insert_job(
        place.connection,
        kind=spec.kind,
        title=title,
        project_id=project.id,
        task=spec.columns.task,
        model=spec.columns.model,
        source=spec.columns.source,
        settings=spec.settings,
        lane=lane,
        host_memory_bytes=host_memory_bytes,
        on_restart=on_restart,
        needs=needs,
        author=place.author,
        device_memory_bytes=spec.device_memory(place.on_gpu),
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
        python=place.python,
        author=place.author,
        submitted_at=time.time(),
        on_restart=on_restart,
        lane=lane,
        host_memory_bytes=host_memory_bytes,
        needs=needs,
        gpu_use=use,
        spec=spec,
    ).save(run)
    return job_id
