"""A job that asks the model server: its models stay, clients go on, and afterwards it is as it was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.gpu.reading import ProcessReading
from core.gpu_lease.state import read_lease_state
from tests.support.fake_ollama import URL
from tests.support.leasesim import GB, PCI, LeaseSim

JUDGE, PLANNER, TUNED, SEEDER = "judge:latest", "planner:latest", "tuned:latest", "seeder:latest"
BAKEOFF_SECONDS = 1800.0

pytestmark = pytest.mark.usefixtures("own_leases")


@pytest.fixture
def sim(own_leases: None, tmp_path: Path) -> LeaseSim:
    return ready(LeaseSim(tmp_path))


def ready(sim: LeaseSim) -> LeaseSim:
    sim.ollama.add_model(TUNED, 2 * GB)
    sim.ollama.add_model(SEEDER, GB)
    return sim


def begin(sim: LeaseSim, *models: str) -> None:
    sim.asks(*models)
    sim.until_ready()
    sim.rounds(3)


def over(sim: LeaseSim) -> None:
    sim.until(lambda: not sim.manager.busy and sim.state.phase == "free", "all as before")
    assert not sim.home.evicted_models.exists()


def test_models_stay_and_what_the_job_leaves_is_unloaded(sim: LeaseSim) -> None:
    sim.load(JUDGE, 600.0, 8192)
    sim.load(PLANNER, -1.0, 4096)
    before = sim.loaded()
    begin(sim, "tuned")
    assert sim.ollama.unloads == [] and sim.loaded() == before
    assert (sim.state.phase, sim.state.mode, set(sim.state.evicted)) == ("held", "serving", {JUDGE, PLANNER})
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.rounds(20)
    loads = len(sim.ollama.loads)
    sim.end_job()
    over(sim)
    assert sim.loaded() == before
    assert sim.ollama.unloads == [TUNED] and len(sim.ollama.loads) == loads, "nothing else was touched"


def test_a_model_that_was_loaded_and_is_asked_is_as_it_was(sim: LeaseSim) -> None:
    sim.load(JUDGE, -1.0, 8192)
    sim.load(PLANNER, 900.0, 4096)
    before = sim.loaded()
    begin(sim, "judge", "planner:latest")
    sim.load(JUDGE, BAKEOFF_SECONDS, 2048)
    sim.load(PLANNER, BAKEOFF_SECONDS, 4096)
    sim.rounds(5)
    sim.end_job()
    over(sim)
    after = sim.loaded()
    assert {name: context for name, (context, _) in after.items()} == {JUDGE: 8192, PLANNER: 4096}
    assert after[JUDGE] == before[JUDGE]
    assert 800 < (after[PLANNER][1] or 0) <= 901
    assert sim.ollama.unloads == []


def test_what_the_server_let_go_for_the_job_is_back(sim: LeaseSim) -> None:
    sim.ollama.memory_bytes = 8 * GB
    sim.load(JUDGE, 600.0, 8192)
    sim.load(PLANNER, -1.0, 4096)
    before = sim.loaded()
    begin(sim, TUNED)
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    assert len(sim.loaded()) == 2
    sim.end_job()
    over(sim)
    assert set(sim.loaded()) == set(before)
    assert {name: context for name, (context, _) in sim.loaded().items()} == {JUDGE: 8192, PLANNER: 4096}


@pytest.mark.parametrize("moment", ["held", "ended", "unloading", "loading"])
def test_another_runner_sees_to_it_when_this_one_is_killed(sim: LeaseSim, moment: str) -> None:
    sim.load(JUDGE, 600.0, 8192)
    begin(sim, JUDGE, TUNED)
    sim.load(JUDGE, BAKEOFF_SECONDS, 2048)
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.rounds(5)
    if moment == "held":
        sim.kill_runner()
        sim.next_runner()
        sim.rounds(5)
        assert (sim.state.phase, sim.state.cause, sim.state.mode) == ("held", "job_found", "serving")
        assert sim.ollama.unloads == [] and sim.state.intruders == ()
    sim.end_job()
    if moment == "unloading":
        sim.until(lambda: sim.status == "unloading_models")
    elif moment == "loading":
        sim.until(lambda: sim.status == "loading_model")
    if moment != "held":
        sim.kill_runner()
        sim.next_runner()
    over(sim)
    assert {name: context for name, (context, _) in sim.loaded().items()} == {JUDGE: 8192}


def test_a_job_killed_while_it_had_a_model_loaded(sim: LeaseSim) -> None:
    begin(sim, TUNED)
    sim.ollama.models[TUNED].load_seconds = 1.0
    sim.ollama.client_loads(TUNED, BAKEOFF_SECONDS, 2048)
    sim.end_job()
    over(sim)
    assert sim.loaded() == {} and sim.ollama.unloads == [TUNED]


def test_a_model_under_another_tag_of_its_weights(sim: LeaseSim) -> None:
    sim.ollama.copy_model(JUDGE, "judge-2:latest")
    sim.load(JUDGE, 600.0, 8192)
    begin(sim, "judge-2")
    sim.load("judge-2:latest", BAKEOFF_SECONDS, 2048)
    assert sim.ollama.listed() == ["judge-2:latest"]
    sim.rounds(5)
    sim.end_job()
    over(sim)
    assert {name: context for name, (context, _) in sim.loaded().items()} == {JUDGE: 8192}


@pytest.mark.parametrize("kept", [600.0, -1.0])
def test_a_model_that_is_asked_under_another_tag_stays_as_long_as_it_would_have(sim: LeaseSim, kept: float) -> None:
    """The runner is one, and so is its keep-alive: the job's requests change that, under whatever tag."""
    sim.ollama.copy_model(JUDGE, "judge-2:latest")
    sim.load(JUDGE, kept, 8192)
    begin(sim, "judge-2")
    sim.load("judge-2:latest", BAKEOFF_SECONDS, 8192)
    assert sim.loaded() == {JUDGE: (8192, BAKEOFF_SECONDS)}, "one runner, listed under the tag that loaded it"
    sim.rounds(5)
    sim.end_job()
    over(sim)
    ((context, after),) = sim.loaded().values()
    assert sim.ollama.listed() == [JUDGE] and context == 8192 and sim.ollama.unloads == []
    assert after == -1.0 if kept == -1.0 else 500 < (after or 0) <= 601


