"""The lease among the faults of a model server: what it makes of each, round by round, in memory.

The server does what Ollama was seen to do (tests/support/fake_ollama.py). Broken connections and killed runners are met with
real processes in tests/process/test_lease_faults.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.leasesim import GB, LeaseSim

JUDGE, JUDGE_2, PLANNER = "judge:latest", "judge-2:latest", "planner:latest"


pytestmark = pytest.mark.usefixtures("own_leases")


@pytest.fixture(params=[0.0, 1.3], ids=["at_once", "after_a_while"])
def sim(request: pytest.FixtureRequest, tmp_path: Path) -> LeaseSim:
    """The server answers at once, or so late that what it says is no longer true."""
    return LeaseSim(tmp_path, latency_seconds=request.param)


def all_back(sim: LeaseSim) -> None:
    sim.until(lambda: not sim.manager.busy, "all back")
    assert not sim.home.evicted_models.exists()


# It answers, and does not do it.


def test_a_runner_listed_under_another_tag_of_its_blob(sim: LeaseSim) -> None:
    """Asked for as `judge-2`, listed as `judge`, which is no more: only the other tag of the blob unloads it."""
    sim.ollama.copy_model(JUDGE, JUDGE_2)
    sim.load(JUDGE)
    sim.load(JUDGE_2)
    assert sim.ollama.listed() == [JUDGE]
    sim.until(lambda: sim.state.residents)
    sim.ollama.remove_model(JUDGE)
    sim.until_ready()
    assert sim.ollama.processes() == [] and set(sim.ollama.unloads) == {JUDGE_2}
    assert sim.manager.models.evicted.names == (JUDGE_2,)
    sim.end_job()
    all_back(sim)
    assert sim.ollama.listed() == [JUDGE_2]


def test_a_runner_that_died_is_listed_and_does_not_hold_up_a_job(sim: LeaseSim) -> None:
    sim.load(JUDGE)
    sim.load(PLANNER)
    sim.ollama.kill_runner(JUDGE)
    assert sim.ollama.listed() == [JUDGE, PLANNER]
    sim.until_ready()
    assert sim.ollama.processes() == []
    sim.end_job()
    all_back(sim)
    assert [name for name, _, _ in sorted(sim.ollama.processes())] == [JUDGE, PLANNER], "both really there"


def test_a_runner_that_died_does_not_keep_the_idle_use_from_being_measured(sim: LeaseSim) -> None:
    """The first runner of a boot meets a server that says it holds more than is in use."""
    sim.load(JUDGE, keep_alive_seconds=-1)
    sim.ollama.kill_runner(JUDGE)
    assert not sim.home.idle_baseline.exists()
    sim.until_ready()
    assert sim.state.baseline_bytes == 300_000_000


def test_a_model_that_a_client_loads_anew_as_it_goes_is_asked_to_go_again(sim: LeaseSim) -> None:
    sim.load(JUDGE)
    sim.wanted = sim.job
    for _ in range(3):
        sim.until(lambda: sim.ollama.listed() == [], "it is gone")
        sim.load(JUDGE)
    sim.until_ready()
    assert len(sim.ollama.unloads) >= 3
    sim.end_job()
    all_back(sim)
    assert sim.ollama.listed() == [JUDGE]


def test_clients_that_load_models_again_and_again_make_the_job_wait_for_a_while(sim: LeaseSim) -> None:
    sim.wanted = sim.job
    for _ in range(400):
        sim.ollama.client_loads(JUDGE, 600)
        sim.rounds(1)
        assert not sim.manager.ready_for(sim.job)
        if "models_still_loaded" in sim.notes or "models_kept_loading" in sim.notes:
            break
    else:
        raise AssertionError(sim.state)
    sim.until_ready()


def test_a_model_for_which_there_is_no_memory_any_more_is_told_in_the_server_s_words(sim: LeaseSim) -> None:
    sim.load()
    sim.until_ready()
    sim.ollama.memory_bytes = GB
    sim.end_job()
    sim.until(lambda: "model_not_loaded" in sim.notes)
    told = sim.values("model_not_loaded")
    assert (told["model"], told["problem"], told["status"]) == (JUDGE, "server_refused", 500)
    assert "requires more system memory" in told["said"]
    sim.until_ready(sim.second)  # whatever is away, the next job has its turn
    sim.end_job()
    sim.ollama.memory_bytes = None
    all_back(sim)
    assert sim.ollama.listed() == [JUDGE]


def test_a_model_that_never_loads_again_is_given_up_in_the_end_and_told(sim: LeaseSim) -> None:
    sim.load(JUDGE)
    sim.load(PLANNER, -1)
    sim.until_ready()
    sim.ollama.memory_bytes = 3 * GB
    sim.end_job()
    sim.until(lambda: PLANNER in sim.ollama.listed(), "the other one is not held up")
    sim.until(lambda: not sim.manager.busy, "an end", seconds=8 * 3600)
    reported = {"model_given_up", "model_does_not_fit"} & set(sim.notes)
    assert reported and sim.values(reported.pop())["model"] == JUDGE
    assert sim.ollama.listed() == [PLANNER] and not sim.home.evicted_models.exists()


def test_a_model_that_does_not_fit_any_more_takes_none_away_that_had_come_back(sim: LeaseSim) -> None:
    """A server lets others go to make room for one, and then finds that it does not fit all the same."""
    sim.load(JUDGE)
    sim.load(PLANNER)
    sim.until_ready()
    sim.ollama.memory_bytes = 3 * GB
    sim.end_job()
    sim.until(lambda: "model_does_not_fit" in sim.notes, "why", seconds=8 * 3600)
    assert sim.values("model_does_not_fit") == {"model": JUDGE, "others": [PLANNER]}
    all_back(sim)
    assert sim.ollama.listed() == [PLANNER]


def test_models_for_which_there_is_no_room_for_all_any_more_are_told(sim: LeaseSim) -> None:
    sim.load(JUDGE)
    sim.load(PLANNER)
    sim.until_ready()
    sim.ollama.memory_bytes = 5 * GB
    sim.end_job()
    all_back(sim)
    (left,) = sim.ollama.listed()
    (gone,) = {JUDGE, PLANNER} - {left}
    assert sim.values("model_displaced_others") == {"model": left, "others": [gone]}


def test_a_model_deleted_meanwhile_is_noted_and_the_others_come_back(sim: LeaseSim) -> None:
    sim.load(JUDGE)
    sim.load(PLANNER)
    sim.until_ready()
    sim.ollama.remove_model(JUDGE)
    sim.end_job()
    all_back(sim)
    assert sim.ollama.listed() == [PLANNER]
    told = sim.values("model_not_returning")
    assert (told["model"], told["problem"], told["status"]) == (JUDGE, "server_refused", 404)


# It goes away.


def test_a_server_that_is_down_from_the_start_holds_up_no_job(sim: LeaseSim) -> None:
    sim.ollama.down()
    sim.until_ready()
    assert sim.state.server_fault.code == "server_down"
    assert not sim.home.evicted_models.exists()


def test_a_server_that_goes_away_while_the_gpu_is_cleared(sim: LeaseSim) -> None:
    sim.load(JUDGE, 600, 8192)
    sim.load(PLANNER, -1)
    sim.ollama.client_asks(JUDGE, 1000)
    sim.wanted = sim.job
    sim.until(lambda: {JUDGE, PLANNER} <= set(sim.ollama.unloads), "both asked to go")
    sim.ollama.down()
    sim.until_ready()
    sim.rounds(20)
    sim.end_job()
    sim.rounds(200)
    assert sim.home.evicted_models.exists() and sim.manager.busy, "not forgotten"
    sim.ollama.up()
    all_back(sim)
    assert {one.name: one.context_length for one in sim.ollama.ps()} == {JUDGE: 8192, PLANNER: 4096}


def test_a_server_that_goes_away_while_its_models_come_back(sim: LeaseSim) -> None:
    sim.load(JUDGE)
    sim.load(PLANNER, -1)
    for model in sim.ollama.models.values():
        model.load_seconds = 60.0
    sim.until_ready()
    sim.end_job()
    sim.until(lambda: sim.state.phase == "restoring" and sim.ollama.processes(), "the first on its way")
    assert sim.status == "loading_model" and sim.state.status.values["total"] == 2
    sim.ollama.down()
    sim.rounds(120)
    assert set(sim.state.evicted) == {JUDGE, PLANNER} and sim.state.server_fault.code == "server_down"
    sim.ollama.up()
    all_back(sim)
    assert {JUDGE, PLANNER} >= set(sim.ollama.listed()) >= {PLANNER}
    assert sim.values("models_returned") == {"count": 2}


def test_a_server_that_hangs_while_the_gpu_is_cleared_is_not_taken_for_an_empty_one(sim: LeaseSim) -> None:
    sim.load(JUDGE, keep_alive_seconds=-1)
    sim.ollama.client_asks(JUDGE, 100_000)
    sim.wanted = sim.job
    sim.until(lambda: sim.status == "unloading_models")
    sim.ollama.hangs = True
    sim.rounds(100)
    assert not sim.manager.ready_for(sim.job), "its memory is there"
    assert sim.status == "memory_returning"
    sim.ollama.hangs = False
    sim.ollama.client_leaves(JUDGE)
    sim.until_ready()
