"""The runner: one a home. It carries out commands, starts what may start, follows what runs, and samples the GPU.

It can be killed at any time: everything it knows is in the database and in files, and the next one goes on from there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from typing import IO, TYPE_CHECKING

from core import __version__
from core.attempt.launcher import launcher
from core.attempt.stopping import StopEscalation
from core.errors import BakehouseError
from core.gpu_lease import lock as gpu_lock
from core.home import AttemptDir, Home
from core.process.identity import ProcessIdentity, current_boot_id
from core.process.locks import held
from core.runner.commands import carry_out, stop
from core.runner.reconcile import RUNNER, Watch
from core.runner.schedule import Blocker, Resources, active_in_lane, current_resources, find_blocker, needed_jobs
from core.store.attempts import end_attempt, note_protection
from core.store.commands import finish_command, open_commands
from core.store.database import SCHEMA_VERSION, open_database, transaction
from core.store.jobs import (
    QUEUED,
    JobRow,
    StopReason,
    change_state,
    claim_next,
    get_job,
    open_jobs,
    queue_state,
    set_reason,
)

if TYPE_CHECKING:
    from core.config.settings import Settings
    from core.gpu.devices import Gpu
    from core.gpu_lease.manager import GpuLeaseManager
    from core.telemetry.background import BackgroundSampler

TICK_SECONDS = 0.2
IDLE_SECONDS = 10.0
LOCK_TRIES = 5
LOCK_PAUSE_SECONDS = 0.05


class Runner:
    """The work of one runner on one home."""

    def __init__(
        self,
        home: Home,
        connection: sqlite3.Connection,
        *,
        gpu: Gpu | None,
        settings: Settings,
        told_to_leave: list[int],
        sampling: BackgroundSampler,
    ) -> None:
        self.home = home
        self.settings = settings
        self.connection = connection
        self.gpu = gpu
        self.sampling = sampling
        # A runner that finds another one leaves before it needs these.
        from core.gpu_lease.manager import GpuLeaseManager
        from core.watchdog.run_monitor import RunMonitor

        self.keeper = None if gpu is None else GpuLeaseManager(home, gpu, settings.gpu, settings.ollama)
        self.lease_path = gpu_lock.lease_path(home, None if gpu is None else gpu.pci)
        self.launcher = launcher(home, gpu)
        self.guard = RunMonitor(home, settings.watch, gpu, self.launcher)
        self.watch = Watch(home, connection, self.launcher, self.guard)
        self.ladder = StopEscalation(self.launcher, settings.queue.stop_grace_seconds)
        self.told_to_leave = told_to_leave
        self.trouble: str | None = None
        self.seen_version = 0
        self.idle_since: float | None = None

    def tick(self) -> bool:
        """One round; returns whether there is anything left to wait for."""
        self.do_commands()
        self.take_sample()
        living = self.watch.tick()
        self.act_on_findings()
        self.press_stops()
        waiting = self.start_what_may()
        self.spare_the_disk()
        return living > 0 or waiting or (self.keeper is not None and self.keeper.busy)

    def take_sample(self) -> None:
        """Hand the newest sample to those who follow the GPU."""
        sample = self.sampling.news()
        if sample is None:
            return
        if self.keeper is not None:
            self.keeper.see(sample)
        holder = active_in_lane(open_jobs(self.connection), "gpu")
        self.guard.on_sample(sample, None if holder is None else self.attempt_of(holder))

    def attempt_of(self, job: JobRow) -> AttemptDir:
        return self.home.run_dir(job.id).attempt(job.attempt)

    def act_on_findings(self) -> None:
        """Stop every run that the watchdog found a reason to stop; what it only warns of stands in its file."""
        for job_id, finding in self.guard.tick(time.time()):
            if finding.stop:
                self.stop_running(job_id, "watch", finding.message)

    def stop_running(self, job_id: int, why: StopReason, reason: str) -> None:
        job = get_job(self.connection, job_id)
        if job.state in {"starting", "running"}:
            with transaction(self.connection):
                stop(self.home, self.connection, job, why, reason, RUNNER)

    def do_commands(self) -> None:
        """Carry out what was asked, each to its end: a command that cannot be done must not stop the queue for ever."""
        for command in open_commands(self.connection):
            try:
                carry_out(self.home, self.connection, command)
            except (BakehouseError, OSError) as error:
                message = str(error) if isinstance(error, BakehouseError) else f"it could not be done: {error}"
                finish_command(self.connection, command.id, message)

    def press_stops(self) -> None:
        """Go on with the ladder of every job that was asked to stop."""
        for job in open_jobs(self.connection):
            if job.state == "stopping" and job.stop_asked_at is not None:
                attempt = self.home.run_dir(job.id).attempt(job.attempt)
                # Only what holds a GPU can leave its memory without an owner.
                may_kill = self.gpu is None or job.lane != "gpu"
                if said := self.ladder.press(attempt, job.stop_asked_at, may_kill=may_kill):
                    set_reason(self.connection, job.id, said)

    def spare_the_disk(self) -> None:
        """Stop what runs at a checkpoint before the disk is full: nothing is torn then, and it goes on when there is room."""
        if shutil.disk_usage(self.home.root).free >= self.settings.queue.min_free_disk_bytes:
            return
        for job in open_jobs(self.connection):
            self.stop_running(job.id, "disk", "the disk is nearly full: stopping at the next step")

    def start_what_may(self) -> bool:
        """Start every job whose way is free, and give each other one its reason.

        Returns whether a queued job waits for something that only a runner will notice.
        """
        jobs = open_jobs(self.connection)
        queued = [job for job in jobs if job.state in QUEUED]
        reasons: dict[int, Blocker] = {}
        now: Resources | None = None
        if queued:
            needed = needed_jobs(self.connection, queued)
            paused = queue_state(self.connection)
            now = current_resources(self.home, paused.reason if paused.paused else None, self.gpu_holder(jobs))
            for job in queued:
                if reason := find_blocker(job, needed, now, self.settings.queue.min_free_disk_bytes):
                    reasons[job.id] = reason
        if self.keeper is not None:
            self.keep_the_gpu(self.keeper, jobs, queued, reasons)
        pending = False
        for job in queued:
            assert now is not None
            # What started before it in this round may have taken the memory, or the GPU.
            reason = reasons.get(job.id) or find_blocker(job, needed, now, self.settings.queue.min_free_disk_bytes)
            if reason is None:
                now = self.start(job, now)
                pending = True
            else:
                self.make_wait(job, reason)
                pending = pending or not reason.person
        return pending

    def keep_the_gpu(
        self, keeper: GpuLeaseManager, jobs: list[JobRow], queued: list[JobRow], reasons: dict[int, Blocker]
    ) -> None:
        """Have the GPU made free for the first job that may have it; `reasons` gets why the others on the GPU wait."""
        wanted: JobRow | None = None
        for job in queued:
            if job.lane != "gpu" or job.id in reasons:
                continue
            if wanted is not None:
                reasons[job.id] = Blocker(f"the GPU: {wanted.id} is next")
            elif no_room := keeper.no_room_for(job):
                reasons[job.id] = Blocker(f"the GPU: {no_room}")
            else:
                wanted = job
        keeper.tick(time.time(), active_in_lane(jobs, "gpu"), wanted)
        if wanted is not None and not keeper.ready_for(wanted):
            reasons[wanted.id] = Blocker(f"the GPU: {keeper.why}")
        if keeper.unwelcome is not None:
            self.stop_running(keeper.unwelcome.job_id, "room", keeper.unwelcome.reason)

    def gpu_holder(self, jobs: list[JobRow]) -> str | None:
        """Who has the GPU, in words; None when it is free, or when the keeper is to find out."""
        slot = "the GPU" if self.gpu else "the CPU"
        job = active_in_lane(jobs, "gpu")
        if job is not None:
            return f"{slot}: held by {job.id}"
        if self.keeper is not None:
            return None
        holder = gpu_lock.held_by(self.lease_path, self.home)
        return None if holder is None else f"{slot}: {holder}"

    def make_wait(self, job: JobRow, reason: Blocker) -> None:
        if job.state == "ready":
            with transaction(self.connection):
                change_state(self.connection, job.id, "waiting", reason.reason, RUNNER)
        else:
            set_reason(self.connection, job.id, reason.reason)

    def start(self, job: JobRow, now: Resources) -> Resources:
        """Lease, claim, launch. Returns the circumstances for the jobs behind it."""
        lease = None
        if job.lane == "gpu":
            lease = gpu_lock.acquire(self.lease_path) if self.keeper is None else self.keeper.hand_over()
            if lease is None:
                return now
        try:
            if job.state == "waiting":
                with transaction(self.connection):
                    change_state(self.connection, job.id, "ready", "its way is free", RUNNER)
            claimed = claim_next(self.connection, job.lane, current_boot_id(), RUNNER)
            if claimed is None:
                return now
            if lease is not None:
                lease.note_holder(self.home, claimed.id)
            self.launch(claimed, lease)
        finally:
            if lease is not None:
                lease.release()
        holder = f"{'the GPU' if self.gpu else 'the CPU'}: held by {claimed.id}"
        return Resources(
            paused=now.paused,
            gpu_holder=holder if job.lane == "gpu" else now.gpu_holder,
            memory_available_bytes=now.memory_available_bytes - claimed.host_memory_bytes,
            disk_free_bytes=now.disk_free_bytes,
        )

    def launch(self, job: JobRow, lease: gpu_lock.Lease | None) -> None:
        attempt = self.home.run_dir(job.id).attempt(job.attempt)
        try:
            protection = self.launcher.start(attempt, self.interpreter(job), lease)
        except (BakehouseError, OSError) as error:
            with transaction(self.connection):
                end_attempt(self.connection, job.id, job.attempt, "failed")
                change_state(self.connection, job.id, "failed", str(error), RUNNER)
            return
        note_protection(self.connection, job.id, job.attempt, protection)

    def interpreter(self, job: JobRow) -> str:
        """The one key that the runner needs of the job file: pydantic and the recipe's classes stay out of its memory."""
        import yaml

        file = self.home.run_dir(job.id).job_file
        try:
            return str(yaml.safe_load(file.read_bytes())["python"])
        except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
            raise BakehouseError(f"cannot be read: {error}", code="bad_job_file", file=file) from error

    def news(self) -> bool:
        """True when somebody else has written to the database since the last round began."""
        return self.data_version() != self.seen_version

    def data_version(self) -> int:
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def run(self) -> None:
        """Tick until it is told to end, or until there has been nothing to do and no console for a while."""
        self.idle_since = None
        while not self.told_to_leave and not self.home.runner_stopped.exists():
            self.seen_version = self.data_version()
            if self.guarded_tick() or consoles_open(self.home):
                self.idle_since = None
            elif self.idle_since is None:
                self.idle_since = time.monotonic()
            elif time.monotonic() - self.idle_since > idle_seconds():
                return
            time.sleep(TICK_SECONDS)

    def close(self) -> None:
        """Let go of what this process holds; what runs goes on."""
        if self.keeper is not None:
            self.keeper.close()

    def guarded_tick(self) -> bool:
        """One round; a disk that is full or a file that cannot be read is told once, and tried again."""
        try:
            busy = self.tick()
        except (OSError, sqlite3.OperationalError) as error:
            if repr(error) != self.trouble:
                traceback.print_exc()
                self.trouble = repr(error)
            return True
        self.trouble = None
        return busy


