"""A home that is moved while its runner lives: that runner leaves, and the next one goes on in the new place."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.home import Home
from core.process.locks import held
from tests.support.moving import copy, rename
from tests.support.queueing import Queue
from tests.support.waiting import wait_until


@pytest.mark.parametrize("linked", [False, True], ids=["by its path", "by a link"])
@pytest.mark.parametrize("way", [rename, copy])
def test_a_job_that_failed_is_retried_and_another_one_run_where_the_home_lies_now(
    machine: Path, way: object, linked: bool
) -> None:
    first = machine / "first"
    first.mkdir(mode=0o700)
    link = machine / "link"
    link.symlink_to(first)
    queue = Queue.create(machine, "link" if linked else "first")
    try:
        failed = queue.submit("steps=10 save=2 fail=7")
        assert queue.wait_for(failed).state == "failed"
        former = queue.runner_pid()
        elsewhere = machine / "disk/home"
        elsewhere.parent.mkdir()
        way(first, elsewhere)  # type: ignore[operator]
        link.unlink()
        link.symlink_to(elsewhere)
        queue.home = Home(link if linked else elsewhere)
        # A runner that was started before holds the lock of what was its home until it has seen that this has gone.
        wait_until(lambda: not held(queue.home.runner_lock), what="the former runner's end")
        (queue.home.run_dir(failed).path / "mended").touch()
        queue.ask("retry", failed)
        assert queue.wait_for(failed, "done").state == "done"
        assert queue.seen(failed) == list(range(1, 11)), "the retry goes on from the checkpoint"
        following = queue.submit("steps=2")
        assert queue.wait_for(following).state == "done"
        assert queue.runner_pid() != former
        assert not first.exists(), "nobody has made the former place anew"
        assert "the home was moved" in queue.home.runner_log.read_text() or way is copy
    finally:
        queue.close()