def test_two_tags_of_one_model_that_was_not_there_leave_nothing(sim: LeaseSim) -> None:
    sim.ollama.copy_model(TUNED, "tuned-2:latest")
    begin(sim, "tuned", "tuned-2")
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.load("tuned-2:latest", BAKEOFF_SECONDS, 2048)
    sim.rounds(5)
    sim.end_job()
    over(sim)
    assert sim.loaded() == {}


def test_clients_go_on_and_what_they_load_stays(sim: LeaseSim) -> None:
    begin(sim, TUNED)
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.load(SEEDER, 7200.0, 4096)
    sim.rounds(20)
    assert sim.state.intruders == () and "model_loaded_by_client" not in sim.notes
    assert sim.manager.unwelcome is None and sim.ollama.unloads == []
    sim.end_job()
    over(sim)
    assert sim.loaded() == {SEEDER: (4096, 7200.0)}


def test_a_client_that_asks_for_what_the_job_left_keeps_it(sim: LeaseSim) -> None:
    begin(sim, TUNED)
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.rounds(5)
    sim.end_job()
    sim.until(lambda: TUNED in sim.ollama.unloads)
    sim.load(TUNED, 7200.0, 4096)
    over(sim)
    assert sim.loaded() == {TUNED: (4096, 7200.0)} and sim.ollama.unloads == [TUNED]


def test_one_such_job_after_the_other(sim: LeaseSim) -> None:
    sim.load(JUDGE, 7200.0, 8192)
    sim.asks(SEEDER, JUDGE, number=2)
    begin(sim, TUNED)
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.rounds(5)
    sim.end_job()
    sim.until_ready(sim.second)
    sim.rounds(5)
    assert set(sim.state.evicted) == {JUDGE}
    sim.load(JUDGE, BAKEOFF_SECONDS, 2048)
    sim.load(SEEDER, BAKEOFF_SECONDS, 2048)
    sim.rounds(5)
    sim.end_job()
    over(sim)
    after = sim.loaded()
    assert set(after) == {JUDGE} and after[JUDGE][0] == 8192 and 7000 < (after[JUDGE][1] or 0) <= 7201


def test_a_job_that_wants_the_gpu_alone_comes_next(sim: LeaseSim) -> None:
    """What the bake-off left does not come back with the models that make way."""
    sim.load(JUDGE, 7200.0, 8192)
    begin(sim, TUNED, JUDGE)
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.load(JUDGE, BAKEOFF_SECONDS, 2048)
    sim.rounds(5)
    sim.end_job()
    sim.until_ready(sim.second)
    sim.rounds(5)
    assert sim.loaded() == {} and (sim.state.mode, sim.state.evicted) == ("exclusive", (JUDGE,))
    sim.end_job()
    over(sim)
    assert {name: context for name, (context, _) in sim.loaded().items()} == {JUDGE: 8192}


