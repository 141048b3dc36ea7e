"""A terminal that hangs up takes the command along, and nothing that the command started."""

from __future__ import annotations

import os

import pytest

from core.queue.runner import consoles_open
from tests.support.queueing import Queue, wait_until
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


def test_a_console_whose_line_is_dropped_ends_and_what_it_showed_goes_on(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "0.3")
    job = queue.submit("steps=120 pause=0.03")
    queue.wait_for_step(job, 1)
    consoles = [Terminal("-c", "from core.cli.main import main; main([])") for _ in range(2)]
    for terminal in consoles:
        terminal.read_until(b"steps=120")
    assert consoles_open(queue.home)

    for terminal in consoles:
        terminal.hang_up()

    assert not consoles_open(queue.home)
    assert queue.job(job).state == "running"
    queue.wait_for(job, "done")
    assert queue.seen(job) == list(range(1, 121))
    wait_until(lambda: not queue.runner_alive(), what="the idle runner's end")
