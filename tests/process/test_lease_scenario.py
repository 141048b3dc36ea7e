"""The GPU through a night: idle, serving, cleared, training, killed, stale. Runner, shim, jobs and runners are real processes.

The kernel's files are those of a played GPU (tests.support.cardsim) that follows these processes.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leasebench import IDLE_BYTES, TOLERANCE_BYTES, LeaseBench, lease_bench
from tests.support.queueing import kill
from tests.support.waiting import PATIENCE_SECONDS, wait_until

JUDGE_BYTES, PLANNER_BYTES, TRAINING_BYTES = 4_600_000_000, 2_900_000_000, 11_400_000_000
TRAINING = f"steps=4 waits=3 vram={TRAINING_BYTES}"
SHORT = "steps=12 pause=0.05 vram=3e9"


@pytest.fixture
def bench(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseBench]:
    with lease_bench(machine, monkeypatch) as made:
        made.add_models(judge=JUDGE_BYTES, planner=PLANNER_BYTES, seeder=1_200_000_000)
        yield made


def test_a_night_of_the_gpu(bench: LeaseBench) -> None:
    queue, sim = bench.queue, bench.sim
    bench.settle(return_seconds=4)
    queue.start_runner()

    # Idle.
    assert bench.wait_learnt() == IDLE_BYTES
    first = bench.submit(SHORT)
    queue.wait_for(first, "done")
    assert "clearing" not in bench.phases(), "nothing had to go"
    assert sim.used_bytes() == IDLE_BYTES

    # Ollama holds two models, of which one is to stay for ever.
    bench.load("judge")
    bench.load("planner", 4096, keep_alive_seconds=-1)
    served = IDLE_BYTES + JUDGE_BYTES + PLANNER_BYTES
    wait_until(lambda: sim.used_bytes() >= served, what="their memory")
    before = bench.loaded()

    # They are unloaded, and the training begins on a free GPU.
    training = bench.submit(TRAINING + " leaks", TRAINING_BYTES)
    queue.wait_for(training, "running")
    assert bench.used_at_start(training) <= IDLE_BYTES + TOLERANCE_BYTES
    assert sim.used_at(bench.submitted_at(training)) >= served
    assert bench.loaded() == {}
    gpu = bench.wait_gpu("held")
    assert (gpu.job_id, set(gpu.evicted)) == (training, {"judge:latest", "planner:latest"})
    wait_until(lambda: sim.used_bytes() >= IDLE_BYTES + TRAINING_BYTES, what="the training's memory")

    # Killed, it leaves memory that nobody owns.
    following = bench.submit(SHORT)
    kill(queue.process(training))
    ended = queue.wait_for(training)
    assert ended.state == "failed"
    assert ended.reason.values == {"signal": "SIGKILL"}
    assert queue.attempts(training)[0].signal == signal.SIGKILL
    stale = bench.wait_unowned()
    assert TRAINING_BYTES <= (stale.unowned_bytes or 0) < TRAINING_BYTES + TOLERANCE_BYTES
    assert stale.remedy is not None and stale.remedy.code == "restart_after_driver_death"
    reason = queue.wait_for_lease(following, "memory_unowned")
    assert reason.values["unowned_bytes"] == TRAINING_BYTES
    assert queue.job(following).state == "waiting"

    # As after the driver has recovered, or somebody has restarted it.
    sim.recover()
    queue.wait_for(following, "done")
    assert bench.used_at_start(following) <= IDLE_BYTES + TOLERANCE_BYTES
    bench.wait_loaded("judge:latest", "planner:latest")
    after = bench.loaded()
    assert {name: context for name, (context, _) in after.items()} == {
        name: context for name, (context, _) in before.items()
    }
    assert after["planner:latest"][1] == -1
    assert 400 < (after["judge:latest"][1] or 0) <= 600


def test_exactly_what_was_loaded_comes_back_after_each_end(bench: LeaseBench) -> None:
    bench.load("judge", 6144, 900)
    for ending in ("steps=5 vram=3e9", "steps=5 vram=3e9 fail=3", "gate"):
        job = bench.submit(ending)
        bench.queue.wait_for(job)
        bench.wait_loaded("judge:latest")
        assert bench.loaded()["judge:latest"][0] == 6144
        bench.wait_restored()


def test_a_program_that_holds_memory_is_told_and_nothing_of_the_server_goes(bench: LeaseBench) -> None:
    queue = bench.queue
    queue.start_runner()
    bench.wait_learnt()
    bench.load("judge")
    before = bench.ollama.unloads()
    blender = bench.program(7_300_000_000, name="blender", user_id=0)
    began = time.time()

    job = bench.submit(SHORT, 12_000_000_000)

    told = queue.wait_for_lease(job, "held_by_program").values
    assert (told["name"], told["pid"], told["user"]) == ("blender", blender, "root")
    assert told["held_bytes"] == 7_300_000_000
    assert abs(float(str(told["since"])) - began) < PATIENCE_SECONDS
    bench.wait_seen()
    bench.wait_seen()
    assert queue.states(job) == ["waiting"]
    assert set(bench.loaded()) == {"judge:latest"}
    assert bench.ollama.unloads() == before, "nobody's models are moved for a job that cannot start"
    bench.wait_gpu("blocked")

    kill(blender)
    queue.wait_for(job, "done")
    assert bench.used_at_start(job) <= IDLE_BYTES + TOLERANCE_BYTES
    bench.wait_loaded("judge:latest")


def test_a_job_whose_peak_does_not_fit_waits_with_the_figures(bench: LeaseBench) -> None:
    queue = bench.queue
    queue.start_runner()
    bench.wait_learnt()
    job, small = bench.submit(SHORT, 17_500_000_000), bench.submit(SHORT, 9_000_000_000)

    told = queue.wait_for_lease(job, "job_too_large").values

    assert told["needed_bytes"] == 17_500_000_000 > int(str(told["total_bytes"])) > int(str(told["usable_bytes"])) > 0
    queue.wait_for(small, "done")
    assert queue.states(job) == ["waiting"]


def test_idle_use_is_learnt_anew_in_each_boot(bench: LeaseBench, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, sim = bench.queue, bench.sim
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "first-boot")
    queue.start_runner()
    assert bench.wait_learnt() == IDLE_BYTES
    job = bench.submit(SHORT)
    queue.wait_for(job, "done")
    queue.kill_runner()

    # After the restart a screen of a higher resolution hangs on the GPU.
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "second-boot")
    sim.cards[0].idle_bytes = IDLE_BYTES + 900_000_768
    queue.start_runner()

    wait_until(lambda: bench.gpu.baseline_bytes == IDLE_BYTES + 900_000_768, what=lambda: f"learnt anew: {bench.gpu}")
    again = bench.submit(SHORT)
    queue.wait_for(again, "done")
