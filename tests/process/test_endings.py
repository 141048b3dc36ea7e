"""How a job's end is told: by its result first, then by its own error, its signal or its exit code."""

from __future__ import annotations

import shutil
from dataclasses import replace

from core.files import read_json
from tests.support.queueing import Queue, kill
from tests.support.waiting import wait_until


def test_an_interpreter_that_is_gone_since_the_submission_fails_the_job_and_says_so(queue: Queue) -> None:
    gone = queue.home.root / "gone-python"
    shutil.copy(queue.python, gone)
    queue.ask("pause")
    job = replace(queue, python=str(gone)).submit("steps=1")
    gone.unlink()
    queue.ask("resume")

    failed = queue.wait_for(job)

    assert failed.state == "failed"
    assert (failed.reason.code, failed.reason.values["exit_code"]) == ("exit_code", 127)
    assert str(gone) in str(failed.reason.values["last_line"])
    next_one = queue.submit("steps=1")
    queue.wait_for(next_one, "done")


def test_a_job_whose_file_is_gone_fails_and_the_queue_goes_on(queue: Queue) -> None:
    queue.ask("pause")
    job, empty, other = queue.submit("steps=1"), queue.submit("steps=1"), queue.submit("steps=1")
    queue.home.run_dir(job).job_file.unlink()
    queue.home.run_dir(empty).job_file.write_text("")
    queue.ask("resume")

    queue.wait_for(other, "done")

    assert queue.job(job).state == "failed"
    for broken, error in ((job, "no_job_file"), (empty, "bad_job_file")):
        reason = queue.job(broken).reason
        assert (reason.code, reason.values["error"]) == ("launch_failed", error)
        assert "job.yaml" in str(reason.values["message"])
        assert queue.job(broken).state == "failed"


def test_a_result_proves_success_whatever_the_exit_code(queue: Queue) -> None:
    job = queue.submit("steps=3 exit=7")

    assert queue.wait_for(job).state == "done"
    assert queue.attempts(job)[0].exit_code == 7


def test_a_result_proves_success_where_no_exit_was_written(queue: Queue) -> None:
    job = queue.submit("steps=4 waits=3")
    queue.wait_for_step(job, 2)
    kill(queue.shim_pid(job))
    queue.go_on(job)

    assert queue.wait_for(job).state == "done"
    assert not queue.attempt(job).exit_json.exists()
    assert queue.attempts(job)[0].exit_code is None


def test_a_result_that_cannot_be_read_fails_the_job_and_stops_nobody_else(queue: Queue) -> None:
    job, other = queue.submit("steps=2 garbage"), queue.submit("steps=2")

    queue.wait_for(other, "done")

    failed = queue.job(job)
    assert failed.state == "failed"
    assert failed.reason.code == "result_unreadable"


def test_the_error_a_job_leaves_is_its_reason_with_file_line_and_remedy(queue: Queue) -> None:
    job = queue.submit("input")

    failed = queue.wait_for(job)

    assert failed.reason.code == "job_error"
    values = failed.reason.values
    assert (values["file"], values["line"], values["gate"]) == ("train.jsonl", 7, False)
    assert (values["message"], values["remedy"]) == ("no messages", "write them")
    assert queue.attempts(job)[0].exit_code == 2


def test_a_gate_that_refuses_is_named_as_a_gate(queue: Queue) -> None:
    job = queue.submit("gate")

    failed = queue.wait_for(job)

    assert failed.state == "failed"
    assert failed.reason.code == "job_error"
    assert failed.reason.values["gate"] is True
    assert failed.reason.values["message"] == "data leak: line 3 is the golden input `tea`"


def test_what_a_job_used_of_the_machine_is_written_down(queue: Queue) -> None:
    job = queue.submit("steps=2")
    queue.wait_for(job, "done")

    exit_file = wait_until(lambda: read_json(queue.attempt(job).exit_json))

    assert exit_file["exit_code"] == 0
    assert 1_000_000 < exit_file["peak_host_bytes"] < 1_000_000_000
    assert exit_file["user_seconds"] > 0