def idle_seconds() -> float:
    """How long a runner with nothing to do stays; `BAKEHOUSE_RUNNER_IDLE_SECONDS` shortens it in tests."""
    return float(os.environ.get("BAKEHOUSE_RUNNER_IDLE_SECONDS") or IDLE_SECONDS)


def machine_settings(log: IO[str] = sys.stderr) -> Settings:
    """The settings of this person on this machine; a broken settings file is told in the log, not a reason to die."""
    from core.config.settings import Settings, load_settings

    try:
        return load_settings()
    except BakehouseError as error:
        print(f"settings are not read: {error}", file=log, flush=True)
        return Settings()


def consoles_open(home: Home) -> bool:
    """True while a console holds its share of `console.lock`."""
    return held(home.console_lock, shared=True)


def take_lock(lock: int) -> bool:
    """Take `runner.lock`; False when another runner has it.

    Whoever looks whether a runner lives takes the lock for a moment, so one refusal proves nothing.
    """
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return True
    return False


def sign(lock: int) -> None:
    """Write into the lock file who holds it."""
    identity = ProcessIdentity.of(os.getpid())
    written = {"version": __version__, "schema": SCHEMA_VERSION, "since": time.time()}
    if identity is not None:
        written |= identity.to_json()
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(written).encode(), 0)


def main(home: Home) -> int:
    """Be the home's runner, or leave at once when there is one, or when a person stopped it."""
    home.create()
    if home.runner_stopped.exists():
        return 0
    lock = os.open(home.runner_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not take_lock(lock):
        return 0
    sign(lock)
    # A plain list: the lock inside an Event may be held by the very code that a signal interrupts.
    told_to_leave: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told_to_leave.append(number))
    signal.signal(signal.SIGINT, lambda number, frame: told_to_leave.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    connection = open_database(home, as_runner=True)

    from core.gpu.devices import find_gpu
    from core.telemetry.background import BackgroundSampler

    sampling = BackgroundSampler(home)
    runner = Runner(
        home,
        connection,
        gpu=find_gpu(),
        settings=machine_settings(),
        told_to_leave=told_to_leave,
        sampling=sampling,
    )
    while True:
        runner.run()
        fcntl.flock(lock, fcntl.LOCK_UN)
        if told_to_leave or home.runner_stopped.exists():
            break
        # Whoever asked for something while the lock was still held saw a living runner and started none.
        if not (runner.news() or consoles_open(home)) or not take_lock(lock):
            break
    sampling.close()
    runner.close()
    connection.close()
    return 0
