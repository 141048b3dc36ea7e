"""Cancel, hold, release, pause and move: a running job stops at a checkpoint, a deaf one step by step."""

from __future__ import annotations

import json
import os
import signal

import pytest

from core.errors import NotFoundError
from core.reasons import Reason
from core.runner.commands import RefusedError
from tests.support.depth import at_most
from tests.support.queueing import Queue, alive
from tests.support.waiting import wait_until

LONG = "steps=12 save=100 waits=4"
"""It has counted to three and goes no further, unless it is let go on or asked to stop."""


def test_a_cancelled_running_job_stops_at_its_next_step_with_a_checkpoint(queue: Queue) -> None:
    job = queue.submit(LONG)
    queue.wait_for_step(job, 3)
    queue.ask("cancel", job)

    cancelled = queue.wait_for(job)

    assert cancelled.state == "cancelled"
    step = queue.wait_for_checkpoint(job)
    assert cancelled.reason == Reason("cancelled", {"step": step})
    assert queue.states(job)[-2:] == ["stopping", "cancelled"]
    assert queue.history(job)[-2].author == "tester"
    assert json.loads(queue.attempt(job).stop_request.read_bytes())["why"] == "cancel"


def test_a_waiting_job_is_cancelled_at_once_and_its_place_is_free(queue: Queue) -> None:
    running, waiting, last = queue.submit(LONG), queue.submit("steps=3"), queue.submit("steps=2")
    queue.wait_for_reason(waiting, "slot_held", job=running)
    queue.ask("cancel", waiting)

    assert queue.job(waiting).state == "cancelled"
    assert queue.job(waiting).attempt == 0
    assert not queue.attempt(waiting).path.exists()
    with pytest.raises(RefusedError) as refused:
        queue.ask("cancel", waiting)
    assert (refused.value.reason.code, refused.value.reason.values["state"]) == ("wrong_state", "cancelled")
    queue.ask("cancel", running)
    queue.wait_for(last, "done")


def test_a_cancelled_job_that_is_retried_goes_on_where_it_stopped(queue: Queue) -> None:
    job = queue.submit(LONG)
    queue.wait_for_step(job, 3)
    queue.ask("cancel", job)
    queue.wait_for(job, "cancelled")
    queue.ask("retry", job)

    queue.wait_for(job, "done")

    assert queue.seen(job) == list(range(1, 13))
    with pytest.raises(RefusedError) as refused:
        queue.ask("retry", job)
    assert (refused.value.reason.code, refused.value.reason.values["state"]) == ("wrong_state", "done")


@pytest.mark.timed
def test_a_job_deaf_to_requests_and_sigint_gets_sigterm_each_after_its_grace(queue: Queue, short_grace: float) -> None:
    job = queue.submit(f"{LONG} deaf")
    queue.wait_for_step(job, 1)
    queue.ask("cancel", job)
    queue.wait_for_reason(job, "signal_sent", signal="SIGINT", after_seconds=short_grace)

    cancelled = queue.wait_for(job)

    assert cancelled.state == "cancelled"
    stopping, ended = queue.history(job)[-2:]
    assert 2 * short_grace <= ended.time - stopping.time < at_most(2 * short_grace + 1), "of the request, of SIGINT"
    assert queue.attempts(job)[0].exit_code == 75


@pytest.mark.timed
def test_a_job_deaf_to_everything_is_killed_at_last_on_the_cpu_also_by_the_next_runner(
    queue: Queue, short_grace: float
) -> None:
    job = queue.submit(f"{LONG} deaf=all")
    queue.wait_for_step(job, 1)
    queue.ask("cancel", job)
    queue.kill_runner()
    queue.start_runner()

    queue.wait_for(job, "cancelled")

    stopping, ended = queue.history(job)[-2:]
    assert 3 * short_grace <= ended.time - stopping.time < at_most(3 * short_grace + 1.5)
    assert queue.attempts(job)[0].signal == signal.SIGKILL


def test_a_held_running_job_waits_at_its_checkpoint_until_it_is_released(queue: Queue) -> None:
    job, second = queue.submit(LONG), queue.submit("steps=3")
    queue.wait_for_step(job, 3)
    queue.ask("hold", job)
    held = queue.wait_for(job, "waiting")
    step = queue.wait_for_checkpoint(job)
    assert held.held
    assert held.reason == Reason("held", {"step": step})

    queue.wait_for(second, "done")
    assert queue.job(job).state == "waiting", "the others go on without it"
    assert queue.job(job).reason == held.reason

    queue.ask("release", job)
    queue.wait_for(job, "done")
    assert queue.seen(job) == list(range(1, 13))
    assert [attempt.outcome for attempt in queue.attempts(job)] == ["stopped", "done"]


