"""`runner stop`: what runs goes on, nobody starts a runner, until a person asks for something."""

from __future__ import annotations

import os
import signal
import time

import pytest

from core.errors import BakehouseError
from core.runner.client import stop_runner
from core.runner.commands import RefusedError
from core.runner.status import runner_status
from core.store import database
from core.store.database import open_database
from tests.support.depth import at_most
from tests.support.queueing import Queue, alive
from tests.support.waiting import wait_until


def test_jobs_go_on_and_no_shim_starts_a_runner_until_a_person_asks(queue: Queue) -> None:
    job, second = queue.submit("steps=5 waits=3"), queue.submit("steps=2")
    queue.wait_for_step(job, 2)
    process, shim = queue.process(job), queue.shim_pid(job)

    stop_runner(queue.home)

    status = runner_status(queue.home)
    assert (status.alive, status.stopped) == (False, True)
    assert alive(process)
    queue.go_on(job)
    wait_until(lambda: not alive(shim), what="the shim's end")
    assert not queue.runner_alive()
    assert queue.job(job).state == "running", "nobody has looked yet"

    third = queue.submit("steps=2")
    queue.wait_for(third, "done")
    assert [queue.job(each).state for each in (job, second)] == ["done", "done"]
    assert queue.seen(job) == list(range(1, 6))
    assert not runner_status(queue.home).stopped


def test_a_command_of_a_person_starts_a_stopped_runner(queue: Queue) -> None:
    job = queue.submit("steps=3 waits=3")
    queue.wait_for_step(job, 2)
    stop_runner(queue.home)

    queue.ask("cancel", job)

    assert queue.wait_for(job).state == "cancelled"


def test_stopping_where_no_runner_lives_does_not_end_the_next_one(queue: Queue) -> None:
    stop_runner(queue.home)

    job = queue.submit("steps=3")

    queue.wait_for(job, "done")
    assert queue.runner_alive()


def test_a_runner_that_has_only_just_begun_can_be_stopped(queue: Queue) -> None:
    for _ in range(3):
        queue.start_runner()
        wait_until(queue.runner_alive, what="its lock")
        stop_runner(queue.home)
        assert not queue.runner_alive()


def test_a_command_that_cannot_be_done_is_answered_and_the_runner_lives_on(queue: Queue) -> None:
    # Deaf: it would take what keeps the request from being written for one, and end before anybody asks.
    job, second = queue.submit("steps=4 waits=3 deaf"), queue.submit("steps=2")
    queue.wait_for_step(job, 2)
    runner = queue.runner_pid()
    queue.attempt(job).stop_request.mkdir()  # the request's file cannot be written

    with pytest.raises(RefusedError) as refused:
        queue.ask("cancel", job)
    assert refused.value.reason.code == "command_failed"

    queue.go_on(job)
    queue.wait_for(second, "done")
    assert queue.runner_pid() == runner


@pytest.mark.timed
def test_a_runner_ends_on_sigterm_within_a_second(queue: Queue) -> None:
    queue.start_runner()
    os.kill(queue.runner_pid(), signal.SIGTERM)
    began = time.monotonic()
    wait_until(lambda: not queue.runner_alive(), what="its end")
    assert time.monotonic() - began < at_most(1)


def test_a_newer_version_refuses_to_migrate_under_an_older_runner_and_can_end_it(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.submit("steps=3 waits=3")
    queue.wait_for_step(job, 2)
    newer = database.SCHEMA_VERSION + 1
    monkeypatch.setattr(database, "SCHEMA_VERSION", newer)

    with pytest.raises(BakehouseError) as refused:
        open_database(queue.home)
    assert refused.value.code == "older_runner"
    assert "runner stop" in (refused.value.remedy or "")

    stop_runner(queue.home)
    connection = open_database(queue.home)
    assert database.schema_version(connection) == newer
    connection.close()
    assert queue.job(job).state in {"starting", "running"}
