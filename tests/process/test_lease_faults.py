"""The lease where connections break, runners die and clients do not keep away. Every process is real.

What the lease makes of a server's answers, fault by fault, stands in tests/unit/test_lease_manager.py and
test_lease_server_faults.py: there a model server in memory does what the servers were seen to do.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.depth import at_most
from tests.support.leasebench import IDLE_BYTES, TOLERANCE_BYTES, LeaseBench, lease_bench
from tests.support.queueing import CHECKOUT, Queue, alive
from tests.support.waiting import wait_until

JUDGE_BYTES, PLANNER_BYTES, TRAINING_BYTES = 4_600_000_000, 2_900_000_000, 11_400_000_000
LONG = f"steps=4 waits=3 vram={TRAINING_BYTES}"
MIDDLE = "steps=4 waits=3 vram=3e9"
"""Both have counted to two, and end when they are let go on or stopped."""
SHORT = "steps=12 pause=0.05 vram=3e9"
NOTICE_SECONDS = 5.0


@pytest.fixture
def bench(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseBench]:
    with lease_bench(machine, monkeypatch) as made:
        made.add_models(judge=JUDGE_BYTES, planner=PLANNER_BYTES, seeder=1_200_000_000)
        made.queue.start_runner()
        made.wait_learnt()
        yield made


def began_on_a_free_gpu(bench: LeaseBench, job: int) -> bool:
    return bench.used_at_start(job) <= IDLE_BYTES + TOLERANCE_BYTES


# The server goes away.


def test_a_server_that_goes_away_while_the_gpu_is_cleared(bench: LeaseBench) -> None:
    bench.load("judge")
    bench.load("planner", 4096, -1)
    with bench.ollama.answering("judge", num_ctx=8192):
        job = bench.submit(MIDDLE, 9_000_000_000)
        bench.wait_gpu("clearing")
        wait_until(lambda: {"judge:latest", "planner:latest"} <= set(bench.ollama.unloads()), what="both asked to go")
        bench.ollama.down()
    bench.queue.wait_for(job, "running")
    assert began_on_a_free_gpu(bench, job)
    bench.queue.go_on(job)
    bench.queue.wait_for(job, "done")
    assert bench.queue.home.evicted_models.exists(), "not forgotten"
    bench.ollama.up()
    bench.wait_loaded("judge:latest", "planner:latest")
    assert {name: context for name, (context, _) in bench.loaded().items()} == {
        "judge:latest": 8192,
        "planner:latest": 4096,
    }
    bench.wait_restored()


def test_a_server_that_goes_away_while_its_models_come_back(bench: LeaseBench) -> None:
    bench.load("judge")
    bench.load("planner", 4096, -1)
    loaded = threading.Event()
    for model in bench.ollama.models.values():
        model.loads_until = loaded
    job = bench.submit(SHORT, 9_000_000_000)
    bench.queue.wait_for(job, "done")
    bench.wait_gpu("restoring")
    wait_until(bench.ollama.residents, what="the first on its way")
    bench.ollama.down()
    wait_until(lambda: bench.gpu.server_fault, what="the server's absence told")
    assert bench.queue.home.evicted_models.exists()
    loaded.set()
    bench.ollama.up()
    bench.wait_loaded("judge:latest", "planner:latest")
    assert bench.loaded()["planner:latest"] == (4096, -1)


# Runners die.


def test_models_unloaded_by_a_runner_that_was_killed_are_restored_by_the_next(bench: LeaseBench) -> None:
    bench.load("judge", 6144)
    bench.load("planner", 4096, -1)
    job = bench.submit(MIDDLE, 9_000_000_000)
    bench.queue.wait_for(job, "running")
    bench.queue.kill_runner()
    bench.queue.go_on(job)

    bench.queue.wait_for(job, "done")  # its shim starts the next runner

    bench.wait_loaded("judge:latest", "planner:latest")
    assert bench.loaded()["judge:latest"][0] == 6144
    assert bench.loaded()["planner:latest"] == (4096, -1)


def test_a_runner_killed_in_the_middle_of_clearing(bench: LeaseBench) -> None:
    bench.load("judge")
    bench.load("planner", 4096, -1)
    with bench.ollama.answering("judge", num_ctx=8192):
        job = bench.submit(SHORT, 9_000_000_000)
        bench.wait_gpu("clearing")
        wait_until(lambda: "planner:latest" not in bench.ollama.listed(), what="the first gone")
        bench.queue.kill_runner()
        bench.queue.ask("cancel", job)  # starts the next runner, which has no job to clear for any more
    bench.wait_loaded("judge:latest", "planner:latest")
    assert bench.queue.job(job).state == "cancelled"


def test_a_trainer_that_outlives_its_runner_keeps_the_gpu_from_another_home(bench: LeaseBench, machine: Path) -> None:
    queue = bench.queue
    training = bench.submit(LONG, TRAINING_BYTES)
    queue.wait_for_step(training, 2)
    trainer = queue.process(training)
    queue.kill_runner()
    queue.home.runner_stopped.touch()  # nor does its shim start another
    other = Queue.create(machine, "other-home")
    try:
        theirs = other.submit(SHORT)
        reason = other.wait_for_lease(theirs, "held_by_other_home")
        assert (reason.values["job_id"], reason.values["home"]) == (training, str(queue.home.root))
        time.sleep(2)
        assert alive(trainer)
        assert other.states(theirs) == ["waiting"]
        queue.ask("cancel", training)
        assert queue.wait_for(training).state == "cancelled"
        other.wait_for(theirs, "done")
        assert not alive(trainer)
    finally:
        other.close()


def test_two_homes_take_turns_on_one_gpu_and_the_models_come_back(bench: LeaseBench, machine: Path) -> None:
    bench.load("judge", 6144)
    other = Queue.create(machine, "other-home")
    try:
        jobs = [(queue, queue.submit(SHORT)) for queue in (bench.queue, other) for _ in range(2)]
        for queue, job in jobs:
            queue.wait_for(job, "done")
        spans = sorted(span(queue, job) for queue, job in jobs)
        assert all(former[1] < latter[0] for former, latter in itertools.pairwise(spans)), spans
        bench.wait_loaded("judge:latest")
        assert bench.loaded()["judge:latest"][0] == 6144
    finally:
        other.close()


def span(queue: Queue, job: int) -> tuple[float, float]:
    """From the first to the last event of a job's process."""
    lines = queue.home.run_dir(job).attempt(1).events.read_text().splitlines()
    return json.loads(lines[0])["time"], json.loads(lines[-1])["time"]