def test_a_held_waiting_job_is_passed_over_until_it_is_released(queue: Queue) -> None:
    queue.ask("pause", reason="gaming tonight")
    job, second = queue.submit("steps=2"), queue.submit("steps=2")
    queue.wait_for_reason(job, "queue_paused", note="gaming tonight")
    queue.ask("hold", job, reason="data not ready")
    queue.ask("resume")

    queue.wait_for(second, "done")
    assert queue.job(job).state == "waiting"
    assert queue.job(job).reason == Reason("held", {"note": "data not ready"})

    queue.ask("release", job)
    queue.wait_for(job, "done")
    assert [(transition.to_state, transition.reason) for transition in queue.history(job)][:3] == [
        ("waiting", Reason("submitted")),
        ("waiting", Reason("held", {"note": "data not ready"})),
        ("waiting", Reason("released")),
    ]


def test_a_hold_that_becomes_a_cancel_ends_as_cancelled(queue: Queue) -> None:
    job = queue.submit(f"{LONG} deaf")
    queue.wait_for_step(job, 1)
    queue.ask("hold", job)
    assert queue.job(job).state == "stopping"
    queue.ask("cancel", job)
    os.kill(queue.process(job), signal.SIGTERM)  # it hears this, and stops at its next step

    assert queue.wait_for(job, "cancelled", "waiting").state == "cancelled"
    with pytest.raises(RefusedError) as refused:
        queue.ask("hold", job)
    assert refused.value.reason.code == "wrong_state"


def test_a_paused_queue_starts_nothing_and_lets_what_runs_go_on(queue: Queue) -> None:
    running = queue.submit("steps=3 waits=2")
    queue.wait_for_step(running, 1)
    queue.ask("pause")
    second = queue.submit("steps=2", "cpu")

    queue.wait_for_reason(second, "queue_paused")
    queue.go_on(running)
    queue.wait_for(running, "done")
    assert queue.job(second).state == "waiting"

    queue.ask("resume")
    queue.wait_for(second, "done")


def test_waiting_jobs_are_moved_first_last_up_and_down(queue: Queue) -> None:
    queue.ask("pause")
    first, second, third, fourth = (queue.submit(f"steps=1 name={name}") for name in "abcd")

    def order() -> list[int]:
        from core.store.jobs import list_jobs

        with queue.database() as connection:
            return [job.id for job in list_jobs(connection)]

    assert order() == [first, second, third, fourth]
    queue.ask("move", fourth, to="first")
    assert order() == [fourth, first, second, third]
    queue.ask("move", first, to="last")
    assert order() == [fourth, second, third, first]
    queue.ask("move", third, to="up")
    assert order() == [fourth, third, second, first]
    queue.ask("move", fourth, to="down")
    assert order() == [third, fourth, second, first]
    queue.ask("move", third, to="up")
    assert order() == [third, fourth, second, first], "the first stays where it is"

    queue.ask("resume")
    ended = [queue.wait_for(job, "done") for job in (third, fourth, second, first)]
    starts = [job.started_at or 0 for job in ended]
    assert starts == sorted(starts), "they run in the order they were moved to"


def test_a_command_for_a_job_that_is_not_there_is_refused_at_once(queue: Queue) -> None:
    with pytest.raises(NotFoundError, match="no job 7"):
        queue.ask("cancel", 7)
    assert not queue.runner_alive(), "nothing was asked, so nothing was started"


def test_a_job_that_leaves_a_worker_behind_takes_it_along_and_frees_the_gpu(queue: Queue) -> None:
    job, second = queue.submit("steps=2 waits=2 leave"), queue.submit("steps=2")
    queue.wait_for_step(job, 1)
    worker = wait_until(lambda: children(queue.process(job)), what="the worker")[0]
    queue.go_on(job)

    queue.wait_for(job, "done")

    wait_until(lambda: not alive(worker), what="the worker's end")
    assert json.loads(queue.attempt(job).exit_json.read_bytes())["left_behind"] is True
    queue.wait_for(second, "done")


def children(pid: int) -> list[int]:
    from pathlib import Path

    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
