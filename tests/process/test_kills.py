"""SIGKILL of anything, at any time: no job is lost, and nothing is counted twice."""

from __future__ import annotations

import signal

import pytest

from core.reasons import Reason
from tests.support.queueing import Queue, alive, kill
from tests.support.waiting import wait_until

COUNTED = list(range(1, 13))
JOB = "steps=12 save=5 waits=8"
"""It has counted to seven and saved at five, and stays there until it is let go on."""


def test_a_killed_runner_changes_nothing_for_the_job_and_the_next_one_starts_by_itself(queue: Queue) -> None:
    job, second = queue.submit(JOB), queue.submit("steps=3")
    queue.wait_for_step(job, 7)
    killed = queue.kill_runner()
    queue.go_on(job)

    queue.wait_for(job, "done")
    queue.wait_for(second, "done")

    assert queue.seen(job) == COUNTED
    assert queue.states(job) == ["waiting", "ready", "starting", "running", "done"]
    assert [attempt.outcome for attempt in queue.attempts(job)] == ["done"]
    assert queue.runner_pid() != killed


def test_a_shim_starts_a_runner_when_there_is_none_for_a_while_and_its_job_goes_on(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_RUNNER_MISSING_SECONDS", "1")
    job, second = queue.submit(JOB), queue.submit("steps=3")
    queue.wait_for_step(job, 2)
    killed = queue.kill_runner()

    wait_until(queue.runner_alive, what="the shim's runner")

    assert queue.runner_pid() != killed
    assert queue.job(job).state == "running"
    queue.wait_for_reason(second, "slot_held", job=job)


def test_a_job_whose_shim_is_killed_is_orphaned_and_ends_done_by_its_result(queue: Queue) -> None:
    job, second = queue.submit(JOB), queue.submit("steps=3")
    queue.wait_for_step(job, 7)
    kill(queue.shim_pid(job))

    wait_until(lambda: queue.job(job).orphaned, what="the mark")
    assert queue.job(job).state == "running"
    assert queue.job(second).state == "waiting", "the GPU is held as long as the job lives"
    queue.go_on(job)

    queue.wait_for(job, "done")
    queue.wait_for(second, "done")
    assert queue.seen(job) == COUNTED
    assert [attempt.outcome for attempt in queue.attempts(job)] == ["done"]


def test_runner_and_shim_killed_the_next_runner_adopts_the_job(queue: Queue) -> None:
    job = queue.submit(JOB)
    queue.wait_for_step(job, 7)
    queue.kill_runner()
    kill(queue.shim_pid(job))
    queue.start_runner()
    wait_until(lambda: queue.job(job).orphaned, what="the mark")
    queue.go_on(job)

    queue.wait_for(job, "done")

    assert queue.job(job).orphaned
    assert queue.seen(job) == COUNTED
    assert queue.states(job) == ["waiting", "ready", "starting", "running", "done"]


def test_a_job_that_ends_while_nobody_looks_is_done_by_its_result(queue: Queue) -> None:
    job = queue.submit(JOB)
    queue.wait_for_step(job, 2)
    queue.kill_runner()
    process = queue.process(job)
    kill(queue.shim_pid(job))
    queue.go_on(job)
    wait_until(lambda: not alive(process), what="the job's end")

    queue.start_runner()

    assert queue.wait_for(job).state == "done"
    assert queue.seen(job) == COUNTED


def killed_with_the_runner(queue: Queue) -> int:
    """A job on its way that was killed together with its shim and the runner."""
    job = queue.submit(JOB)
    queue.wait_for_step(job, 7)
    process = queue.process(job)
    queue.kill_runner()
    kill(queue.shim_pid(job))
    kill(process)
    return job


def test_runner_shim_and_job_killed_the_job_is_lost_and_a_retry_goes_on_from_its_checkpoint(queue: Queue) -> None:
    job = killed_with_the_runner(queue)
    queue.start_runner()

    lost = queue.wait_for(job)
    assert lost.state == "lost"
    assert lost.reason.code == "end_unseen"
    assert lost.reason.values["step"] >= 5

    queue.go_on(job)
    queue.ask("retry", job)
    queue.wait_for(job, "done")
    assert queue.seen(job) == COUNTED, "no step is missing and none is counted twice"
    assert [attempt.outcome for attempt in queue.attempts(job)] == ["lost", "done"]


def test_a_retry_that_starts_the_runner_finds_what_was_killed_with_the_last_one(queue: Queue) -> None:
    """The job counts as running until somebody has looked: whoever asks does not have to look first."""
    job = killed_with_the_runner(queue)
    assert queue.job(job).state == "running"

    queue.go_on(job)
    queue.ask("retry", job)
    queue.wait_for(job, "done")
    assert queue.seen(job) == COUNTED
    assert [attempt.outcome for attempt in queue.attempts(job)] == ["lost", "done"]


def test_a_killed_job_is_failed_with_its_signal_and_retry_resumes_it(queue: Queue) -> None:
    job = queue.submit(JOB)
    queue.wait_for_step(job, 7)
    kill(queue.process(job))

    failed = queue.wait_for(job)
    assert failed.state == "failed"
    assert failed.reason == Reason("killed", {"signal": "SIGKILL"})
    assert queue.attempts(job)[0].signal == signal.SIGKILL
    first = queue.attempt(job)
    assert all(file.exists() for file in (first.log, first.events, first.run_json, first.exit_json))

    queue.go_on(job)
    queue.ask("retry", job)
    assert queue.wait_for(job).state == "done"

    assert queue.seen(job) == COUNTED
    assert queue.job(job).attempt == 2
    assert "step 5/12" not in queue.attempt(job).log.read_text(), "it went on from the checkpoint, not from the start"
    assert queue.states(job) == [
        *("waiting", "ready", "starting", "running", "failed"),
        *("waiting", "ready", "starting", "running", "done"),
    ]
    authors = {transition.author for transition in queue.history(job)}
    assert authors == {"tester", "runner"}


@pytest.mark.parametrize("lane", ["gpu", "cpu"])
def test_a_runner_killed_before_the_process_was_started_queues_the_job_again(queue: Queue, lane: str) -> None:
    """The claim is stored, the process not begun: what a kill between the two leaves."""
    from core.process.identity import current_boot_id
    from core.store.database import transaction
    from core.store.jobs import change_state, claim_next

    queue.ask("pause")
    job = queue.submit("steps=3", lane)  # type: ignore[arg-type]
    queue.kill_runner()
    with queue.database() as connection:
        with transaction(connection):
            change_state(connection, job, "ready", Reason("ready"), "runner")
        claim_next(connection, lane, current_boot_id(), "runner")  # type: ignore[arg-type]
    queue.ask("resume")

    assert queue.wait_for(job, "done").attempt == 2
    assert [attempt.outcome for attempt in queue.attempts(job)] == ["lost", "done"]
    assert queue.seen(job) == [1, 2, 3]
