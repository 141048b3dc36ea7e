"""Storing a job: its row and its run directory come into being in one transaction; when anything fails, neither is there."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from core.config.base import writing
from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import InputError
from core.files import fsync_path
from core.format import data_size
from core.home import Home, RunDir
from core.jobfile.kinds import kind_of
from core.jobfile.pull import PullSpec
from core.jobfile.shared_texts import SharedTexts
from core.jobfile.spec import JobFile, Spec
from core.models.files import check_model_files, needs_pull
from core.process.shims import see_to_a_runner
from core.runner.client import ensure_runner
from core.store.chains import chain_with_jobs, insert_chain
from core.store.database import open_database, savepoint, transaction
from core.store.jobs import JobRow, Lane, get_job, insert_job
from core.submission.python_environment import find_python, require
from core.telemetry.newest import jobs_vendor

SYNCED_AT_ONCE = 8


def store(
    home: Home,
    project: Project,
    spec: Spec,
    *,
    needs: Iterable[int] = (),
    author: str,
    by_person: bool = True,
    instead: Callable[[sqlite3.Connection], int | None] = lambda connection: None,
) -> JobRow:
    """Put a job into the queue, behind the pull of each model that is not there yet, and see that a runner lives.

    `needs` are jobs to wait for beside those that the spec names itself. A person's act lifts a former `runner stop`; of
    anybody else's the job waits for the next runner. `instead` is asked in the transaction for a job that is there already and
    stands for the new one. Raises `InputError` for an interpreter, a model's files or a memory that the job cannot be run with.
    """
    vendor = jobs_vendor(home)
    python = require_runnable(home, project, spec, vendor)
    connection = open_database(home)
    try:
        with transaction(connection):
            place = Place(home, project, connection, python, author, on_gpu=vendor is not None)
            there = instead(connection)
            job_id = insert_behind_pulls(place, spec, needs) if there is None else there
        row = get_job(connection, job_id)
    finally:
        connection.close()
    if by_person:
        ensure_runner(home)
    else:
        see_to_a_runner(home)
    return row


@dataclass(frozen=True)
class StoredChain:
    """`queued` are the new jobs in their order. `chain` is the id under which all links are kept, None where they are not."""

    queued: tuple[JobRow, ...]
    chain: int | None = None


class ChainWriter:
    """The links of a chain while they are written, in the transaction that is open on `connection`.

    Each new job waits for the link before it, and for what its spec names. Those that were written can be looked up by
    everything that is given the connection, as if they had always been there.
    """

    def __init__(self, place: Place, vendor: str | None) -> None:
        self.place = place
        self.connection = place.connection
        self.vendor = vendor
        self.links: list[tuple[int, bool]] = []
        """(job, whether it was there before)."""
        self.by_kind: dict[str, int] = {}

    def add(self, spec: Spec) -> str:
        """Put a job into the queue behind the last link; the reference of what it makes, or of itself. Raises as `store`."""
        require_runnable(self.place.home, self.place.project, spec, self.vendor)
        job_id = insert_behind_pulls(self.place, spec, [self.links[-1][0]] if self.links else [])
        self._link(job_id, spec.kind, taken=False)
        makes = kind_of(spec.kind).makes
        return f"job:{job_id}/{makes[0]}" if makes else f"job:{job_id}"

    def take(self, job_id: int) -> None:
        """Make a job that is there already the next link."""
        self._link(job_id, get_job(self.connection, job_id).kind, taken=True)

    def _link(self, job_id: int, kind: str, *, taken: bool) -> None:
        self.links.append((job_id, taken))
        self.by_kind[kind] = job_id


class ChainWriting:
    """The transaction that chains are written in, and what all of its jobs have alike. `queued` are the new jobs so far."""

    def __init__(self, place: Place, vendor: str | None) -> None:
        self.place = place
        self.vendor = vendor
        self.queued: list[int] = []

    def write(self, write: Callable[[ChainWriter], None], title: str | None = None) -> StoredChain:
        """Put the jobs that `write` adds into the queue, all of them or none; with a `title` the links are kept as one chain.

        Where all links are there already, as part of a chain, that is the chain. Raises as `store`, and what `write` raises:
        then what the transaction holds beside this chain is as before.
        """
        connection = self.place.connection
        with savepoint(connection):
            writer = ChainWriter(self.place, self.vendor)
            write(writer)
            chain = None
            if title is not None:
                is_new = any(not taken for _, taken in writer.links)
                chain = None if is_new else chain_with_jobs(connection, [job_id for job_id, _ in writer.links])
                if chain is None:
                    own = self.place
                    chain = insert_chain(
                        connection, title=title, project_id=own.project.id, author=own.author, links=writer.links
                    )
        queued = [job_id for job_id, taken in writer.links if not taken]
        self.queued += queued
        return StoredChain(tuple(get_job(connection, job_id) for job_id in queued), chain)


@contextlib.contextmanager
def writing_chains(home: Home, project: Project, *, author: str) -> Iterator[ChainWriting]:
    """A transaction in which chains are written: what the block writes, whole or not at all.

    A runner lives afterwards, also where nothing was missing: without it what is queued already would wait for ever.

    What takes long to find out about their jobs is found out before (`require_runnable`): the database is locked.
    """
    vendor = jobs_vendor(home)
    python = find_python(project.settings.jobs.python)
    with contextlib.closing(open_database(home)) as connection, transaction(connection):
        files = WrittenFiles(home)
        place = Place(home, project, connection, python, author, on_gpu=vendor is not None, files=files)
        writing = ChainWriting(place, vendor)
        yield writing
        files.to_disk()
    ensure_runner(home)


def store_chain(
    home: Home,
    project: Project,
    write: Callable[[ChainWriter], None],
    *,
    title: str | None = None,
    ahead: Iterable[Spec] = (),
    author: str,
) -> StoredChain:
    """Put the jobs of one chain into the queue (`ChainWriting.write`).

    `ahead` are specs as they will be, but for their references: what takes long to find out about them is found out before
    the database is locked. Raises as `store`, and what `write` raises.
    """
    require_all_runnable(home, project, ahead)
    with writing_chains(home, project, author=author) as writing:
        return writing.write(write, title)


def require_all_runnable(home: Home, project: Project, specs: Iterable[Spec]) -> None:
    """Refuse the first of several jobs that could not be run. Raises `InputError`."""
    vendor = jobs_vendor(home)
    for spec in specs:
        require_runnable(home, project, spec, vendor)


def require_runnable(home: Home, project: Project, spec: Spec, vendor: str | None) -> str:
    """Refuse a job whose interpreter, model files or host memory would not do (`InputError`); the interpreter it runs in."""
    python = interpreter(home, project, spec, vendor)
    for model in spec.models:
        check_model_files(home, model)
    check_host_memory(spec.host_memory(home, vendor is not None))
    return python


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
    files: WrittenFiles | None = None
    """With them the caller sees at the transaction's end that the disk has the job files; without, it has each at once."""


