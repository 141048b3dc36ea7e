"""A terminal that hangs up takes the command along, and nothing that the command started."""

from __future__ import annotations

import os

from tests.support.queueing import Queue
from tests.support.terminals import Terminal


def test_a_job_goes_on_when_the_terminal_it_was_submitted_from_hangs_up(queue: Queue) -> None:
    terminal = Terminal(
        *("-m", "tests.support.at_a_terminal", str(queue.home.root.parent), queue.home.root.name),
        "steps=40 pause=0.03",
    )
    terminal.read_until(b"step 3/40")
    job = 1
    for process in (queue.runner_pid(), queue.shim_pid(job), queue.process(job)):
        assert os.getsid(process) != terminal.pid, "it is no part of the terminal's session"

    terminal.hang_up()

    assert queue.wait_for(job, "running", "done").state == "running"
    queue.wait_for(job, "done")
    assert queue.seen(job) == list(range(1, 41))


def test_a_dropped_line_and_a_killed_runner_at_once_leave_the_job_and_the_next_one_alone(queue: Queue) -> None:
    terminal = Terminal(
        *("-m", "tests.support.at_a_terminal", str(queue.home.root.parent), queue.home.root.name),
        "steps=40 pause=0.03",
    )
    terminal.read_until(b"step 3/40")
    second = queue.submit("steps=2")
    terminal.hang_up()
    queue.kill_runner()

    queue.wait_for(second, "done")

    assert queue.job(1).state == "done"
    assert queue.seen(1) == list(range(1, 41))
