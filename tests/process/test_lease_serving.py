"""Bake-offs on the model server of this machine: it holds afterwards what it held before, whoever is killed in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leasebench import CARD, IDLE_BYTES, TOLERANCE_BYTES, LeaseBench, lease_bench, write_settings
from tests.support.ollama_standin import OllamaStandin
from tests.support.queueing import Queue, kill
from tests.support.waiting import wait_until

JUDGE, PLANNER, SEEDER = "judge:latest", "planner:latest", "seeder:latest"


@pytest.fixture
def bench(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseBench]:
    with lease_bench(machine, monkeypatch) as made:
        made.add_models(judge=4_600_000_000, planner=2_900_000_000, seeder=1_200_000_000)
        made.queue.start_runner()
        made.wait_learnt()
        made.load("judge", 6144, 7200)
        made.load("planner", 4096, -1)
        yield made


def bakeoff(bench: LeaseBench, words: str = "steps=12 save=5 waits=8") -> int:
    """A stand-in that asks judge, which is loaded, and seeder, which is not."""
    return bench.submit(f"{words} asks=judge,seeder of={bench.ollama.url}")


def as_before(bench: LeaseBench) -> None:
    bench.wait_restored()
    held = bench.loaded()
    assert {name: context for name, (context, _) in held.items()} == {JUDGE: 6144, PLANNER: 4096}
    assert held[PLANNER][1] == -1 and 7000 < (held[JUDGE][1] or 0) <= 7200


def test_models_stay_others_wait_and_clients_go_on(bench: LeaseBench) -> None:
    queue = bench.queue
    with bench.asking("planner") as answered:
        job = bakeoff(bench)
        queue.wait_for_step(job, 7)
        behind = bench.submit("steps=3")
        queue.wait_for_reason(behind, "slot_held_asking", slot="gpu", job=job, kind="standin")
        state = bench.wait_gpu("held")
        assert (state.mode, set(state.evicted), state.intruders) == ("serving", {JUDGE, PLANNER}, ())
        assert set(bench.loaded()) == {JUDGE, PLANNER, SEEDER}
        before = len(answered)
        wait_until(lambda: len(answered) > before + 2, what="answers to the client")
        assert bench.ollama.unloads() == []
    queue.go_on(job)
    queue.wait_for(job, "done")
    queue.wait_for(behind, "done")
    assert bench.used_at_start(behind) <= IDLE_BYTES + TOLERANCE_BYTES
    as_before(bench)


@pytest.mark.parametrize("ending", ["done", "fail", "job", "runner", "both", "shim", "cancel"])
def test_it_holds_what_it_held_whatever_happens(bench: LeaseBench, ending: str) -> None:
    queue = bench.queue
    job = bakeoff(bench, "steps=12 save=5 waits=8 fail=9" if ending == "fail" else "steps=12 save=5 waits=8")
    queue.wait_for_step(job, 7)
    assert set(bench.loaded()) == {JUDGE, PLANNER, SEEDER} and bench.loaded()[JUDGE][0] == 2048
    match ending:
        case "job":
            kill(queue.process(job))
        case "runner":
            queue.kill_runner()
            queue.go_on(job)
            queue.start_runner()
        case "both":
            queue.kill_runner()
            kill(queue.process(job))
            queue.start_runner()
        case "shim":
            kill(queue.shim_pid(job))
            queue.go_on(job)
        case "cancel":
            queue.ask("cancel", job)
        case _:
            queue.go_on(job)
    queue.wait_for(job)
    as_before(bench)


def test_a_runner_killed_while_it_restores(bench: LeaseBench) -> None:
    queue = bench.queue
    job = bakeoff(bench)
    queue.wait_for_step(job, 7)
    bench.ollama.scheduler.load_seconds = 1.0
    queue.go_on(job)
    bench.wait_gpu("restoring")
    queue.kill_runner()
    queue.start_runner()
    as_before(bench)


def test_servers_elsewhere_keep_no_job_from_the_gpu(bench: LeaseBench) -> None:
    queue = bench.queue
    training = bench.submit("steps=12 save=5 waits=8 vram=3e9")
    queue.wait_for_step(training, 7)
    beside = bench.submit("steps=3 elsewhere")
    queue.wait_for(beside, "done")
    assert queue.job(beside).lane == "cpu"
    assert queue.job(training).state == "running"
    queue.go_on(training)
    queue.wait_for(training, "done")


# A machine without a GPU.


@pytest.fixture
def server(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaStandin]:
    with OllamaStandin("0.33.0-rc2") as made:
        write_settings(machine, made.url, 60.0, {}, CARD)
        for name in (JUDGE, SEEDER):
            made.add_model(name, size_bytes=1_000_000_000, load_seconds=0.2)
        yield made


@pytest.mark.parametrize("ending", ["done", "both"])
def test_without_a_gpu_the_server_holds_what_it_held(server: OllamaStandin, queue: Queue, ending: str) -> None:
    from core.serving.ollama import Ollama

    def loaded() -> dict[str, int | None]:
        with Ollama(server.url) as client:
            return {one.name: one.context_length for one in client.ps()}

    with Ollama(server.url) as client:
        client.load("judge", context_length=6144, keep_alive_seconds=7200)
    job = queue.submit(f"steps=12 save=5 waits=8 asks=judge,seeder of={server.url}")
    queue.wait_for_step(job, 7)
    assert loaded() == {JUDGE: 2048, SEEDER: 2048}
    behind = queue.submit("steps=3 waits=2")
    queue.wait_for_reason(behind, "slot_held_asking", slot="cpu", job=job, kind="standin")
    if ending == "both":
        queue.kill_runner()
        kill(queue.process(job))
        queue.start_runner()
    else:
        queue.go_on(job)
    queue.wait_for(job)
    wait_until(lambda: not queue.home.evicted_models.exists(), what="all as before")
    assert loaded() == {JUDGE: 6144}
    assert queue.job(behind).state != "done", "no model has to wait for a job that asks no server"
    queue.go_on(behind)
    queue.wait_for(behind, "done")
