"""Starting jobs: which one may start now, the GPU made free for it, the lease, the claim, the launch."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from core.aliases.guard import require_deploys_beside, served_alias_on_its_way
from core.attempt.launcher import NO_REMEDIES, Launcher
from core.clock import SYSTEM_CLOCK
from core.errors import BakehouseError
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.host_room import HostRoom, available_bytes
from core.home import Home
from core.jobfile.gpu_use import GpuUses
from core.process.identity import current_boot_id
from core.reasons import Reason
from core.runner.reconcile import RUNNER
from core.runner.schedule import (
    Blocker,
    Resources,
    active_in_lane,
    current_resources,
    find_blocker,
    needed_jobs,
)
from core.store.attempts import end_attempt, note_protection
from core.store.database import transaction
from core.store.gpu_faults import former_faults
from core.store.job_reasons import about_the_gpu, job_reason
from core.store.jobs import (
    QUEUED,
    JobRow,
    change_state,
    claim_next,
    open_jobs,
    queue_state,
    set_reason,
)
from core.store.stop_reasons import StopReason

if TYPE_CHECKING:
    from core.config.settings import Settings
    from core.gpu.devices import Gpu
    from core.gpu_lease.cpu_slot import CpuSlot
    from core.gpu_lease.manager import GpuLeaseManager


class Starter:
    """Starts what may start, and gives every other queued job its reason. `stop_running(job, why, reason)` asks one to stop.

    `keeper` has the GPU; without a GPU `cpu_slot` sees to the models of the server that a job asks.
    """

    def __init__(
        self,
        home: Home,
        connection: sqlite3.Connection,
        settings: Settings,
        launcher: Launcher,
        stop_running: Callable[[int, StopReason, Reason], None],
        *,
        gpu: Gpu | None,
        keeper: GpuLeaseManager | None,
        cpu_slot: CpuSlot | None = None,
        uses: GpuUses | None = None,
        remedies: Mapping[str, str] = NO_REMEDIES,
    ) -> None:
        self.home = home
        self.connection = connection
        self.least_disk_bytes = settings.queue.min_free_disk_bytes
        self.launcher = launcher
        self.gpu = gpu
        self.keeper = keeper
        self.cpu_slot = cpu_slot
        self.uses = uses or GpuUses(home)
        self.remedies = remedies
        self.stop_running = stop_running
        self.served = keeper.served if keeper is not None else None if cpu_slot is None else cpu_slot.served
        self.host_room = HostRoom(SYSTEM_CLOCK, settings.gpu.retry_seconds)
        self.available_then = 0
        """The host's memory as it was when this round began."""
        self.lease_path = gpu_lock.lease_path(home, None if gpu is None else gpu.pci)

    def start_what_may(self) -> bool:
        """Start every job that nothing blocks, and give each other one its reason.

        Returns whether a queued job waits for something that only a runner will notice.
        """
        jobs = open_jobs(self.connection)
        queued = [job for job in jobs if job.state in QUEUED]
        blockers: dict[int, Blocker] = {}
        now: Resources | None = None
        if queued:
            needed = needed_jobs(self.connection, queued)
            paused = queue_state(self.connection)
            now = current_resources(self.home, paused.reason if paused.paused else None, self.gpu_holder(jobs))
            self.available_then = now.memory_available_bytes
            moving = served_alias_on_its_way(self.connection)
            for job in queued:
                if moving is not None and self.uses.of(job.id).beside_programs:
                    blockers[job.id] = Blocker(job_reason("alias_moving", alias=moving))
                elif blocker := find_blocker(job, needed, self.room_for(job, now), self.least_disk_bytes):
                    blockers[job.id] = blocker
        if self.keeper is not None:
            self.keep_the_gpu(self.keeper, jobs, queued, blockers)
        elif self.cpu_slot is not None:
            wanted = next((job for job in queued if job.lane == "gpu" and job.id not in blockers), None)
            why = self.cpu_slot.tick(active_in_lane(jobs, "gpu"), wanted)
            if wanted is not None and why is not None:
                # Nor does one behind it start: what is noted for this one would be of before that.
                ahead = Blocker(about_the_gpu("gpu_lease", why))
                blockers |= {job.id: ahead for job in queued if job.lane == "gpu" and job.id not in blockers}
        pending = False
        for job in queued:
            assert now is not None
            # What started before it in this round may have taken the memory, or the GPU.
            blocker = blockers.get(job.id) or find_blocker(
                job, needed, self.looked_again(job, now), self.least_disk_bytes
            )
            if blocker is not None and blocker.reason.code == "host_memory_low":
                self.host_room.lacked(job.id)
            if blocker is None:
                now = self.start(job, now)
                pending = True
            else:
                self.make_wait(job, blocker.reason)
                pending = pending or not blocker.needs_user
        return pending

    def room_for(self, job: JobRow, now: Resources) -> Resources:
        """What there is for a job once the served models of the home have made way for it."""
        lacking = job.host_memory_bytes - now.memory_available_bytes
        if lacking <= 0 or job.lane != "gpu" or self.served is None or self.uses.of(job.id).mode != "exclusive":
            return now
        more = self.host_room.bytes_for(job.id, lacking, self.served.making_way())
        return replace(now, memory_available_bytes=now.memory_available_bytes + more)

    def looked_again(self, job: JobRow, now: Resources) -> Resources:
        """The same resources, with the memory that has come back since this round began where the job lacks some."""
        if job.lane != "gpu" or self.served is None or now.memory_available_bytes >= job.host_memory_bytes:
            return now
        came_back = max(0, available_bytes() - self.available_then)
        return replace(now, memory_available_bytes=now.memory_available_bytes + came_back)

    def keep_the_gpu(
        self, keeper: GpuLeaseManager, jobs: list[JobRow], queued: list[JobRow], blockers: dict[int, Blocker]
    ) -> None:
        """Have the GPU made free for the first job that may have it; `blockers` gets why the others on the GPU wait."""
        wanted: JobRow | None = None
        for job in queued:
            if job.lane != "gpu" or job.id in blockers:
                continue
            if faulted := keeper.blocked_by_fault:
                variable = next(iter(self.remedies_for(job)), None)
                blockers[job.id] = Blocker(about_the_gpu("gpu_lease", faulted, variable=variable), needs_user=True)
            elif wanted is not None:
                blockers[job.id] = Blocker(job_reason("gpu_next", job=wanted.id))
            elif no_room := keeper.no_room_for(job):
                blockers[job.id] = Blocker(about_the_gpu("gpu_lease", no_room))
            else:
                wanted = job
        keeper.tick(active_in_lane(jobs, "gpu"), wanted)
        if wanted is not None and not keeper.ready_for(wanted):
            blockers[wanted.id] = Blocker(about_the_gpu("gpu_lease", keeper.why))
        if keeper.unwelcome is not None:
            reason = about_the_gpu("stopping_for_client", keeper.unwelcome.reason)
            self.stop_running(keeper.unwelcome.job_id, "preempted", reason)

    @property
    def slot(self) -> str:
        return "cpu" if self.gpu is None else "gpu"

    def gpu_holder(self, jobs: list[JobRow]) -> Reason | None:
        """Who has the GPU; None when it is free, or when the keeper is to find out."""
        job = active_in_lane(jobs, "gpu")
        if job is not None:
            return self.held_by(job)
        if self.keeper is not None:
            return None
        holder = gpu_lock.held_by(self.lease_path, self.home)
        return None if holder is None else about_the_gpu("slot_held_elsewhere", holder, slot=self.slot)

    def held_by(self, job: JobRow) -> Reason:
        if self.uses.of(job.id).mode == "serving":
            return job_reason("slot_held_asking", slot=self.slot, job=job.id, kind=job.kind)
        return job_reason("slot_held", slot=self.slot, job=job.id)

    def make_wait(self, job: JobRow, reason: Reason) -> None:
        if job.state == "ready":
            with transaction(self.connection):
                change_state(self.connection, job.id, "waiting", reason, RUNNER)
        else:
            set_reason(self.connection, job.id, reason)

    def start(self, job: JobRow, now: Resources) -> Resources:
        """Lease, claim, launch. Returns the resources that are left for the jobs behind it."""
        lease = None
        if job.lane == "gpu":
            lease = gpu_lock.acquire(self.lease_path) if self.keeper is None else self.keeper.hand_over()
            if lease is None:
                return now
        try:
            if job.state == "waiting":
                with transaction(self.connection):
                    change_state(self.connection, job.id, "ready", job_reason("ready"), RUNNER)
            claimed = claim_next(self.connection, job.lane, current_boot_id(), RUNNER)
            if claimed is None:
                return now
            self.host_room.started(claimed.id)
            if lease is not None:
                lease.note_holder(self.home, claimed.id)
            self.launch(claimed, lease)
        finally:
            if lease is not None:
                lease.release()
        return Resources(
            paused=now.paused,
            gpu_holder=self.held_by(claimed) if job.lane == "gpu" else now.gpu_holder,
            memory_available_bytes=now.memory_available_bytes - claimed.host_memory_bytes,
            disk_free_bytes=now.disk_free_bytes,
        )

    def launch(self, job: JobRow, lease: gpu_lock.Lease | None) -> None:
        attempt = self.home.run_dir(job.id).attempt(job.attempt)
        try:
            require_deploys_beside(self.home, self.connection, job)
            protection = self.launcher.start(attempt, self.interpreter(job), lease, self.remedies_for(job))
        except (BakehouseError, OSError) as error:
            code = error.code if isinstance(error, BakehouseError) else "os_error"
            with transaction(self.connection):
                end_attempt(self.connection, job.id, job.attempt, "failed")
                reason = job_reason("launch_failed", error=code, message=str(error))
                change_state(self.connection, job.id, "failed", reason, RUNNER)
            return
        note_protection(self.connection, job.id, job.attempt, protection)

    def remedies_for(self, job: JobRow) -> Mapping[str, str]:
        """The variables that help against page faults of the GPU, for a job that had one."""
        had_one = job.lane == "gpu" and job.attempt > 0 and former_faults(self.connection, job.id)
        return self.remedies if had_one else NO_REMEDIES

    def interpreter(self, job: JobRow) -> str:
        """The one key that the runner needs of the job file: pydantic and the recipe's classes stay out of its memory."""
        from core.jobfile.raw import read_key

        return read_key(self.home.run_dir(job.id), "python", str)
