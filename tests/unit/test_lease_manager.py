"""The keeper of the GPU, round by round: a GPU of made-up figures, and the stand-in of Ollama over real sockets.

What happens with real runners, shims and jobs stands in tests/process/test_lease_*.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.config.settings import GpuSettings, OllamaSettings
from core.gpu.devices import Gpu
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.manager import GpuLeaseManager
from core.gpu_lease.state import read_lease_state
from core.store.jobs import JobRow, get_job
from tests.support.ollama_standin import OllamaStandin
from tests.support.queueing import wait_until
from tests.support.stored import add_job, fresh

pytestmark = pytest.mark.process

PCI = "0000:2b:00.0"
CARD = Gpu(PCI, "amd", "Stand-in", False, 0)
GB = 1_000_000_000
IDLE = 300_000_000
QUICK: dict[str, Any] = {"settle_seconds": 0.3, "clear_seconds": 2.0, "return_seconds": 1.0, "retry_seconds": 1.0}


class Rounds:
    """Calls the keeper as the runner does, five times faster. The GPU holds what the server's runners have, and `others`."""

    def __init__(self, folder: Path, ollama: OllamaStandin, **settings: Any) -> None:
        self.home, connection = fresh(folder)
        self.job: JobRow = get_job(connection, add_job(connection))
        self.second: JobRow = get_job(connection, add_job(connection))
        connection.close()
        self.ollama = ollama
        self.others: list[ProcessReading] = []
        self.unowned = 0
        self.figures: dict[str, Any] = {}
        self.sampling = True
        served = OllamaSettings(**{"url": ollama.url, **settings.pop("server", {})})
        self.keeper = GpuLeaseManager(self.home, CARD, GpuSettings(**{**QUICK, **settings}), served)
        self.wanted: JobRow | None = None
        self.holder: JobRow | None = None

    def round(self) -> None:
        if self.sampling:
            self.keeper.see(self.sample())
        self.keeper.tick(time.time(), self.holder, self.wanted)

    def sample(self) -> Sample:
        runners = [ProcessReading(pid, "ollama", size, pci=PCI) for _, size, pid in self.ollama.residents()]
        processes = (*runners, *self.others)
        used = IDLE + self.unowned + sum(process.vram_bytes or 0 for process in processes)
        device = DeviceReading(0, "Stand-in", "amd", PCI, 17 * GB, used)
        return Sample(time.time(), "test", HostReading(), (replace(device, **self.figures),), processes)

    def until(self, condition: Any, what: str = "", seconds: float = 10.0) -> None:
        def met() -> bool:
            self.round()
            return bool(condition())

        wait_until(met, seconds, lambda: f"{what}: {self.keeper.state}")

    def until_ready(self) -> None:
        """The GPU is free for the first job: it takes it, as the runner would have it do."""
        self.wanted = self.job
        self.until(lambda: self.keeper.ready_for(self.job), "the GPU")
        self.lease = self.keeper.hand_over()
        self.wanted, self.holder = None, self.job

    def end_job(self) -> None:
        self.lease.release()
        self.holder = None

    def rounds(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.round()
            time.sleep(0.04)

    def load(self, name: str = "judge") -> None:
        with self.keeper_client() as client:
            client.load(name, context_length=4096, keep_alive_seconds=600)

    def keeper_client(self) -> Any:
        from core.serving.ollama import Ollama

        return Ollama(self.ollama.url)

    @property
    def notes(self) -> list[str]:
        return [note.message for note in self.keeper.state.notes]


@pytest.fixture
def ollama() -> Iterator[OllamaStandin]:
    with OllamaStandin("0.24.0", load_seconds=0.05) as made:
        made.add_model("judge", size_bytes=4_600_000_000)
        made.add_model("planner", size_bytes=2_900_000_000)
        yield made


@pytest.fixture(autouse=True)
def own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)