# Clients do not keep away.


def noticed_within(bench: LeaseBench, since: float) -> float:
    """Seconds from when the client began to ask, the time of loading among them, until the intruder was told."""
    wait_until(lambda: any(state.intruders for state in bench.states), what=lambda: f"an intruder: {bench.gpu}")
    first = next(state for state in bench.states if state.intruders)
    assert first.intruders[0].name == "judge:latest"
    return first.time - since


@pytest.mark.timed
@pytest.mark.parametrize("policy", ["unload", "pause"])
def test_a_client_that_keeps_asking_during_a_training(
    bench: LeaseBench, policy: str, record_property: Callable[[str, object], None]
) -> None:
    bench.queue.kill_runner()
    bench.settle(intruder=policy)
    bench.queue.start_runner()
    bench.load("planner", 4096, -1)
    job = bench.submit(LONG, TRAINING_BYTES)
    bench.queue.wait_for(job, "running")
    bench.wait_gpu("held")

    with bench.asking("judge") as answered:
        came = time.time()
        wait_until(lambda: answered, what="an answer")
        seconds = noticed_within(bench, came)
        record_property("notice_seconds", seconds)
        print(f"noticed {seconds:.2f} s after the client began to ask")
        assert seconds < at_most(NOTICE_SECONDS)
        if policy == "unload":
            wait_until(lambda: bench.ollama.unloads().count("judge:latest") >= 2, what="unloaded, and again")
            assert bench.queue.job(job).state == "running"
            wait_until(lambda: any(one.times >= 2 for one in bench.gpu.intruders), what=lambda: f"{bench.gpu}")
        else:
            waiting = bench.queue.wait_for(job, "waiting")
            assert waiting.reason.values["model"] == "judge:latest"
            assert bench.queue.attempts(job)[0].outcome == "stopped"
            wait_until(lambda: bench.queue.home.run_dir(job).checkpoints.is_dir(), what="a checkpoint")
    # A paused job may have begun again, now that the client has gone.
    bench.queue.ask("cancel", job)
    bench.queue.wait_for(job, "cancelled")
    wait_until(lambda: "planner:latest" in bench.loaded(), what=lambda: f"the displaced model: {bench.gpu}")
    assert bench.loaded()["planner:latest"] == (4096, -1)


# The person changes their mind.


def test_a_job_held_while_the_gpu_is_cleared_lets_the_models_come_back(bench: LeaseBench) -> None:
    bench.load("judge")
    bench.load("planner", 4096, -1)
    with bench.ollama.answering("judge", num_ctx=8192):
        job = bench.submit(LONG, TRAINING_BYTES)
        bench.wait_gpu("clearing")
        wait_until(lambda: "planner:latest" not in bench.ollama.listed(), what="the first gone")
        bench.queue.ask("hold", job)
        bench.wait_loaded("judge:latest", "planner:latest")
    state = bench.queue.job(job)
    assert (state.state, state.held, state.attempt) == ("waiting", True, 0)
    assert bench.loaded()["planner:latest"] == (4096, -1)
    bench.wait_restored()


def test_whoever_stops_the_runner_is_told_what_stays_away(bench: LeaseBench) -> None:
    bench.load("judge")
    job = bench.submit(LONG, TRAINING_BYTES)
    bench.queue.wait_for(job, "running")
    environment = {**os.environ, "BAKEHOUSE_HOME": str(bench.queue.home.root), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", "from core.cli.main import main; main()", "runner", "stop"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "restored only by the next runner (`bakehouse runner start`): judge:latest" in done.stdout
    bench.queue.ask("cancel", job)  # starts the next one
    bench.queue.wait_for(job, "cancelled")
    bench.wait_loaded("judge:latest")
