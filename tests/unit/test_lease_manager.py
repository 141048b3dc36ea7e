"""The manager of the GPU, round by round: a GPU of made-up figures, a model server in memory, and a clock of the test's.

What happens with real runners, shims and jobs stands in tests/process/test_lease_*.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.gpu.reading import ProcessReading
from core.gpu_lease import lock as gpu_lock
from tests.support.leasesim import GB, PCI, LeaseSim

JUDGE, PLANNER = "judge:latest", "planner:latest"
BLENDER = ProcessReading(4711, "blender", 9 * GB, pci=PCI, user="ben")


pytestmark = pytest.mark.usefixtures("own_leases")


# It is made free, and given back.


def test_a_gpu_that_is_free_is_had_after_a_look_and_nothing_is_unloaded(sim: LeaseSim) -> None:
    sim.until_ready()
    sim.round()
    assert (sim.state.phase, sim.state.cause) == ("held", "job_started")
    assert sim.ollama.unloads == [] and sim.notes == []
    assert gpu_lock.held_by(sim.manager.lease_path, sim.home) is not None
    sim.end_job()
    sim.until(lambda: sim.state.phase == "free")
    assert gpu_lock.held_by(sim.manager.lease_path, sim.home) is None
    assert not sim.manager.busy


def test_what_is_loaded_goes_before_a_job_and_comes_back_as_it_was(sim: LeaseSim) -> None:
    sim.load(JUDGE, 600, 8192)
    sim.load(PLANNER, -1, 2048)
    sim.until_ready()
    assert sim.ollama.processes() == []
    assert sorted(sim.manager.models.evicted.names) == [JUDGE, PLANNER]
    assert sim.notes == ["unloading_models", "gpu_cleared"]
    assert sim.values("gpu_cleared")["freed_bytes"] == 7_500_000_000
    sim.rounds(100)
    sim.end_job()
    sim.until(lambda: not sim.manager.busy, "all back")
    assert {one.name: one.context_length for one in sim.ollama.ps()} == {JUDGE: 8192, PLANNER: 2048}
    sim.rounds(3600)
    assert sim.ollama.listed() == [PLANNER], "each stays as long as it would have"
    assert sim.values("models_returned") == {"count": 2}


def test_between_two_jobs_of_the_queue_no_model_is_loaded_for_a_moment(sim: LeaseSim) -> None:
    sim.load()
    sim.until_ready()
    loads = len(sim.ollama.loads)
    sim.rounds(10)
    sim.end_job()
    sim.until_ready(sim.second)
    assert len(sim.ollama.loads) == loads
    sim.rounds(10)
    sim.end_job()
    sim.until(lambda: not sim.manager.busy, "all back")
    assert sim.ollama.listed() == [JUDGE] and sim.notes[-1] == "models_returned"


def test_a_model_that_loads_is_not_listed_and_is_waited_for(sim: LeaseSim) -> None:
    """An unload has no effect on it: it is asked to go once it has come up."""
    sim.ollama.models[JUDGE].load_seconds = 40.0
    sim.rounds(5)
    sim.ollama.client_loads(JUDGE)
    sim.wanted = sim.job
    sim.rounds(20)
    assert sim.ollama.listed() == [] and sim.status == "memory_returning"
    sim.until_ready()
    assert sim.ollama.unloads == [JUDGE] and sim.ollama.processes() == []


def test_an_answer_for_somebody_else_is_let_end(sim: LeaseSim) -> None:
    sim.load()
    assert sim.ollama.client_asks(JUDGE, 60)
    sim.wanted = sim.job
    sim.until(lambda: sim.status == "unloading_models")
    began = sim.clock.monotonic()
    sim.until_ready()
    assert 50 < sim.clock.monotonic() - began < 80
    sim.end_job()
    sim.until(lambda: not sim.manager.busy, "all back")
    assert sim.ollama.listed() == [JUDGE]


def test_a_reading_from_before_a_model_came_does_not_tell_that_it_has_gone(tmp_path: Path) -> None:
    """A laden machine reads the GPU late: the model comes and goes meanwhile, and its memory outlasts its place in the list."""
    sim = LeaseSim(tmp_path, settle_seconds=1.0)
    sim.ollama.models[JUDGE].load_seconds = 0.0
    sim.load(PLANNER)
    sim.rounds(20)
    sim.wanted = sim.job
    sim.until(lambda: sim.status == "checking_for_loads", "that nothing is left of the one")
    sim.sampling = False
    sim.ollama.reap_seconds = 4.0
    sim.load(JUDGE)
    sim.rounds(3)
    assert sim.ollama.listed() == [] and sim.ollama.processes() != []
    assert not sim.manager.ready_for(sim.job)
    assert sim.status == "awaiting_reading"
    sim.sampling = True
    sim.until_ready()
    assert sim.ollama.processes() == []


def test_a_job_taken_back_while_the_gpu_is_cleared_lets_the_models_come_back(sim: LeaseSim) -> None:
    sim.load(JUDGE)
    sim.load(PLANNER, -1, 2048)
    sim.ollama.client_asks(JUDGE, 60)
    sim.wanted = sim.job
    sim.until(lambda: PLANNER not in sim.ollama.listed(), "the first gone")
    sim.wanted = None
    sim.until(lambda: not sim.manager.busy, "all back")
    assert {one.name: one.context_length for one in sim.ollama.ps()} == {JUDGE: 4096, PLANNER: 2048}
    assert not sim.home.evicted_models.exists()


def test_the_service_is_stopped_and_started_where_the_person_wants_that(tmp_path: Path) -> None:
    commands = {"stop_command": ["service", "stop"], "start_command": ["service", "start"]}
    sim = LeaseSim(tmp_path, server=commands)
    sim.load()
    sim.until_ready()
    assert sim.ollama.commands == ["stop"]
    assert sim.manager.models.evicted.stopped and "server_stopped" in sim.notes
    sim.rounds(5)
    sim.end_job()
    sim.until(lambda: not sim.manager.busy, "all back")
    assert sim.ollama.commands == ["stop", "start"]
    assert sim.ollama.listed() == [JUDGE] and not sim.home.evicted_models.exists()


def test_a_command_that_fails_is_told_and_does_not_lose_the_models(tmp_path: Path) -> None:
    sim = LeaseSim(tmp_path, server={"stop_command": ["false"], "start_command": ["false"]})
    sim.ollama.failing_commands.add("false")
    sim.load()
    sim.until_ready()
    sim.end_job()
    sim.until(lambda: not sim.manager.busy, "all back")
    assert sim.notes.count("command_failed") == 1, "once, as it goes on"
    assert sim.values("command_failed") == {"command": "false", "exit_code": 1, "said": ""}
    assert sim.ollama.listed() == [JUDGE]


def test_models_that_are_to_stay_do_and_only_their_room_is_missing(tmp_path: Path) -> None:
    sim = LeaseSim(tmp_path, server={"managed": False})
    sim.load()
    sim.until_ready()
    sim.rounds(10)
    assert sim.ollama.listed() == [JUDGE] and sim.ollama.unloads == []
    assert sim.state.intruders == ()
    too_large = sim.manager.no_room_for(replace(sim.second, device_memory_bytes=13 * GB))
    assert too_large is not None and too_large.code == "job_too_large" and too_large.values["beside_models"] is True
    assert sim.manager.no_room_for(replace(sim.second, device_memory_bytes=11 * GB)) is None


# It cannot be had.


def test_a_model_that_no_request_unloads_lets_the_job_wait_and_the_others_come_back(sim: LeaseSim) -> None:
    sim.load(JUDGE)
    sim.load(PLANNER)
    sim.until(lambda: len(sim.state.residents) == 2)
    sim.ollama.remove_model(JUDGE)
    sim.wanted = sim.job
    sim.until(lambda: "retry_at" in sim.manager.why.values, "giving up")
    assert sim.manager.why.code == "models_still_loaded"
    assert sim.manager.why.values["models"] == [JUDGE]
    assert sim.manager.why.values["retry_at"] > sim.clock.time()
    assert sim.values("model_not_unloaded")["problem"] == "model_tag_deleted"
    sim.until(lambda: PLANNER in sim.ollama.listed(), "the other one back")
    sim.ollama.down()
    sim.ollama.up()
    sim.until(lambda: sim.manager.ready_for(sim.job), "the GPU at last")


def test_a_job_that_has_waited_long_for_readings_has_its_whole_time_for_clearing(sim: LeaseSim) -> None:
    """How long the driver hung before is no reason to give up before anything was asked to go."""
    sim.sampling = False
    sim.wanted = sim.job
    sim.rounds(200)
    assert sim.status == "gpu_not_read_yet" and sim.state.phase == "free"
    sim.sampling = True
    sim.until_ready()
    assert sim.notes == []


def test_figures_that_stopped_coming_let_no_job_begin(sim: LeaseSim) -> None:
    sim.rounds(10)
    sim.sampling = False
    sim.wanted = sim.job
    sim.rounds(60)
    assert sim.state.phase == "blocked" and sim.manager.why.code == "gpu_readings_stopped"
    assert 50 < sim.clock.time() - sim.manager.why.values["since"] < 70
    sim.sampling = True
    sim.until_ready()


@pytest.mark.parametrize(
    ("figures", "noted"),
    [
        ({"vram_used_bytes": None, "vram_total_bytes": None}, ["memory_unknown"]),
        ({"vram_used_bytes": None, "suspended": True}, []),
    ],
)
def test_a_gpu_that_tells_nothing_or_sleeps_is_taken_as_it_is(
    sim: LeaseSim, figures: dict[str, Any], noted: list[str]
) -> None:
    sim.figures = figures
    sim.until_ready()
    assert sim.notes == noted


def test_a_source_that_fails_once_lets_no_job_begin_blind(sim: LeaseSim) -> None:
    sim.rounds(10)
    sim.others = [BLENDER]
    sim.wanted = sim.job
    sim.until(lambda: sim.status == "held_by_program")
    sim.figures = {"vram_used_bytes": None}
    sim.rounds(60)
    assert not sim.manager.ready_for(sim.job) and sim.notes == []
    assert sim.state.phase == "blocked"


def test_what_no_unloading_removes_moves_nobody_s_models(sim: LeaseSim) -> None:
    sim.load(JUDGE, keep_alive_seconds=-1)
    sim.rounds(10)
    sim.others = [BLENDER]
    sim.wanted = sim.job
    sim.rounds(600)
    assert (sim.state.phase, sim.state.cause, sim.status) == ("blocked", "job_hindered", "held_by_program")
    assert (sim.manager.why.values["name"], sim.manager.why.values["held_bytes"]) == ("blender", 9 * GB)
    assert sim.ollama.unloads == [] and sim.ollama.listed() == [JUDGE]
    sim.others = []
    sim.until_ready()


def test_a_server_of_others_on_the_gpu_is_named_and_our_models_are_moved_for_it_once(sim: LeaseSim) -> None:
    sim.rounds(10)
    sim.others = [ProcessReading(4711, "llama-server", 6 * GB, pci=PCI, user="ben")]
    sim.load(JUDGE, keep_alive_seconds=-1)
    sim.wanted = sim.job
    sim.until(lambda: sim.manager.why.code == "held_by_other_server")
    sim.until(lambda: sim.ollama.listed() == [JUDGE], "the model back")
    before = len(sim.ollama.unloads)
    sim.rounds(300)
    assert len(sim.ollama.unloads) == before and sim.ollama.listed() == [JUDGE]
    sim.others = []
    sim.until(lambda: sim.manager.ready_for(sim.job), "the GPU")


def test_a_job_s_memory_that_does_not_come_back_is_told_once_its_time_is_over(sim: LeaseSim) -> None:
    sim.until_ready()
    sim.rounds(2)
    sim.end_job(leaves_bytes=11 * GB)
    sim.until(lambda: sim.status == "job_memory_returning", "the wait")
    assert dict(sim.state.status.values) == {"job_id": 1, "left_bytes": 11 * GB}
    assert sim.state.unowned_bytes is None, "it may still come back"
    sim.until(lambda: sim.state.unowned_bytes == 11 * GB, "that nobody owns it")
    assert sim.values("job_memory_not_returned") == {"job_id": 1, "left_bytes": 11 * GB, "seconds": 30.0}
    assert sim.state.remedy.code == "restart_after_driver_death"
    sim.wanted = sim.second
    sim.until(lambda: sim.manager.why.code == "memory_unowned")
    assert sim.manager.why.values["since"] == sim.state.unowned_since
    sim.unowned = 0
    sim.until(lambda: sim.manager.ready_for(sim.second), "the GPU")
    assert sim.state.unowned_bytes is None and sim.state.remedy is None


def test_a_full_disk_unloads_nothing_that_cannot_be_noted(sim: LeaseSim) -> None:
    sim.load()
    sim.home.evicted_models.mkdir()  # as good as full: it cannot be written
    sim.wanted = sim.job
    sim.rounds(60)
    assert sim.manager.why.code == "home_not_writable"
    assert sim.ollama.unloads == [] and sim.ollama.listed() == [JUDGE]
    sim.home.evicted_models.rmdir()
    sim.until_ready()


def test_a_gpu_that_another_home_has_is_waited_for(sim: LeaseSim) -> None:
    other = gpu_lock.acquire(sim.manager.lease_path)
    assert other is not None
    sim.wanted = sim.job
    sim.until(lambda: sim.status == "held_by_other_home")
    assert sim.state.phase == "blocked"
    other.release()
    sim.until_ready()


# The server.


def test_without_a_model_server_nothing_is_amiss_unless_one_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, address, fault in (("named", "127.0.0.1:11434", "server_down"), ("silent", None, None)):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path / name))
        if address is None:
            monkeypatch.delenv("OLLAMA_HOST")
        else:
            monkeypatch.setenv("OLLAMA_HOST", address)
        sim = LeaseSim(tmp_path / name, server={"url": None})
        sim.ollama.down()
        sim.until_ready()
        assert (sim.state.server_fault and sim.state.server_fault.code) == fault


def test_an_address_that_is_none_is_told_and_nothing_else_breaks(tmp_path: Path) -> None:
    sim = LeaseSim(tmp_path, server={"url": "ftp://me:secret@box"})
    sim.until_ready()
    assert sim.state.server_fault.code == "server_address_invalid"
    assert "secret" not in sim.home.lease_state.read_text()


def test_a_server_of_another_machine_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://192.0.2.7:11434")
    sim = LeaseSim(tmp_path, server={"url": None})
    sim.load()
    sim.until_ready()
    assert sim.notes[0] == "server_elsewhere" and sim.ollama.unloads == []
    assert not sim.manager.models.managed and sim.state.server_fault is None


def test_a_server_that_hangs_holds_up_no_job_for_ever(sim: LeaseSim) -> None:
    sim.rounds(10)
    sim.ollama.hangs = True
    sim.until_ready()
    assert sim.state.server_fault.code == "server_slow"


def test_what_no_request_should_end_with_is_told_and_passes(sim: LeaseSim) -> None:
    sim.until(lambda: sim.state.server == "Ollama 0.24.0")
    assert sim.server is not None
    sim.server.broken = "RuntimeError('certificates are gone')"
    sim.wanted = sim.job
    sim.until(lambda: sim.state.server_fault is not None)
    assert sim.state.server_fault.code == "unexpected_error"
    sim.server.broken = None
    sim.until(lambda: sim.state.server_fault is None)
    sim.until_ready()
    assert sim.state.server == "Ollama 0.24.0"
