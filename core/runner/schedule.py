"""What may start now, and why the rest waits. The reason stands beside every waiting job."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from core.gpu_lease.host_room import available_bytes
from core.home import Home
from core.reasons import Reason
from core.store.job_reasons import job_reason
from core.store.jobs import ACTIVE, ENDED, QUEUED, RETRYABLE, JobRow, State, to_numbers

TOLD_BYTES = 100_000_000
MOST_TOLD = 6
"""Jobs that a reason names: one that named all six hundred trials of a race would be written at the end of each."""
HELD = ("held", "held_after_gpu_fault")
"""Reasons that stay beside a held job."""


@dataclass(frozen=True)
class Blocker:
    """Why a job waits. `needs_user`: only somebody's act can end it, so no runner has to wait for it."""

    reason: Reason
    needs_user: bool = False


@dataclass(frozen=True)
class NeededJob:
    """What another job waits for, and what it must itself have done first."""

    id: int
    state: State
    needs: tuple[int, ...]


@dataclass(frozen=True)
class Resources:
    """What the machine allows at this moment.

    `paused` is what the person wrote who paused the queue, None when it is not paused. `gpu_holder` says who has the GPU, None
    when nobody of this home does.
    """

    paused: str | None
    gpu_holder: Reason | None
    memory_available_bytes: int
    disk_free_bytes: int


def current_resources(home: Home, paused: str | None, gpu_holder: Reason | None) -> Resources:
    return Resources(
        paused=paused,
        gpu_holder=gpu_holder,
        memory_available_bytes=available_bytes(),
        disk_free_bytes=shutil.disk_usage(home.root).free,
    )


def find_blocker(
    job: JobRow, needed: Mapping[int, NeededJob], now: Resources, min_free_disk_bytes: int
) -> Blocker | None:
    """What keeps a queued job from starting, the most lasting cause first; None when the way is free."""
    if job.held:
        return Blocker(job.reason if job.reason.code in HELD else job_reason("held"), needs_user=True)
    open_needs = [needed[number] for number in job.needs if needed[number].state != "done"]
    broken = [need for need in open_needs if need.state in ENDED]
    if broken:
        return Blocker(job_reason("need_failed", job=broken[0].id, state=broken[0].state), needs_user=True)
    if open_needs:
        return Blocker(job_reason("after", jobs=[need.id for need in open_needs]))
    # Of many the first few are looked for: to be named, and one more to know that there are others.
    ahead = (number for number in job.needs_ended if not is_settled(number, needed))
    if unsettled := list(islice(ahead, MOST_TOLD + 1)):
        more = len(unsettled) > MOST_TOLD
        return Blocker(job_reason("after_end", jobs=unsettled[:MOST_TOLD], more=more or None))
    if now.paused is not None:
        return Blocker(job_reason("queue_paused", note=now.paused or None), needs_user=True)
    if now.disk_free_bytes < min_free_disk_bytes:
        free = round_down(now.disk_free_bytes)
        return Blocker(job_reason("disk_low", free_bytes=free, needed_bytes=min_free_disk_bytes))
    if now.memory_available_bytes < job.host_memory_bytes:
        free = round_down(now.memory_available_bytes)
        return Blocker(job_reason("host_memory_low", free_bytes=free, needed_bytes=job.host_memory_bytes))
    if job.lane == "gpu" and now.gpu_holder is not None:
        return Blocker(now.gpu_holder)
    return None


def is_settled(number: int, needed: Mapping[int, NeededJob]) -> bool:
    """Whether nothing more is to come of a job by itself: it has ended, or it waits behind one that did not end well."""
    return needed[number].state in ENDED or is_hopeless(number, needed)


def is_hopeless(number: int, needed: Mapping[int, NeededJob]) -> bool:
    """Whether a queued job waits, also by way of others, for one that did not end well: it would wait for ever."""
    job = needed[number]
    return job.state in QUEUED and any(
        needed[need].state in RETRYABLE or is_hopeless(need, needed) for need in job.needs
    )


def round_down(count: int) -> int:
    """Bytes to a tenth of a gigabyte: a reason that changed with every byte would be written at every look."""
    return count // TOLD_BYTES * TOLD_BYTES


def needed_jobs(connection: sqlite3.Connection, jobs: list[JobRow]) -> dict[int, NeededJob]:
    """Every job that one of these waits for; of those that are queued also what they wait for, and so on."""
    found: dict[int, NeededJob] = {}
    ahead = {number for job in jobs for number in job.behind}
    while ahead:
        rows = connection.execute(
            """
            SELECT id, state,
                   (SELECT group_concat(needs_id) FROM dependencies WHERE job_id = jobs.id AND until = 'done') AS needs
            FROM jobs WHERE id IN (SELECT value FROM json_each(?))
            """,
            [json.dumps(sorted(ahead))],
        )
        new = [NeededJob(row["id"], row["state"], to_numbers(row["needs"])) for row in rows]
        found |= {one.id: one for one in new}
        ahead = {number for one in new if one.state in QUEUED for number in one.needs}.difference(found)
    return found


def active_in_lane(jobs: list[JobRow], lane: str) -> JobRow | None:
    """The active job of a lane, if there is one."""
    return next((job for job in jobs if job.lane == lane and job.state in ACTIVE), None)