def test_a_job_that_had_the_gpu_alone_came_before(sim: LeaseSim) -> None:
    sim.load(JUDGE, 600.0, 8192)
    sim.asks(JUDGE, number=2)
    sim.until_ready()
    sim.rounds(5)
    sim.end_job()
    sim.until_ready(sim.second)
    assert sim.loaded() == {}, "it needs no models of others"
    sim.load(JUDGE, BAKEOFF_SECONDS, 2048)
    sim.rounds(5)
    sim.end_job()
    over(sim)
    assert {name: context for name, (context, _) in sim.loaded().items()} == {JUDGE: 8192}


def test_a_service_that_was_stopped_is_started_for_it(tmp_path: Path) -> None:
    sim = ready(LeaseSim(tmp_path, server={"stop_command": ["service", "stop"], "start_command": ["service", "start"]}))
    sim.asks(TUNED, number=2)
    sim.until_ready()
    sim.end_job()
    assert sim.ollama.commands == ["stop"]
    sim.until_ready(sim.second)
    assert sim.ollama.commands == ["stop", "start"]


def test_another_server_of_the_same_kind_is_left_alone(sim: LeaseSim) -> None:
    """Its models have the same names, and nobody restores what it holds."""
    sim.asks(TUNED, url="http://127.0.0.1:11500")
    sim.until_ready()
    sim.load(TUNED, 7200.0, 4096)
    sim.rounds(5)
    sim.end_job()
    over(sim)
    assert sim.loaded() == {TUNED: (4096, 7200.0)} and sim.ollama.unloads == []


@pytest.mark.parametrize("url", ["localhost:11434", "http://localhost:11434", URL])
def test_the_server_is_known_in_each_spelling_of_its_address(sim: LeaseSim, url: str) -> None:
    sim.asks(TUNED, url=url)
    sim.until_ready()
    sim.load(TUNED, 7200.0, 4096)
    sim.rounds(5)
    sim.end_job()
    over(sim)
    assert sim.loaded() == {}


def test_a_server_that_is_not_managed_is_as_it_was_too(tmp_path: Path) -> None:
    sim = ready(LeaseSim(tmp_path, server={"managed": False}))
    sim.load(JUDGE, 600.0, 8192)
    begin(sim, JUDGE, TUNED)
    sim.load(JUDGE, BAKEOFF_SECONDS, 2048)
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.rounds(5)
    sim.end_job()
    over(sim)
    assert {name: context for name, (context, _) in sim.loaded().items()} == {JUDGE: 8192}


def test_a_server_that_is_not_there_keeps_the_job_from_nothing(sim: LeaseSim) -> None:
    """The job tells what is wrong; one that begins meanwhile held nothing."""
    sim.ollama.down()
    begin(sim, TUNED)
    sim.ollama.up()
    sim.load(TUNED, BAKEOFF_SECONDS, 2048)
    sim.rounds(20)
    sim.end_job()
    over(sim)
    assert sim.loaded() == {}


def test_a_server_that_does_not_answer_is_waited_for_with_the_reason(sim: LeaseSim) -> None:
    sim.load(JUDGE, 7200.0, 8192)
    sim.rounds(10)
    sim.ollama.hangs = True
    sim.asks(TUNED)
    sim.wanted = sim.job
    sim.until(lambda: sim.manager.why.code == "server_slow", "the reason", 20)
    assert not sim.manager.ready_for(sim.job)
    sim.ollama.hangs = False
    sim.until_ready()
    assert sim.state.evicted == (JUDGE,) or sim.manager.models.evicted.names == (JUDGE,)


def test_other_programs_are_in_its_way_unless_one_may_be_its_server(sim: LeaseSim) -> None:
    sim.others = [ProcessReading(4711, "vllm", 9 * GB, pci=PCI)]
    sim.asks(TUNED)
    sim.wanted = sim.job
    sim.until(lambda: sim.manager.why.code == "held_by_program", "the reason", 20)
    sim.uses[1] = sim.uses[1].__class__("serving", {}, beside_programs=True)
    sim.until_ready()


def test_the_next_job_waits_for_no_quiet_of_clients(tmp_path: Path) -> None:
    """A job that made room for a client waits until clients are quiet; one that shares the server with them does not."""
    sim = ready(LeaseSim(tmp_path, intruder="pause"))
    sim.until_ready()
    sim.rounds(5)
    sim.load(JUDGE, 7200.0)
    sim.until(lambda: sim.manager.unwelcome is not None)
    sim.end_job()
    sim.asks(TUNED, number=2)
    sim.until_ready(sim.second)
    assert sim.ollama.client_asks(JUDGE, 10.0)


def test_what_consoles_read(sim: LeaseSim) -> None:
    sim.load(JUDGE, 7200.0, 8192)
    begin(sim, TUNED)
    state = read_lease_state(sim.home)
    assert state is not None and state.serves and state.evicted == (JUDGE,)
    sim.end_job()
    over(sim)
    state = read_lease_state(sim.home)
    assert state is not None and not state.serves and state.evicted == ()
