"""Jobs that wait for others."""

from __future__ import annotations

from core.reasons import Reason
from tests.support.queueing import Queue


def test_a_follower_starts_when_what_it_needs_is_done(queue: Queue) -> None:
    first = queue.submit("steps=2 waits=2")
    follower = queue.submit("steps=2", "cpu", needs=(first,))
    queue.wait_for_reason(follower, "after", jobs=[first])
    queue.go_on(first)

    queue.wait_for(follower, "done")

    assert (queue.job(follower).started_at or 0) >= (queue.job(first).ended_at or 0)


def test_a_follower_waits_with_the_reason_until_the_failed_need_is_retried(queue: Queue) -> None:
    first = queue.submit("steps=5 fail=3")
    follower = queue.submit("steps=2", needs=(first,))
    last = queue.submit("steps=2", "cpu", needs=(first, follower))

    failed = queue.wait_for(first)
    assert failed.state == "failed"
    assert failed.reason == Reason("exit_code", {"exit_code": 1, "last_line": "ValueError: made to fail at step 3"})
    queue.wait_for_reason(follower, "need_failed", job=first, state="failed")
    queue.wait_for_reason(last, "need_failed", job=first)

    (queue.home.run_dir(first).path / "mended").touch()
    queue.ask("retry", first)
    queue.wait_for(last, "done")
    assert queue.job(follower).state == "done"


def test_a_follower_of_a_failed_job_can_be_cancelled(queue: Queue) -> None:
    first = queue.submit("steps=5 fail=1")
    follower = queue.submit("steps=2", needs=(first,))
    queue.wait_for_reason(follower, "need_failed")

    queue.ask("cancel", follower)

    assert queue.job(follower).state == "cancelled"
    assert queue.job(follower).attempt == 0


def test_a_failure_keeps_nobody_else_from_running(queue: Queue) -> None:
    failing, other = queue.submit("steps=5 fail=1"), queue.submit("steps=2")

    queue.wait_for(other, "done")

    assert queue.job(failing).state == "failed"
