"""The runner: one a home. It carries out commands, starts what may start, follows what runs, and samples the GPU.

It can be killed at any time: everything it knows is in the database and in files, and the next one goes on from there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING

from core.attempt.launcher import launcher
from core.attempt.stopping import StopEscalation
from core.clock import NEVER, SYSTEM_CLOCK, Clock
from core.errors import BakehouseError
from core.home import AttemptDir, Home
from core.jobfile.gpu_use import GpuUses
from core.process.locks import held
from core.reasons import Reason
from core.runner.commands import RefusedError, Request, carry_out, stop
from core.runner.gpu_faults import remedies_of
from core.runner.log import logger
from core.runner.reconcile import RUNNER, Watch
from core.runner.schedule import active_in_lane
from core.runner.starter import Starter
from core.served.state import any_running
from core.store.commands import finish_command, open_commands
from core.store.database import transaction
from core.store.job_reasons import job_reason, refusal
from core.store.jobs import JobRow, get_job, open_jobs, set_reason
from core.store.stop_reasons import StopReason
from core.store.store_error import StoreError

if TYPE_CHECKING:
    from core.config.settings import Settings
    from core.gpu.devices import Gpu
    from core.gpu_lease.gpu_fault import GpuFault
    from core.telemetry.background import BackgroundSampler

TICK_SECONDS = 0.2
IDLE_SECONDS = 10.0
REVIVE_SECONDS = 10.0


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
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.home = home
        self.settings = settings
        self.connection = connection
        self.gpu = gpu
        self.sampling = sampling
        self.clock = clock
        # A runner that finds another one leaves before it needs these.
        from core.aliases.choice import place_of
        from core.aliases.keeper import AliasKeeper
        from core.aliases.observing import AliasObserver
        from core.gpu_lease.cpu_slot import CpuSlot
        from core.gpu_lease.manager import GpuLeaseManager
        from core.runner.drift_starter import DriftStarter
        from core.watchdog.run_monitor import RunMonitor

        uses, served = GpuUses(home), (settings.gpu, settings.ollama)
        self.keeper = None if gpu is None else GpuLeaseManager(home, gpu, *served, use_of=uses.of)
        self.cpu_slot = CpuSlot(home, *served, uses) if gpu is None else None
        self.launcher = launcher(home, gpu)
        remedies = remedies_of(gpu, settings.gpu)
        self.starter = Starter(
            home,
            connection,
            settings,
            self.launcher,
            self.stop_running,
            gpu=gpu,
            keeper=self.keeper,
            cpu_slot=self.cpu_slot,
            uses=uses,
            remedies=remedies,
        )
        self.guard = RunMonitor(home, settings.watch, gpu, self.launcher, clock, uses)
        self.watch = Watch(home, connection, self.launcher, self.guard, on_fault=self.block_gpu_for, remedies=remedies)
        self.aliases = AliasKeeper(connection, partial(place_of, home), observing=AliasObserver(home), clock=clock)
        self.escalation = StopEscalation(self.launcher, settings.queue.stop_grace_seconds, clock)
        self.drift = DriftStarter(home, settings.fleet.drift, clock)
        self.told_to_leave = told_to_leave
        self.trouble: str | None = None
        self.seen_version = 0
        self.idle_since: float | None = None
        self.revive_at = NEVER
        self.place = home.identity()

    def moved(self) -> bool:
        """Whether the home has been moved away: everything this runner would write by its path would go to another place.

        One that is gone is away, also where it went while this runner was still being made.
        """
        now = self.home.identity()
        return now is None or now != self.place

    def tick(self) -> bool:
        """One round; returns whether there is anything left to wait for."""
        self.take_sample()
        # Before commands, which ask of jobs as they are: what ended while no runner lived is noted by then.
        living = self.watch.tick()
        self.do_commands()
        self.act_on_findings()
        self.escalate_stops()
        waiting = self.starter.start_what_may()
        self.spare_the_disk()
        self.revive_served()
        self.aliases.tick()
        due = self.drift.tick(self.connection)
        return (
            living > 0 or waiting or due or any(one.busy for one in (self.keeper, self.cpu_slot, self.aliases) if one)
        )

    def revive_served(self) -> None:
        """See now and then that each served model has its shim. Imported once there is one: few homes have any."""
        now = self.clock.monotonic()
        if now < self.revive_at or not self.home.served.exists():
            return
        from core.aliases.served_record import state_of_change
        from core.served.revival import revive, take_back

        self.revive_at = now + REVIVE_SECONDS
        for name in take_back(self.home, partial(state_of_change, self.connection)):
            logger.warning(
                "What was to replace %s was broken off: what served under the name before is there again.", name
            )
        for name in revive(self.home):
            logger.warning("The process of the served model %s was gone: started again.", name)

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

    def block_gpu_for(self, fault: GpuFault) -> None:
        if self.keeper is not None:
            self.keeper.note_fault(fault)

    def act_on_findings(self) -> None:
        """Stop every run that the watchdog found a reason to stop; what it only warns of stands in its file."""
        findings = self.guard.tick()
        self.watch.report_faults()
        for job_id, finding in findings:
            if finding.stop:
                reason = job_reason("stopping_for_watchdog", finding=finding.code, message=finding.message)
                self.stop_running(job_id, "watchdog", reason)

    def stop_running(self, job_id: int, stop_reason: StopReason, reason: Reason) -> None:
        job = get_job(self.connection, job_id)
        if job.state in {"starting", "running"}:
            with transaction(self.connection):
                stop(Request(self.home, self.connection, RUNNER, {}), job, stop_reason, reason)

    def do_commands(self) -> None:
        """Carry out what was asked, each to its end: a command that cannot be done must not stop the queue for ever."""
        for command in open_commands(self.connection):
            try:
                carry_out(self.home, self.connection, command)
            except RefusedError as refused:
                finish_command(self.connection, command.id, refused.reason)
            except StoreError:
                raise  # the command stays queued
            except (BakehouseError, OSError) as error:
                finish_command(self.connection, command.id, refusal("command_failed", message=str(error)))

    def escalate_stops(self) -> None:
        """Send the next signal to every job that was asked to stop and has not within its grace."""
        stopping = {self.attempt_of(job): job for job in open_jobs(self.connection) if job.state == "stopping"}
        self.escalation.forget(stopping)
        for attempt, job in stopping.items():
            # Only what holds a GPU can leave its memory without an owner.
            may_kill = self.gpu is None or job.lane != "gpu"
            if told := self.escalation.escalate(attempt, may_kill=may_kill):
                set_reason(self.connection, job.id, told)

    def spare_the_disk(self) -> None:
        """Stop what runs at a checkpoint before the disk is full: nothing is torn then, and it goes on when there is room."""
        if shutil.disk_usage(self.home.root).free >= self.settings.queue.min_free_disk_bytes:
            return
        for job in open_jobs(self.connection):
            self.stop_running(job.id, "disk", job_reason("stopping_for_disk"))

    def news(self) -> bool:
        """True when somebody else has written to the database since the last round began."""
        return self.data_version() != self.seen_version

    def data_version(self) -> int:
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def run(self) -> None:
        """Tick until it is told to end or its home is moved, or there has been nothing to do for a while.

        A console and a served model keep it alive.
        """
        self.idle_since = None
        while not (self.told_to_leave or self.home.runner_stopped.exists() or self.moved()):
            self.seen_version = self.data_version()
            if self.guarded_tick() or consoles_open(self.home) or any_running(self.home):
                self.idle_since = None
            elif self.idle_since is None:
                self.idle_since = self.clock.monotonic()
            elif self.clock.monotonic() - self.idle_since > idle_seconds():
                return
            time.sleep(TICK_SECONDS)
        self.aliases.rest()

    def close(self) -> None:
        """Let go of what this process holds; what runs goes on."""
        for one in (self.keeper, self.cpu_slot):
            if one is not None:
                one.close()

    def guarded_tick(self) -> bool:
        """One round; a disk that is full or a file that cannot be read is told once, and tried again."""
        try:
            busy = self.tick()
        except (OSError, StoreError, sqlite3.OperationalError) as error:
            if repr(error) != self.trouble:
                logger.exception("A round failed and is tried again.")
                self.trouble = repr(error)
            return True
        self.trouble = None
        return busy


def idle_seconds() -> float:
    """How long a runner with nothing to do stays; `BAKEHOUSE_RUNNER_IDLE_SECONDS` shortens it in tests."""
    return float(os.environ.get("BAKEHOUSE_RUNNER_IDLE_SECONDS") or IDLE_SECONDS)


def consoles_open(home: Home) -> bool:
    """True while a console holds its share of `console.lock`."""
    return held(home.console_lock, shared=True)
