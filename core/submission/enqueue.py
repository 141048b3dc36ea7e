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
from core.jobfile.spec import BakeoffSpec, JobFile, PullSpec, Spec, TrainSpec
from core.models.files import check_model_files, needs_pull, parameter_count, shard_bytes
from core.runner.client import ensure_runner
from core.store.database import open_database, transaction
from core.store.jobs import JobRow, Lane, get_job, insert_job

# Host memory beside the weights, in bytes: Python, torch, its libraries and the GPU's runtime, and the working set. A bake-off
# on a CPU took 3 GB in all, the demo's training 5.7 GB before its loss did without logits.
WORKING_BYTES = 3_000_000_000
TRAINING_ON_CPU_BYTES = 6_000_000_000


def gpu_vendor() -> str | None:
    """`amd` or `nvidia`, that of the GPU that jobs run on; None without one."""
    gpu = find_gpu()
    return None if gpu is None else gpu.vendor


def host_memory(home: Home, models: Iterable[ModelEntry], spec: Spec) -> int:
    """What a job may take of the machine's memory, in bytes.

    On a CPU a training takes what its forecast says, but no more than the planner gave it: a job that was accepted as tight
    could otherwise never start. Anything else takes the largest model's weights in fp32 and a working set.
    On a GPU a training's weights come shard by shard, so that one of them is in memory at a time; other jobs are counted
    with the whole model in bf16.
    """
    if isinstance(spec, PullSpec):
        return 100_000_000
    training = isinstance(spec, TrainSpec)
    if gpu_vendor() is not None:
        sizes = (shard_bytes(home, model) if training else 2 * parameter_count(home, model) for model in models)
        return max(sizes, default=0) + WORKING_BYTES
    if isinstance(spec, TrainSpec) and spec.forecast is not None:
        expected = spec.forecast
        # The least that it may take is above the limit only where it waits for others to leave.
        least = expected.allocated_bytes - expected.plus_minus_bytes
        return max(least, min(expected.allocated_bytes, expected.limit_bytes))
    weights = max((4 * parameter_count(home, model) for model in models), default=0)
    return weights + (TRAINING_ON_CPU_BYTES if training else WORKING_BYTES)


def device_memory(spec: Spec) -> int | None:
    """What a training is expected to take of the GPU at most, in bytes; None for other jobs and where nothing is predicted."""
    if not isinstance(spec, TrainSpec) or spec.forecast is None or gpu_vendor() is None:
        return None
    return spec.forecast.device_bytes


def base_model(spec: Spec) -> str | None:
    """The base model of a job by name; None where a bake-off compares several."""
    if not isinstance(spec, BakeoffSpec):
        return spec.model.name
    names = {candidate.model.name for candidate in spec.candidates}
    return names.pop() if len(names) == 1 else None


def model_source(model: ModelEntry) -> str:
    """Where a model comes from: `hub:OWNER/NAME`, `wheel:PACKAGE==VERSION/MEMBER`, or the path of a file."""
    if model.hub is not None:
        return f"hub:{model.hub}"
    if model.wheel is not None:
        return f"wheel:{model.wheel.package}=={model.wheel.version}/{model.wheel.member}"
    return str(model.path)


def store(
    home: Home,
    project: Project,
    spec: Spec,
    *,
    title: str,
    python: str,
    models: list[ModelEntry],
    lane: Lane,
    needs: Iterable[int],
    author: str,
    task: str | None = None,
) -> JobRow:
    """Put a job into the queue, behind the pull of each model that is not there yet, and see that a runner lives."""
    import psutil

    for model in models:
        check_model_files(model)
    memory = host_memory(home, models, spec)
    if memory > (total := psutil.virtual_memory().total):
        raise InputError(
            f"this needs about {data_size(memory)} of host memory, the machine has {data_size(total)}",
            code="too_large",
            remedy="take a smaller model",
        )
    connection = open_database(home)
    try:
        with transaction(connection):
            pulls = [pull_job(home, project, connection, model, python, author) for model in unique(models)]
            job_id = insert(
                home,
                project,
                connection,
                spec,
                title=title,
                python=python,
                lane=lane,
                host_memory_bytes=memory,
                needs=[*needs, *(pull for pull in pulls if pull is not None)],
                author=author,
                task=spec.task.name if isinstance(spec, TrainSpec | BakeoffSpec) else task,
            )
        row = get_job(connection, job_id)
    finally:
        connection.close()
    ensure_runner(home)
    return row


def unique(models: list[ModelEntry]) -> list[ModelEntry]:
    return list({model.name: model for model in models}.values())


def pull_job(
    home: Home, project: Project, connection: sqlite3.Connection, model: ModelEntry, python: str, author: str
) -> int | None:
    """The id of the job that fetches a model, a new one where none is on its way; None when the model is there."""
    if not needs_pull(home, model):
        return None
    on_its_way = connection.execute(
        """
        SELECT id FROM jobs JOIN job_states USING (state)
        WHERE kind = 'pull' AND model = ? AND source = ? AND stage <> 'ended' ORDER BY id LIMIT 1
        """,
        [model.name, model_source(model)],
    ).fetchone()
    if on_its_way is not None:
        return int(on_its_way["id"])
    return insert(
        home,
        project,
        connection,
        PullSpec(model=model),
        title=f"pull {model.name}",
        python=python,
        lane="cpu",
        host_memory_bytes=host_memory(home, [], PullSpec(model=model)),
        needs=[],
        author=author,
        task=None,
    )


def insert(
    home: Home,
    project: Project,
    connection: sqlite3.Connection,
    spec: Spec,
    *,
    title: str,
    python: str,
    lane: Lane,
    host_memory_bytes: int,
    needs: Iterable[int],
    author: str,
    task: str | None,
) -> int:
    """The row and the job file of one job, in the transaction that is open."""
    needs = sorted(set(needs))
    on_restart = project.settings.queue.on_restart
    job_id = insert_job(
        connection,
        kind=spec.kind,
        title=title,
        project_id=project.id,
        task=task,
        lane=lane,
        host_memory_bytes=host_memory_bytes,
        on_restart=on_restart,
        needs=needs,
        author=author,
        device_memory_bytes=device_memory(spec),
        model=base_model(spec),
        source=model_source(spec.model) if isinstance(spec, PullSpec) else None,
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
