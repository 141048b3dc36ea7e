"""Why a job waits: the most lasting cause first, as a code with its values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.runner.schedule import Blocker, Resources, active_in_lane, current_resources, find_blocker, needed_jobs
from core.store.job_reasons import job_reason
from core.store.jobs import JobRow, get_job, open_jobs
from core.wording.jobs import reason_words
from tests.support.stored import add_job, fresh, job_in, step

GB = 1_000_000_000
FREE = Resources(paused=None, gpu_holder=None, memory_available_bytes=32 * GB, disk_free_bytes=100 * GB)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    _, opened = fresh(tmp_path)
    yield opened
    opened.close()


def why(connection: sqlite3.Connection, job: JobRow, now: Resources = FREE) -> Blocker | None:
    return find_blocker(job, needed_jobs(connection, [job]), now, min_free_disk_bytes=2 * GB)


def test_a_job_whose_way_is_free_waits_for_nothing(connection: sqlite3.Connection) -> None:
    assert why(connection, job_in(connection, "waiting")) is None


def test_a_held_job_keeps_the_reason_it_was_held_with(connection: sqlite3.Connection) -> None:
    job = replace(job_in(connection, "waiting"), held=True)
    noted = job_reason("held", note="data not ready")
    assert why(connection, replace(job, reason=noted)) == Blocker(noted, needs_user=True)
    after = job_reason("after", jobs=[3])
    assert why(connection, replace(job, reason=after)) == Blocker(job_reason("held"), needs_user=True)


def test_a_follower_names_what_it_waits_for(connection: sqlite3.Connection) -> None:
    running, waiting, done = (job_in(connection, state).id for state in ("running", "waiting", "done"))
    job = get_job(connection, add_job(connection, needs=(running, waiting, done)))
    assert why(connection, job) == Blocker(job_reason("after", jobs=[running, waiting]))


@pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted", "lost"])
def test_a_need_that_did_not_end_well_is_a_person_s_to_decide(connection: sqlite3.Connection, state: str) -> None:
    broken = job_in(connection, state).id  # type: ignore[arg-type]
    job = get_job(connection, add_job(connection, needs=(broken, job_in(connection, "running").id)))
    assert why(connection, job) == Blocker(job_reason("need_failed", job=broken, state=state), needs_user=True)


@pytest.mark.parametrize("state", ["done", "failed", "cancelled", "interrupted", "lost"])
def test_a_job_that_is_waited_for_to_end_may_end_however_it_likes(connection: sqlite3.Connection, state: str) -> None:
    ended, running = job_in(connection, state).id, job_in(connection, "running").id  # type: ignore[arg-type]
    job = get_job(connection, add_job(connection, needs_ended=(ended, running)))
    assert job.needs == () and job.needs_ended == (ended, running) == job.behind
    assert why(connection, job) == Blocker(job_reason("after_end", jobs=[running]))
    step(connection, running, "stopping")
    step(connection, running, "cancelled")
    assert why(connection, job) is None


def test_what_waits_for_ever_behind_a_job_that_failed_is_as_good_as_ended(connection: sqlite3.Connection) -> None:
    """A training fails, and the merge and the conversion behind it never start: the bake-off does without them."""
    training = job_in(connection, "failed").id
    merge = add_job(connection, needs=(training,))
    convert = add_job(connection, needs=(merge,))
    running = job_in(connection, "running").id
    bakeoff = get_job(connection, add_job(connection, needs_ended=(training, merge, convert, running)))
    assert why(connection, bakeoff) == Blocker(job_reason("after_end", jobs=[running]))

    step(connection, training, "waiting")
    assert why(connection, bakeoff) == Blocker(job_reason("after_end", jobs=[training, merge, convert, running])), (
        "a retry brings the whole chain back"
    )


def test_a_held_job_and_what_is_behind_it_are_waited_for(connection: sqlite3.Connection) -> None:
    held = job_in(connection, "waiting").id
    connection.execute("UPDATE jobs SET held = 1 WHERE id = ?", [held])
    merge = add_job(connection, needs=(held,))
    bakeoff = get_job(connection, add_job(connection, needs_ended=(merge,)))
    assert why(connection, bakeoff) == Blocker(job_reason("after_end", jobs=[merge]))


def test_a_need_that_must_be_done_is_told_before_what_must_have_ended(connection: sqlite3.Connection) -> None:
    one, other = job_in(connection, "running").id, job_in(connection, "waiting").id
    job = get_job(connection, add_job(connection, needs=(other,), needs_ended=(one, other)))
    assert (job.needs, job.needs_ended) == ((other,), (one,)), "done is an end"
    assert why(connection, job) == Blocker(job_reason("after", jobs=[other]))


def test_of_many_jobs_that_have_to_end_the_first_are_named(connection: sqlite3.Connection) -> None:
    trials = [job_in(connection, "waiting").id for _ in range(9)]
    job = get_job(connection, add_job(connection, needs_ended=trials))
    blocker = Blocker(job_reason("after_end", jobs=trials[:6], more=True))
    assert why(connection, job) == blocker
    assert reason_words(blocker.reason) == "After the end of jobs 1, 2, 3, 4, 5, 6 and others"


def test_a_retried_need_is_waited_for_again(connection: sqlite3.Connection) -> None:
    need = job_in(connection, "failed").id
    job = get_job(connection, add_job(connection, needs=(need,)))
    step(connection, need, "waiting")
    assert why(connection, job) == Blocker(job_reason("after", jobs=[need]))


def test_a_paused_queue_says_why_it_was_paused(connection: sqlite3.Connection) -> None:
    job = job_in(connection, "waiting")
    noted = job_reason("queue_paused", note="gaming tonight")
    assert why(connection, job, replace(FREE, paused="gaming tonight")) == Blocker(noted, needs_user=True)
    assert why(connection, job, replace(FREE, paused="")) == Blocker(job_reason("queue_paused"), needs_user=True)


def test_a_full_disk_is_said_with_what_is_free_and_what_is_needed(connection: sqlite3.Connection) -> None:
    job = job_in(connection, "waiting")
    low = replace(FREE, disk_free_bytes=1_940_000_000)
    assert why(connection, job, low) == Blocker(job_reason("disk_low", free_bytes=1_900_000_000, needed_bytes=2 * GB))
    assert why(connection, job, replace(FREE, disk_free_bytes=2 * GB)) is None


def test_host_memory_is_said_with_what_is_free_and_what_is_needed(connection: sqlite3.Connection) -> None:
    job = get_job(connection, add_job(connection, host_memory_bytes=9_600_000_000))
    low = replace(FREE, memory_available_bytes=4_200_000_000)
    assert why(connection, job, low) == Blocker(
        job_reason("host_memory_low", free_bytes=4_200_000_000, needed_bytes=9_600_000_000)
    )
    assert why(connection, job, replace(FREE, memory_available_bytes=9_600_000_000)) is None


def test_a_held_gpu_stops_the_jobs_of_the_gpu_and_no_other(connection: sqlite3.Connection) -> None:
    holder = job_reason("slot_held", slot="gpu", job=41)
    held = replace(FREE, gpu_holder=holder)
    assert why(connection, job_in(connection, "waiting"), held) == Blocker(holder)
    light = get_job(connection, add_job(connection, lane="cpu"))
    assert why(connection, light, held) is None


def test_the_most_lasting_cause_is_named_first(connection: sqlite3.Connection) -> None:
    failed = job_in(connection, "failed").id
    job = replace(get_job(connection, add_job(connection, needs=(failed,), host_memory_bytes=GB)), held=True)
    holder = job_reason("slot_held", slot="gpu", job=1)
    everything = Resources(paused="", gpu_holder=holder, memory_available_bytes=0, disk_free_bytes=0)
    named: list[str | None] = []

    def code(now: Resources) -> str | None:
        blocker = why(connection, job, now)
        return None if blocker is None else blocker.reason.code

    for change in (
        {"held": False},
        {"needs": ()},
    ):
        named.append(code(everything))
        job = replace(job, **change)  # type: ignore[arg-type]
    now = everything
    for relief in (
        {"paused": None},
        {"disk_free_bytes": 9 * GB},
        {"memory_available_bytes": 9 * GB},
        {"gpu_holder": None},
    ):
        named.append(code(now))
        now = replace(now, **relief)  # type: ignore[arg-type]
    assert named == ["held", "need_failed", "queue_paused", "disk_low", "host_memory_low", "slot_held"]
    assert why(connection, job, now) is None


def test_the_circumstances_are_those_of_this_machine(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    connection.close()
    holder = job_reason("slot_held", slot="cpu", job=1)
    now = current_resources(home, None, holder)
    assert now.gpu_holder == holder
    assert now.memory_available_bytes > 0
    assert now.disk_free_bytes > 0


def test_the_active_job_of_a_lane_is_found(connection: sqlite3.Connection) -> None:
    running = job_in(connection, "running")
    job_in(connection, "waiting")
    assert active_in_lane(open_jobs(connection), "gpu") == running
    assert active_in_lane(open_jobs(connection), "cpu") is None
