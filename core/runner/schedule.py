"""What may start now, and why the rest waits. The reason stands beside every waiting job."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from core.home import Home
from core.store.jobs import ACTIVE, ENDED, JobRow, get_job


@dataclass(frozen=True)
class Blocker:
    """Why a job waits. `person` means that only somebody's act can end it, so no runner has to wait for it."""

    reason: str
    person: bool = False


@dataclass(frozen=True)
class Resources:
    """What the machine allows at this moment. `gpu_holder` says who has the GPU, None when nobody of this home does."""

    paused: str | None
    gpu_holder: str | None
    memory_available_bytes: int
    disk_free_bytes: int


def current_resources(home: Home, paused: str | None, gpu_holder: str | None) -> Resources:
    import psutil

    return Resources(
        paused=paused,
        gpu_holder=gpu_holder,
        memory_available_bytes=int(psutil.virtual_memory().available),
        disk_free_bytes=shutil.disk_usage(home.root).free,
    )


def find_blocker(job: JobRow, needed: Mapping[int, JobRow], now: Resources, min_free_disk_bytes: int) -> Blocker | None:
    """What keeps a queued job from starting, the most lasting cause first; None when the way is free."""
    if job.held:
        return Blocker(job.reason if job.reason.startswith("held") else "held by you", person=True)
    open_needs = [needed[number] for number in job.needs if needed[number].state != "done"]
    broken = [need for need in open_needs if need.state in ENDED]
    if broken:
        return Blocker(f"{broken[0].id} {broken[0].state}: retry it, or cancel this one", person=True)
    if open_needs:
        return Blocker("after " + ", ".join(str(need.id) for need in open_needs))
    if now.paused is not None:
        return Blocker("the queue is paused" + (f": {now.paused}" if now.paused else ""), person=True)
    if now.disk_free_bytes < min_free_disk_bytes:
        free, least = now.disk_free_bytes / 1e9, min_free_disk_bytes / 1e9
        return Blocker(f"the disk: {free:.1f} GB free, {least:.1f} GB needed")
    if now.memory_available_bytes < job.host_memory_bytes:
        free, least = now.memory_available_bytes / 1e9, job.host_memory_bytes / 1e9
        return Blocker(f"host memory: {free:.1f} GB free, {least:.1f} GB needed")
    if job.lane == "gpu" and now.gpu_holder is not None:
        return Blocker(now.gpu_holder)
    return None


def needed_jobs(connection: sqlite3.Connection, jobs: list[JobRow]) -> dict[int, JobRow]:
    """Every job that one of these waits for."""
    known = {job.id: job for job in jobs}
    numbers = {number for job in jobs for number in job.needs}
    return {number: known.get(number) or get_job(connection, number) for number in numbers}


def active_in_lane(jobs: list[JobRow], lane: str) -> JobRow | None:
    """The active job of a lane, if there is one."""
    return next((job for job in jobs if job.lane == lane and job.state in ACTIVE), None)
