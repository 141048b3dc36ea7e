"""The lease across runners and clocks: what stands in files is the next runner's, and a clock that is set harms nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.gpu_lease.state import read_lease_state
from tests.support.leasesim import IDLE, LeaseSim

JUDGE = "judge:latest"


pytestmark = pytest.mark.usefixtures("own_leases")


# The next runner.


def test_what_happened_is_there_for_the_next_runner(sim: LeaseSim) -> None:
    sim.load()
    sim.until_ready()
    sim.round()
    state = read_lease_state(sim.home)
    assert state is not None and state.phase == "held" and state.evicted == (JUDGE,)
    notes = sim.notes
    sim.kill_runner()
    sim.next_runner()
    assert sim.notes == notes != []
    assert sim.manager.busy, "a model is to come back"
    assert sim.manager.view.baseline_bytes == IDLE
    sim.round()
    assert (sim.state.phase, sim.state.cause) == ("held", "job_found")
    sim.end_job()
    sim.until(lambda: not sim.manager.busy, "the model back")
    assert sim.ollama.listed() == [JUDGE]


def test_a_new_runner_loads_nothing_for_a_moment_before_the_job_that_waits(sim: LeaseSim) -> None:
    sim.load()
    sim.until_ready()
    sim.rounds(5)
    sim.kill_runner()
    sim.end_job()
    sim.next_runner()
    before = len(sim.ollama.loads)
    sim.until_ready(sim.second)
    assert len(sim.ollama.loads) == before


def test_models_of_a_list_that_cannot_be_read_are_not_forgotten(sim: LeaseSim) -> None:
    sim.load()
    sim.until_ready()
    sim.kill_runner()
    sim.home.evicted_models.write_text(sim.home.evicted_models.read_text()[:-20])
    for _ in range(2):
        sim.next_runner()
        assert sim.state.notes[-1].level == "bad" and sim.notes[-1] == "evicted_models_unreadable"
        aside = Path(sim.values("evicted_models_unreadable")["file"])
        assert JUDGE in aside.read_text() and not sim.home.evicted_models.exists()
        sim.rounds(700)
    assert sim.notes.count("evicted_models_unreadable") == 2, "each runner tells it until somebody has removed the file"
    aside.unlink()
    sim.next_runner()
    assert sim.notes.count("evicted_models_unreadable") == 2


def test_models_whose_server_is_out_of_reach_are_told(sim: LeaseSim) -> None:
    sim.load()
    sim.until_ready()
    sim.kill_runner()
    sim.served = sim.served.model_copy(update={"url": "ftp://box"})
    sim.next_runner()
    assert sim.values("models_out_of_reach") == {"models": [JUDGE]}
    sim.end_job()
    sim.rounds(60)
    assert not sim.manager.busy, "no runner has to live for what it cannot do"
    assert sim.home.evicted_models.exists(), "the next one may"


# Clocks.


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -30 * 86400.0, 30 * 86400.0])
def test_a_clock_that_is_set_freezes_nothing(sim: LeaseSim, jump: float) -> None:
    sim.load()
    sim.wanted = sim.job
    sim.rounds(2)
    sim.set_clock(jump)
    sim.until(lambda: sim.manager.ready_for(sim.job), "the GPU", 60)
    sim.start_job()
    sim.rounds(5)
    sim.set_clock(jump)
    sim.end_job()
    sim.set_clock(jump)
    sim.until(lambda: not sim.manager.busy, "the model back", 60)
    assert sim.ollama.listed() == [JUDGE]
    assert sim.ollama.loads.count(JUDGE) == 2


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_is_set_neither_hastens_nor_delays_the_next_try(sim: LeaseSim, jump: float) -> None:
    sim.load()
    sim.rounds(10)
    sim.ollama.remove_model(JUDGE)
    sim.wanted = sim.job
    sim.until(lambda: sim.manager.why.code == "models_still_loaded")
    sim.set_clock(jump)
    gave_up = sim.clock.monotonic()
    sim.round()
    assert abs(sim.manager.why.values["retry_at"] - sim.clock.time() - 30) < 3, "the hour shown is one of the new time"
    sim.until(lambda: sim.manager.why.code != "models_still_loaded")
    assert 25 < sim.clock.monotonic() - gave_up < 35


def test_a_sample_of_before_the_clock_was_set_forward_is_still_one_of_now(sim: LeaseSim) -> None:
    sim.until_ready()
    sim.rounds(3)
    sim.end_job()
    sim.wanted = sim.second
    for _ in range(20):
        sim.set_clock(3600.0)
        sim.round()
        assert sim.status != "gpu_readings_stopped"
    sim.until(lambda: sim.manager.ready_for(sim.second), "the GPU", 30)


def test_trouble_that_goes_on_is_noted_again_after_a_while_though_the_clock_was_set(sim: LeaseSim) -> None:
    sim.load(JUDGE, keep_alive_seconds=-1)
    sim.rounds(10)
    sim.ollama.remove_model(JUDGE)
    sim.wanted = sim.job
    sim.until(lambda: "model_not_unloaded" in sim.notes)
    sim.set_clock(-86400.0)
    sim.rounds(1300)
    assert sim.notes.count("model_not_unloaded") >= 2
