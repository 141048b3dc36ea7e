"""A restart of the machine: another boot id, and everything from the former boot counts as dead."""

from __future__ import annotations

import os
import signal

import pytest

from core.attempt.launcher import launcher
from core.attempt.observe import job_process, locked
from core.attempt.stopping import StopEscalation
from core.files import write_json
from core.process.identity import ProcessIdentity, start_ticks
from tests.support.queueing import Queue, alive, kill
from tests.support.waiting import wait_until


def crash(queue: Queue, job: int) -> None:
    """What a power cut leaves: every process gone in one moment, nothing written."""
    process, shim = queue.process(job), queue.shim_pid(job)
    queue.kill_runner()
    kill(shim)
    kill(process)


@pytest.fixture
def restarted(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "first-boot")
    return monkeypatch


def test_a_job_that_the_restart_interrupted_is_queued_again_and_resumes(
    queue: Queue, restarted: pytest.MonkeyPatch
) -> None:
    job, second = queue.submit("steps=12 save=5 waits=8"), queue.submit("steps=2")
    queue.wait_for_step(job, 7)
    crash(queue, job)
    queue.go_on(job)
    restarted.setenv("BAKEHOUSE_BOOT_ID", "second-boot")
    queue.start_runner()

    queue.wait_for(second, "done")

    assert queue.seen(job) == list(range(1, 13))
    assert queue.states(job)[3:7] == ["running", "interrupted", "waiting", "ready"]
    interrupted = queue.history(job)[4]
    assert interrupted.reason.code == "machine_restarted"
    assert interrupted.reason.values["step"]
    assert [(attempt.outcome, attempt.boot_id) for attempt in queue.attempts(job)] == [
        ("interrupted", "first-boot"),
        ("done", "second-boot"),
    ]
    assert (queue.job(job).ended_at or 0) <= (queue.job(second).ended_at or 0), "it kept its place in the queue"


def test_under_hold_an_interrupted_job_stays_so_until_it_is_retried(
    queue: Queue, restarted: pytest.MonkeyPatch
) -> None:
    job, second = queue.submit("steps=12 waits=8", on_restart="hold"), queue.submit("steps=2")
    queue.wait_for_step(job, 7)
    crash(queue, job)
    queue.go_on(job)
    restarted.setenv("BAKEHOUSE_BOOT_ID", "second-boot")
    queue.start_runner()

    queue.wait_for(second, "done")
    assert queue.job(job).state == "interrupted"

    queue.ask("retry", job)
    queue.wait_for(job, "done")
    assert queue.seen(job) == list(range(1, 13))


def test_a_pid_of_the_former_boot_is_believed_dead_and_never_signalled(
    queue: Queue, restarted: pytest.MonkeyPatch
) -> None:
    """After a restart the pid in run.json can be anybody's: here it is a living process that must not be touched."""
    job = queue.submit("steps=3 waits=3", on_restart="hold")
    queue.wait_for_step(job, 2)
    namesake = queue.process(job)
    queue.kill_runner()
    restarted.setenv("BAKEHOUSE_BOOT_ID", "second-boot")
    queue.start_runner()

    assert queue.wait_for(job).state == "interrupted"
    attempt = queue.attempt(job)
    assert job_process(attempt) == ProcessIdentity("first-boot", namesake, start_ticks(namesake) or 0)
    assert not StopEscalation(launcher(queue.home), 0).escalate(attempt, may_kill=True), "nothing was there to signal"
    assert alive(namesake)
    kill(queue.shim_pid(job))
    kill(namesake)


def test_a_result_written_before_the_restart_still_counts(queue: Queue, restarted: pytest.MonkeyPatch) -> None:
    job = queue.submit("steps=3 waits=3")
    queue.wait_for_step(job, 2)
    crash(queue, job)
    write_json(queue.home.run_dir(job).result, {"schema": 1, "message": "written at the last moment", "artefacts": []})
    restarted.setenv("BAKEHOUSE_BOOT_ID", "second-boot")
    queue.start_runner()

    assert queue.wait_for(job).state == "done"


def test_a_job_that_an_orderly_shutdown_stopped_is_interrupted_and_queued_again(
    queue: Queue, restarted: pytest.MonkeyPatch
) -> None:
    """A shutdown sends SIGTERM to everybody: the runner leaves, the job writes a checkpoint, the shim its exit."""
    job = queue.submit("steps=12 save=100 waits=4")
    queue.wait_for_step(job, 3)
    process = queue.process(job)
    queue.kill_runner()
    queue.home.runner_stopped.touch()  # a shutting-down machine starts nothing
    os.kill(process, signal.SIGTERM)
    wait_until(queue.attempt(job).exit_json.exists, what="exit.json")
    # Having written it, the shim looks for a runner: it must find the mark of the stop, not one that is lifted already.
    wait_until(lambda: not locked(queue.attempt(job)), what="the shim's end")
    restarted.setenv("BAKEHOUSE_BOOT_ID", "second-boot")
    queue.start_runner()

    queue.wait_for(job, "done")
    assert queue.states(job)[3:6] == ["running", "interrupted", "waiting"]
    assert queue.seen(job) == list(range(1, 13))


@pytest.mark.parametrize(("asked", "expected"), [("cancel", "cancelled"), ("hold", "waiting")])
def test_what_was_asked_before_the_restart_is_kept(
    queue: Queue, restarted: pytest.MonkeyPatch, asked: str, expected: str
) -> None:
    job = queue.submit("steps=3 waits=3 deaf")
    queue.wait_for_step(job, 2)
    queue.ask(asked, job)  # type: ignore[arg-type]
    crash(queue, job)
    restarted.setenv("BAKEHOUSE_BOOT_ID", "second-boot")
    queue.start_runner()

    ended = queue.wait_for(job, "cancelled", "interrupted", "waiting", "running")

    assert ended.state == expected
    assert ended.held == (asked == "hold")
