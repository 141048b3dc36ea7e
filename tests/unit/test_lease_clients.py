"""Clients that load, ask and unload models while the lease has or clears the GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.leasesim import LeaseSim

JUDGE = "judge:latest"


pytestmark = pytest.mark.usefixtures("own_leases")


def test_a_job_that_made_room_waits_until_the_client_is_quiet(tmp_path: Path) -> None:
    sim = LeaseSim(tmp_path, intruder="pause")
    sim.until_ready()
    sim.rounds(5)
    sim.load()
    sim.until(lambda: sim.manager.unwelcome is not None, "the intruder", 10)
    unwelcome = sim.manager.unwelcome
    assert unwelcome is not None
    assert (unwelcome.job_id, unwelcome.reason.code, unwelcome.reason.values["model"]) == (
        sim.job.id,
        "model_loaded_by_client",
        JUDGE,
    )
    sim.end_job()
    sim.wanted = sim.job
    sim.round()
    assert sim.manager.why.code == "clients_active" and sim.manager.why.values["model"] == JUDGE
    for _ in range(5):
        sim.rounds(20)
        assert not sim.manager.ready_for(sim.job)
        sim.load()
    sim.until(lambda: sim.manager.ready_for(sim.job), "the GPU, once it is quiet")
    assert sim.ollama.unloads[-1] == JUDGE


@pytest.mark.parametrize("policy", ["warn", "unload", "pause"])
def test_what_clients_load_during_a_job_is_counted(tmp_path: Path, policy: str) -> None:
    sim = LeaseSim(tmp_path, intruder=policy)
    sim.until_ready()
    sim.rounds(5)
    for _ in range(3):
        sim.load()
        sim.rounds(20)
    (intruder,) = sim.state.intruders
    assert intruder.name == JUDGE and sim.values("model_loaded_by_client")["policy"] == policy
    assert intruder.times == (3 if policy == "unload" else 1), "one that stays came once"
    assert len(sim.ollama.unloads) == (3 if policy == "unload" else 0)
    assert (sim.manager.unwelcome is not None) == (policy == "pause")
    sim.end_job()
    sim.until(lambda: sim.state.phase == "free")
    assert sim.state.intruders == ()


def test_a_model_in_use_for_longer_than_it_would_stay_is_noted_and_comes_back(sim: LeaseSim) -> None:
    """The server then lists an hour that has passed, as it does of one that is on its way out."""
    sim.rounds(10)
    sim.load(JUDGE, keep_alive_seconds=1)
    sim.ollama.client_asks(JUDGE, 40)
    sim.rounds(20)
    sim.wanted = sim.job
    sim.until(lambda: sim.state.evicted == (JUDGE,), "that it is noted", 5)
    sim.until_ready()
    sim.end_job()
    sim.until(lambda: not sim.manager.busy, "all back")
    assert JUDGE in sim.ollama.loads[1:]


def test_a_model_that_somebody_unloads_himself_does_not_come_back(sim: LeaseSim) -> None:
    sim.rounds(10)
    sim.load()
    sim.rounds(5)
    sim.ollama.client_asks(JUDGE, 30)
    sim.ollama.client_unloads(JUDGE)
    sim.rounds(6)
    sim.until_ready()
    sim.end_job()
    sim.until(lambda: sim.state.phase == "free")
    assert sim.ollama.listed() == [] and sim.state.evicted == ()
