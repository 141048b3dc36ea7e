"""A terminal that hangs up takes the command along, and nothing that the command started."""

from __future__ import annotations

import os

import pytest

from core.runner.loop import consoles_open
from tests.support.queueing import Queue
from tests.support.terminals import Terminal
from tests.support.waiting import wait_until


def test_a_dropped_line_and_a_killed_runner_leave_the_job_and_the_next_one_alone(queue: Queue) -> None:
    terminal = Terminal(
        *("-m", "tests.support.at_a_terminal", str(queue.home.root.parent), queue.home.root.name),
        "steps=6 waits=4",
    )
    terminal.read_until(b"step 3/6")
    job, second = 1, queue.submit("steps=2")
    for process in (queue.runner_pid(), queue.shim_pid(job), queue.process(job)):
        assert os.getsid(process) != terminal.pid, "it is no part of the terminal's session"

    terminal.hang_up()
    queue.wait_for(job, "running")  # the job's own words can be on the terminal before the runner has read of it
    queue.kill_runner()
    queue.go_on(job)

    queue.wait_for(second, "done")
    assert queue.job(job).state == "done"
    assert queue.seen(job) == list(range(1, 7))


def test_a_console_whose_line_is_dropped_ends_and_what_it_showed_goes_on(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "0.3")
    job = queue.submit("steps=4 waits=2")
    queue.wait_for_step(job, 1)
    consoles = [Terminal("-c", "from core.cli.main import main; main([])") for _ in range(2)]
    for terminal in consoles:
        terminal.read_until(b"steps=4")
    assert consoles_open(queue.home)

    for terminal in consoles:
        terminal.hang_up()

    assert not consoles_open(queue.home)
    assert queue.job(job).state == "running"
    queue.go_on(job)
    queue.wait_for(job, "done")
    assert queue.seen(job) == list(range(1, 5))
    wait_until(lambda: not queue.runner_alive(), what="the idle runner's end")
