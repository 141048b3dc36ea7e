"""The feed: a thread of its own that looks at the home four times a second and posts one frozen snapshot.

It costs little when nothing happens: the jobs are read again only when `PRAGMA data_version` says that somebody wrote, files
only from the offset reached. Widgets are never touched from here.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from core.errors import BakehouseError
from core.failures import in_a_line
from core.files import read_json
from core.home import Home
from core.store.chains import list_chains
from core.store.database import open_database, runner_lives
from core.store.jobs import ACTIVE, QUEUED, JobRow, count_states, list_jobs, queue_state
from core.store.results import run_scores
from core.telemetry.ring import TelemetryRing
from core.wording.runs import Difference, differences
from tui.model.background_reader import BackgroundReader
from tui.model.forecasts import Forecasts
from tui.model.gpu_files import GpuFiles
from tui.model.job_files import JobFiles
from tui.model.served_files import ServedFiles
from tui.model.snapshot import Detail, Slot, Snapshot

PAGE = 200
HISTORY = 600
RUNNER_LOOK_SECONDS = 2.0


class Feed(threading.Thread):
    """Reads the home until it is stopped. `post` is called with each new snapshot, from this thread."""

    def __init__(
        self, home: Home, host: str, post: Callable[[Snapshot], None], reader: BackgroundReader, interval: float
    ) -> None:
        super().__init__(name="feed", daemon=True)
        self.home = home
        self.post = post
        self.reader = reader
        self.interval = interval
        self.limit = PAGE
        self.snapshot = Snapshot(time=time.time(), host=host)
        self._selected: int | None = None
        self._files: JobFiles | None = None
        self._connection: sqlite3.Connection | None = None
        self._version: tuple[int, int] | None = None
        self._forecasts = Forecasts(home)
        self._gpu = GpuFiles(home)
        self._served = ServedFiles(home)
        self._ring = TelemetryRing(home.telemetry)
        self._runner_looked = 0.0
        self._told_apart: tuple[tuple[tuple[int, bool], ...], dict[int, Difference]] = ((), {})
        self._wake = threading.Event()
        self._stopped = False

    def select(self, job_id: int | None) -> None:
        """Follow another job's files."""
        self._selected = job_id
        self.wake()

    def want_more(self) -> None:
        """Read a further page of jobs."""
        if len(self.snapshot.jobs) >= self.limit:
            self.limit += PAGE
            self.wake()

    def wake(self) -> None:
        """Look now rather than at the next beat."""
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self.wake()

    def run(self) -> None:
        while not self._stopped:
            former = self.snapshot
            try:
                self.snapshot = replace(self._look(), problem=None)
            except (BakehouseError, OSError, sqlite3.Error) as error:
                self.snapshot = replace(former, time=time.time(), problem=in_a_line(error))
                self._forget()
            if self._differs(former) and not self._stopped:
                self.post(self.snapshot)
            self._wake.wait(self.interval)
            self._wake.clear()
        self._forget()

    def _differs(self, former: Snapshot) -> bool:
        return int(former.time) != int(self.snapshot.time) or replace(former, time=self.snapshot.time) != self.snapshot

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._version = None

    def _look(self) -> Snapshot:
        """The home as it is now."""
        now = time.time()
        snapshot = replace(self.snapshot, time=now, ready=True)
        if self._connection is None:
            self._connection = open_database(self.home)
        version = (self._connection.execute("PRAGMA data_version").fetchone()[0], self.limit)
        if version != self._version:
            # What is committed after this look raises the version again, so nothing is missed.
            jobs = tuple(list_jobs(self._connection, self.limit))
            snapshot = replace(
                snapshot,
                jobs=jobs,
                chains=tuple(list_chains(self._connection)),
                differences=self._differences(jobs),
                run_scores=run_scores(self._connection),
                counts=count_states(self._connection),
                queue=queue_state(self._connection),
            )
            self._version = version
            self.reader.data_changed()
        passed = time.monotonic()
        if passed - self._runner_looked >= RUNNER_LOOK_SECONDS:
            self._runner_looked = passed
            snapshot = replace(snapshot, runner_alive=runner_lives(self.home))
        newest = snapshot.sample.time if snapshot.sample else 0.0
        if not 0.0 <= now - newest < 1.0:  # below 0: the clock was set back
            snapshot = replace(snapshot, samples=tuple(self._ring.history(HISTORY)))
        found = self.reader.found
        slot = self._slot(snapshot.jobs, snapshot.slot)
        state = self._gpu.state()
        return replace(
            snapshot,
            slot=slot,
            lease_state=state,
            served=self._served.read(),
            queue=replace(snapshot.queue, gpu_faulted=state is not None and state.faulted),
            gpu_summary=self._gpu.summary(snapshot.job(slot.job_id)),
            findings=self._gpu.findings(snapshot.jobs),
            profile=found.profile,
            detail=self._detail(snapshot),
            ladders=self._forecasts.ladders(snapshot.jobs),
            project=found.project,
            project_id=found.project_id,
            project_option=found.project_option,
            tasks=found.tasks,
            boards=found.boards,
            fleet=self.reader.fleet.found,
            problems=tuple(text for _, text in found.problems),
        )

    def _differences(self, jobs: tuple[JobRow, ...]) -> dict[int, Difference]:
        """Worked out again only when there are other jobs: what a job was told never changes."""
        told = tuple((job.id, bool(job.settings)) for job in jobs)
        if told != self._told_apart[0]:
            self._told_apart = (told, differences(jobs))
        return self._told_apart[1]

    def _detail(self, snapshot: Snapshot) -> Detail | None:
        job = snapshot.job(self._selected)
        if job is None:
            return None
        if self._files is None or self._files.job_id != job.id:
            self._files = JobFiles(self.home, job.id)
        return self._files.read(job)

    def _slot(self, jobs: tuple[JobRow, ...], former: Slot) -> Slot:
        """Who holds the GPU, by what the runner wrote: the lock itself is not touched from here."""
        holder = next((job for job in jobs if job.lane == "gpu" and job.state in ACTIVE), None)
        behind = next((job for job in jobs if job.lane == "gpu" and job.state in QUEUED and not job.held), None)
        own, following = self._forecasts.of(holder), self._forecasts.of(behind)
        if holder is None:
            elsewhere = any(job.reason.values.get("why") == "held_by_other_home" for job in jobs)
            return Slot(held=elsewhere, elsewhere=elsewhere, next_forecast=following)
        known = former.since if former.job_id == holder.id else None
        since = known if known is not None else attempt_start(self.home, holder)
        return Slot(held=True, job_id=holder.id, since=since, forecast=own, next_forecast=following)


def attempt_start(home: Home, job: JobRow) -> float | None:
    """When the present attempt of a job began, in Unix seconds; None before its shim has said so."""
    try:
        written = read_json(home.run_dir(job.id).attempt(job.attempt).run_json) or {}
    except ValueError:
        written = {}
    started = written.get("started_at")
    return float(started) if isinstance(started, int | float) else None
