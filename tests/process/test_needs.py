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


def test_a_job_that_waits_for_ends_starts_after_them_however_they_come(queue: Queue) -> None:
    """A bake-off of a night: one training is done, one fails, what would be made of that one never starts."""
    fails = queue.submit("steps=5 fail=3")
    behind = queue.submit("steps=2", needs=(fails,))
    last = queue.submit("steps=3 waits=2")
    bakeoff = queue.submit("steps=2", "cpu", needs_ended=(fails, behind, last))

    queue.wait_for(fails, "failed")
    queue.wait_for_reason(bakeoff, "after_end", jobs=[last])
    queue.go_on(last)
    queue.wait_for(bakeoff, "done")

    assert (queue.job(bakeoff).started_at or 0) >= (queue.job(last).ended_at or 0)
    assert (queue.job(behind).state, queue.job(behind).attempt) == ("waiting", 0)
    queue.ask("cancel", behind)


def test_cancelling_what_is_waited_for_is_an_end_and_holding_is_none(queue: Queue) -> None:
    held, cancelled = queue.submit("steps=2"), queue.submit("steps=3 waits=2")
    queue.ask("hold", held)
    follower = queue.submit("steps=2", "cpu", needs_ended=(held, cancelled))
    queue.ask("cancel", cancelled)
    queue.wait_for_reason(follower, "after_end", jobs=[held])

    queue.ask("release", held)
    queue.wait_for(follower, "done")
    assert queue.job(held).state == "done"