class WrittenFiles:
    """The job files of one submission. Each is written as its job is stored; `to_disk` comes before the transaction's end, so
    that a job that the database knows has its file, also after a crash of the machine."""

    def __init__(self, home: Home) -> None:
        self._texts = SharedTexts(writing(home))
        self._written: list[RunDir] = []

    def write(self, file: JobFile, run: RunDir) -> None:
        file.save(run, self._texts, durable=False)
        self._written.append(run)

    def to_disk(self) -> None:
        """Wait until the disk has all that was written so far."""
        written, self._written = self._written, []
        # What a savepoint has taken back may be gone.
        paths = [path for run in written for path in (run.job_file, run.path) if path.exists()]
        if len(written) < SYNCED_AT_ONCE:
            _fsync_all(paths)
            return
        # The file system writes what several wait for in one go: twelve hundred files three times as fast.
        with ThreadPoolExecutor(max_workers=SYNCED_AT_ONCE) as pool:
            list(pool.map(_fsync_all, (paths[start::SYNCED_AT_ONCE] for start in range(SYNCED_AT_ONCE))))


def _fsync_all(paths: Iterable[Path]) -> None:
    for path in paths:
        fsync_path(path)


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


def insert_behind_pulls(place: Place, spec: Spec, needs: Iterable[int] = ()) -> int:
    """Store a job behind `needs`, what its spec names, and the pull of each model that is not there yet; its id."""
    pulls = [pull_job(place, model) for model in unique(spec.models)]
    pulled = [pull for pull in pulls if pull is not None]
    if spec.starts_without_models:
        return insert(place, spec, [*needs, *spec.needs], pulled)
    return insert(place, spec, [*needs, *spec.needs, *pulled])


def insert(place: Place, spec: Spec, needs: Iterable[int], needs_ended: Iterable[int] = ()) -> int:
    """The row and the job file of one job; it waits for the end of `needs_ended`, and of what its spec names so, as well."""
    home, project = place.home, place.project
    needs = sorted(set(needs))
    needs_ended = sorted({*needs_ended, *spec.needs_ended}.difference(needs))
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
        needs_ended=needs_ended,
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
    file = JobFile(
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
        needs_ended=needs_ended,
        gpu_use=use,
        spec=spec,
    )
    if place.files is None:
        file.save(run)
    else:
        place.files.write(file, run)
    return job_id