def test_a_gpu_that_is_free_is_had_after_a_look_and_nothing_is_unloaded(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.until_ready()
    rounds.round()
    assert rounds.keeper.state.phase == "held" and ollama.unloads() == [] and rounds.notes == []
    assert gpu_lock.held_by(rounds.keeper.lease_path, rounds.home) is not None
    rounds.end_job()
    rounds.until(lambda: rounds.keeper.state.phase == "free")
    assert gpu_lock.held_by(rounds.keeper.lease_path, rounds.home) is None
    assert not rounds.keeper.busy


def test_between_two_jobs_of_the_queue_no_model_is_loaded_for_a_moment(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.load()
    rounds.until_ready()
    rounds.rounds(0.3)
    loads = len(ollama.requests)
    rounds.end_job()
    rounds.wanted = rounds.second
    rounds.until(lambda: rounds.keeper.ready_for(rounds.second), "the GPU again")
    assert [one.path for one in ollama.requests[loads:] if one.path == "/api/generate"] == []
    rounds.keeper.hand_over().release()
    rounds.wanted = None
    rounds.until(lambda: not rounds.keeper.busy, "all back")
    assert ollama.listed() == ["judge:latest"]
    assert rounds.notes[-1] == "1 model of Ollama is back"


def test_a_model_that_no_request_unloads_lets_the_job_wait_and_the_others_come_back(
    tmp_path: Path, ollama: OllamaStandin
) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.load()
    rounds.load("planner")
    rounds.until(lambda: rounds.keeper.state.residents)
    ollama.remove_model("judge")
    rounds.wanted = rounds.job

    rounds.until(lambda: "still loaded after 2 s: tried again at" in rounds.keeper.why, "giving up")
    assert any("its tag is gone" in note for note in rounds.notes)
    rounds.until(lambda: "planner:latest" in ollama.listed(), "the other one back")
    ollama.kill_runner("judge:latest")
    ollama.scheduler.drop_all()
    rounds.until(lambda: rounds.keeper.ready_for(rounds.job), "the GPU at last")
    rounds.keeper.close()


def test_the_service_is_ended_and_started_again_where_the_person_wants_that(
    tmp_path: Path, ollama: OllamaStandin
) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-c", f"import sys; open({str(said)!r}, 'a').write(sys.argv[1] + ' ')"]
    rounds = Rounds(tmp_path, ollama, server={"stop_command": [*command, "stop"], "start_command": [*command, "start"]})
    rounds.load()
    rounds.until_ready()
    assert said.read_text() == "stop "
    assert rounds.keeper.models.displaced.stopped and rounds.notes[-2] == "the model server was ended"
    rounds.rounds(0.3)
    rounds.end_job()
    rounds.until(lambda: not rounds.keeper.busy, "all back")
    assert said.read_text() == "stop start "
    assert ollama.listed() == ["judge:latest"]
    assert not rounds.home.displaced.exists()


def test_a_command_that_fails_is_told_and_does_not_lose_the_models(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama, server={"stop_command": ["false"], "start_command": ["false"]})
    rounds.load()
    rounds.until_ready()
    rounds.end_job()
    rounds.until(lambda: not rounds.keeper.busy, "all back")
    assert rounds.notes.count("`false` failed: exit code 1") == 1, "once, as it goes on"
    assert ollama.listed() == ["judge:latest"]


def test_models_that_are_to_stay_do_and_only_their_room_is_missing(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama, server={"managed": False})
    rounds.load()
    rounds.until_ready()
    rounds.rounds(0.2)
    assert ollama.listed() == ["judge:latest"] and ollama.unloads() == []
    assert rounds.keeper.state.intruders == ()
    assert rounds.keeper.no_room_for(replace(rounds.second, device_memory_bytes=13 * GB)) is not None
    assert rounds.keeper.no_room_for(replace(rounds.second, device_memory_bytes=11 * GB)) is None


def test_figures_that_stopped_coming_let_no_job_begin(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.rounds(0.3)
    rounds.sampling = False
    rounds.keeper.see(replace(rounds.sample(), time=time.time() - 20))
    rounds.wanted = rounds.job
    rounds.rounds(1.0)
    assert rounds.keeper.state.phase == "blocked" and "it gives no figures since" in rounds.keeper.why
    rounds.sampling = True
    rounds.until_ready()


@pytest.mark.parametrize(
    ("figures", "noted"),
    [
        ({"vram_used_bytes": None, "vram_total_bytes": None}, True),
        ({"vram_used_bytes": None, "suspended": True}, False),
    ],
)
def test_a_gpu_that_tells_nothing_or_sleeps_is_taken_as_it_is(
    tmp_path: Path, ollama: OllamaStandin, figures: dict[str, Any], noted: bool
) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.figures = figures
    rounds.until_ready()
    assert any("does not tell what it holds" in note for note in rounds.notes) == noted


def test_a_job_s_memory_that_does_not_come_back_is_told_once_its_time_is_over(
    tmp_path: Path, ollama: OllamaStandin
) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.until_ready()
    rounds.rounds(0.2)
    rounds.unowned = 11 * GB
    rounds.end_job()
    rounds.until(lambda: rounds.keeper.state.message.startswith("waiting for 11.0 GB of job 1"), "the wait")
    assert rounds.keeper.state.unowned_bytes is None, "it may still come back"
    rounds.until(lambda: rounds.keeper.state.unowned_bytes == 11 * GB, "that nobody owns it")
    assert "11.0 GB of job 1 have not come back within 1 s" in rounds.notes
    assert "restart the machine" in rounds.keeper.state.advice
    rounds.wanted = rounds.second
    rounds.until(lambda: "11.0 GB belong to no process since" in rounds.keeper.why)
    rounds.unowned = 0
    rounds.until(lambda: rounds.keeper.ready_for(rounds.second), "the GPU")
    assert rounds.keeper.state.unowned_bytes is None and rounds.keeper.state.advice == ""


def test_a_job_that_made_room_waits_until_the_client_is_quiet(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama, intruder="pause")
    rounds.until_ready()
    rounds.rounds(0.2)
    rounds.load()
    seen: list[Any] = []
    rounds.until(lambda: seen.append(rounds.keeper.unwelcome) or seen[-1], "the intruder")
    assert (seen[-1].job_id, seen[-1].reason) == (rounds.job.id, "judge:latest was loaded by a client")
    rounds.end_job()
    rounds.wanted = rounds.job
    rounds.round()
    assert rounds.keeper.why == "clients ask judge:latest: it goes on once they have not for 1 s"
    rounds.load()
    rounds.until(lambda: rounds.keeper.ready_for(rounds.job), "the GPU, once it is quiet")
    assert ollama.unloads()[-1] == "judge:latest"
    rounds.keeper.close()


def test_without_a_model_server_nothing_is_amiss_unless_one_was_named(
    tmp_path: Path, ollama: OllamaStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    ollama.down()
    monkeypatch.setenv("OLLAMA_HOST", ollama.url)
    (tmp_path / "named").mkdir()
    named = Rounds(tmp_path / "named", ollama)
    named.until_ready()
    assert "no model server answers" in (named.keeper.state.server_problem or "")
    monkeypatch.delenv("OLLAMA_HOST")
    (tmp_path / "other").mkdir()
    silent = Rounds(tmp_path / "other", ollama, server={"url": None})
    silent.keeper.lease_path = tmp_path / "another-card"
    silent.until_ready()
    assert silent.keeper.state.server_problem is None


def test_an_address_that_is_none_is_told_and_nothing_else_breaks(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama, server={"url": "ftp://box"})
    rounds.until_ready()
    assert "no address of a model server" in (rounds.keeper.state.server_problem or "")


def test_a_full_disk_unloads_nothing_that_cannot_be_noted(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.load()
    rounds.home.displaced.mkdir()  # as good as full: it cannot be written
    rounds.wanted = rounds.job
    rounds.rounds(2.0)
    assert "the home cannot be written" in rounds.keeper.why
    assert ollama.unloads() == [] and ollama.listed() == ["judge:latest"]
    rounds.keeper.close()


def test_what_happened_is_there_for_the_next_runner(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.load()
    rounds.until_ready()
    rounds.round()
    state = read_lease_state(rounds.home)
    assert state is not None and state.phase == "held" and state.displaced == ("judge:latest",)
    successor = GpuLeaseManager(rounds.home, CARD, GpuSettings(**QUICK), OllamaSettings(url=ollama.url))
    assert [note.message for note in successor.state.notes] == rounds.notes != []
    assert successor.busy, "a model is to come back"
    assert successor.view.baseline_bytes == IDLE


def test_a_source_that_fails_once_lets_no_job_begin_blind(tmp_path: Path, ollama: OllamaStandin) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.rounds(0.3)
    rounds.others = [ProcessReading(4711, "blender", 9 * GB, pci=PCI, user="ben")]
    rounds.wanted = rounds.job
    rounds.until(lambda: "blender (pid 4711, ben) holds 9.0 GB" in rounds.keeper.why)
    rounds.figures = {"vram_used_bytes": None}
    rounds.rounds(1.0)
    assert not rounds.keeper.ready_for(rounds.job) and rounds.notes == []
    assert rounds.keeper.state.phase == "blocked"


def test_a_server_of_others_on_the_gpu_is_named_and_our_models_are_moved_for_it_once(
    tmp_path: Path, ollama: OllamaStandin
) -> None:
    rounds = Rounds(tmp_path, ollama, clear_seconds=1.0)
    rounds.rounds(0.3)
    rounds.others = [ProcessReading(4711, "llama-server", 6 * GB, pci=PCI, user="ben")]
    rounds.load()
    rounds.wanted = rounds.job
    rounds.until(lambda: "llama-server (pid 4711, ben) holds 6.0 GB, and Ollama does not list it" in rounds.keeper.why)
    rounds.until(lambda: ollama.listed() == ["judge:latest"], "the model back")
    before = len(ollama.unloads())
    rounds.rounds(3.0)
    assert len(ollama.unloads()) == before and ollama.listed() == ["judge:latest"]
    rounds.others = []
    rounds.until(lambda: rounds.keeper.ready_for(rounds.job), "the GPU")
    rounds.keeper.close()


def test_a_model_that_does_not_load_any_more_holds_up_no_other_and_takes_none_away(
    tmp_path: Path, ollama: OllamaStandin
) -> None:
    """A server lets others go to make room for one, and then finds that it does not fit all the same."""
    rounds = Rounds(tmp_path, ollama, retry_seconds=1.0)
    rounds.load("judge")
    rounds.load("planner")
    rounds.until_ready()
    rounds.rounds(0.2)
    ollama.scheduler.memory_bytes = 3 * GB
    rounds.end_job()
    rounds.until(lambda: any("judge:latest could not be loaded again" in note for note in rounds.notes), "why")
    rounds.until(lambda: not rounds.keeper.busy, "what can come back", 20.0)
    assert ollama.listed() == ["planner:latest"]
    assert "judge:latest does not fit beside planner:latest any more: it is left so" in rounds.notes


def test_a_new_runner_loads_nothing_for_a_moment_before_the_job_that_waits(
    tmp_path: Path, ollama: OllamaStandin
) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.load()
    rounds.until_ready()
    rounds.rounds(0.2)
    rounds.keeper.close()
    rounds.end_job()
    rounds.keeper = GpuLeaseManager(rounds.home, CARD, GpuSettings(**QUICK), OllamaSettings(url=ollama.url))
    before = len(ollama.requests)
    rounds.wanted = rounds.second
    rounds.until(lambda: rounds.keeper.ready_for(rounds.second), "the GPU")
    assert [one.path for one in ollama.requests[before:] if one.path == "/api/generate"] == []
    rounds.keeper.close()


def test_a_clock_that_is_set_back_freezes_nothing(
    tmp_path: Path, ollama: OllamaStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds(tmp_path, ollama)
    rounds.load()
    rounds.until_ready()
    rounds.rounds(0.3)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    rounds.end_job()
    rounds.until(lambda: not rounds.keeper.busy, "the model back", 8.0)
    assert ollama.listed() == ["judge:latest"]


def test_what_no_request_should_end_with_is_told_and_passes(
    tmp_path: Path, ollama: OllamaStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.serving.ollama import Ollama

    rounds = Rounds(tmp_path, ollama)
    rounds.until(lambda: rounds.keeper.state.server == "Ollama 0.24.0")
    with monkeypatch.context() as patched:

        def broken(self: Ollama) -> None:
            raise RuntimeError("certificates are gone")

        patched.setattr(Ollama, "ps", broken)
        rounds.wanted = rounds.job
        rounds.until(lambda: "certificates are gone" in (rounds.keeper.state.server_problem or ""))
    rounds.until(lambda: rounds.keeper.state.server_problem is None)
    rounds.until_ready()
    assert rounds.keeper.state.server == "Ollama 0.24.0"


def test_a_server_of_another_machine_is_left_alone(
    tmp_path: Path, ollama: OllamaStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://192.0.2.7:11434")
    rounds = Rounds(tmp_path, ollama, server={"url": None})
    rounds.until_ready()
    assert "is another machine's" in rounds.notes[0]
    assert not rounds.keeper.models.managed and rounds.keeper.state.server_problem is None


def test_a_model_in_use_for_longer_than_it_would_stay_is_noted_and_comes_back(
    tmp_path: Path, ollama: OllamaStandin
) -> None:
    """The server then lists an hour that has passed, as it does of one that is on its way out."""
    rounds = Rounds(tmp_path, ollama)
    rounds.rounds(0.3)
    with rounds.keeper_client() as client:
        client.load("judge", context_length=4096, keep_alive_seconds=1)
    with ollama.answering("judge", 4.0, num_ctx=4096):
        rounds.rounds(2.0)
        rounds.wanted = rounds.job
        rounds.until(lambda: rounds.keeper.state.displaced == ("judge:latest",), "that it is noted")
    rounds.until(lambda: rounds.keeper.ready_for(rounds.job), "the GPU")
    rounds.keeper.hand_over().release()
    rounds.wanted = None
    rounds.until(lambda: not rounds.keeper.busy, "all back")
    assert ollama.listed() == ["judge:latest"]
