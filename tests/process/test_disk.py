"""A disk that fills up: what runs stops at a checkpoint and waits, and goes on when there is room."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.queueing import Queue

NO_DISK_IS_LARGE_ENOUGH = 10**18


def restart_with(queue: Queue, least_free_bytes: int) -> None:
    """A runner under other settings: they are read when it starts."""
    settings = Path(os.environ["XDG_CONFIG_HOME"]) / "bakehouse/settings.yaml"
    settings.write_text(f"queue: {{min_free_disk_bytes: {least_free_bytes}}}\n")
    queue.kill_runner()
    queue.start_runner()


def test_a_running_job_stops_at_a_checkpoint_and_goes_on_when_there_is_room(queue: Queue) -> None:
    job, second = queue.submit("steps=8 save=1000 waits=4"), queue.submit("steps=2")
    queue.wait_for_step(job, 3)

    restart_with(queue, NO_DISK_IS_LARGE_ENOUGH)

    waiting = queue.wait_for(job, "waiting")
    assert not waiting.held
    queue.wait_for_reason(job, "disk_low", needed_bytes=NO_DISK_IS_LARGE_ENOUGH)
    assert queue.job(second).state == "waiting"

    restart_with(queue, 0)

    queue.wait_for(job, "done")
    queue.wait_for(second, "done")
    assert queue.seen(job) == list(range(1, 9))
    assert queue.states(job).count("starting") == 2
