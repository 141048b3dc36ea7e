"""Served models and the jobs of their home: a real runner, a real shim, a stand-in for llama-server.

Gone before a job that has the GPU or the CPU's slot to itself begins, back after it, whoever is killed in between.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.cli.main import main
from core.home import Home
from core.process.ports import free_port
from core.reasons import Reason
from core.served.away import away_for
from core.served.control import start, stop
from core.served.llama_server import has_loaded
from core.served.record import ServedModelRecord, write_record
from core.served.state import read_state
from tests.support.forked import CHECKOUT
from tests.support.leasebench import IDLE_BYTES, TOLERANCE_BYTES, LeaseBench, lease_bench
from tests.support.queueing import Queue, alive, kill
from tests.support.served_models import all_ended, reached
from tests.support.standin_llama_server import command_of
from tests.support.waiting import wait_until

SERVED_BYTES = 2_000_000_000
TRAINING = "steps=6 waits=3"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim that finds no runner starts one soon."""
    monkeypatch.setenv("BAKEHOUSE_RUNNER_MISSING_SECONDS", "1")


@pytest.fixture
def bench(soon: None, machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseBench]:
    with lease_bench(machine, monkeypatch) as made:
        yield made


def serves(home: Home, record: ServedModelRecord) -> int:
    """Wait until it serves at its port; the pid of its server."""
    state = reached(home, "note", "serving")
    assert state.pid is not None and has_loaded(state.pid, record.port)
    return state.pid


def starts(home: Home) -> int:
    return len((home.root / "m.starts").read_text().split())


@contextlib.contextmanager
def served_model(home: Home, *, on_gpu: bool = False, vram_bytes: int = 0) -> Iterator[ServedModelRecord]:
    """The served model `note`, with a stand-in as its llama-server; it ends with the block."""
    model, port = home.root / "m.gguf", free_port()
    model.write_text(f"vram={vram_bytes}" if vram_bytes else "")
    record = ServedModelRecord(
        "note", model, "sha256:ab", "note", "tiny", 1, command_of(model, port), port, 2048,
        on_gpu=on_gpu, environment={"PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    write_record(home, record)
    with all_ended(home):
        start(home, "note")
        yield record


def test_it_is_gone_before_a_job_has_the_gpu_and_back_after_it_though_the_runner_is_killed(bench: LeaseBench) -> None:
    queue, sim, home = bench.queue, bench.sim, bench.queue.home
    queue.start_runner()
    bench.wait_learnt()
    with served_model(home, on_gpu=True, vram_bytes=SERVED_BYTES) as record:
        server = serves(home, record)
        wait_until(lambda: [one.name for one in bench.gpu.served] == ["note"], what=lambda: f"it is seen: {bench.gpu}")
        wait_until(lambda: bench.gpu.served[0].size_vram_bytes >= SERVED_BYTES, what=lambda: f"its memory: {bench.gpu}")
        training = bench.submit(f"{TRAINING} vram=8e9", 8_000_000_000)
        queue.wait_for(training, "running")
        assert sim.used_at(bench.submitted_at(training)) >= IDLE_BYTES + SERVED_BYTES
        assert bench.used_at_start(training) <= IDLE_BYTES + TOLERANCE_BYTES
        assert not alive(server) and reached(home, "note", "away").pid is None
        assert bench.wait_gpu("held").served_away == ("note",)

        # Nobody starts another runner: its shim and the job's do.
        former = queue.kill_runner()
        wait_until(lambda: queue.runner_alive() and queue.runner_pid() != former, what="another runner")
        wait_until(lambda: bench.gpu.cause == "job_found", what=lambda: f"the job is found: {bench.gpu}")
        assert away_for(home.served_dir("note")) == [training]

        queue.go_on(training)
        queue.wait_for(training, "done")
        queue.kill_runner()
        assert serves(home, record) != server
        wait_until(lambda: not home.served_dir("note").away.exists(), what="nothing is left to do")
        assert starts(home) == 2
        asking = bench.submit(f"steps=4 waits=3 asks=judge of={bench.ollama.url}")
        queue.wait_for(asking, "running")
        assert read_state(home, "note").phase == "serving", "a job that asks a server leaves it"
        queue.go_on(asking)


def test_without_a_gpu_it_is_away_while_a_job_has_the_slot(queue: Queue) -> None:
    queue.start_runner()
    with served_model(queue.home) as record:
        server = serves(queue.home, record)
        training, beside = queue.submit(TRAINING), queue.submit("steps=2", "cpu")
        queue.wait_for(training, "running")
        assert not alive(server)
        queue.wait_for(beside, "done")
        stop(queue.home, "note")
        start(queue.home, "note")
        assert reached(queue.home, "note", "away").reason == Reason("away", {"jobs": [training]}), (
            "started now, it is away"
        )
        assert starts(queue.home) == 1
        queue.go_on(training)
        queue.wait_for(training, "done")
        serves(queue.home, record)
        assert starts(queue.home) == 2


@pytest.mark.usefixtures("soon")
def test_where_no_runner_may_start_it_comes_back_by_itself_once_the_job_is_over(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue.start_runner()
    with served_model(queue.home) as record:
        serves(queue.home, record)
        training = queue.submit(TRAINING)
        queue.wait_for(training, "running")
        monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
        with pytest.raises(SystemExit):
            main(["runner", "stop", "--json"])
        said = json.loads(capsys.readouterr().out)
        assert (said["serving"], said["away"]) == ([], ["note"])
        assert not queue.runner_alive()
        time.sleep(2.0)
        assert read_state(queue.home, "note").phase == "away", "the job goes on"
        queue.go_on(training)
        serves(queue.home, record)
        assert not queue.runner_alive()
        with pytest.raises(SystemExit):
            main(["runner", "stop"])
        assert "▶ note serves on" in capsys.readouterr().out


def test_a_job_that_is_cancelled_before_it_starts_keeps_nothing_away(queue: Queue) -> None:
    queue.start_runner()
    with served_model(queue.home) as record:
        server = serves(queue.home, record)
        first, second = queue.submit(TRAINING), queue.submit(TRAINING)
        queue.wait_for(first, "running")
        assert not alive(server)
        queue.ask("cancel", second)
        queue.wait_for(second, "cancelled")
        queue.ask("cancel", first)
        queue.wait_for(first, "cancelled")
        assert serves(queue.home, record) != server
        assert starts(queue.home) == 2


def test_a_runner_lives_as_long_as_a_served_model_does(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "0.2")
    with served_model(queue.home) as record:
        serves(queue.home, record)
        queue.start_runner()
        pid = queue.runner_pid()
        time.sleep(2.0)
        assert queue.runner_alive() and queue.runner_pid() == pid
        stop(queue.home, "note")
        wait_until(lambda: not queue.runner_alive(), what="the runner's end")


def test_what_was_killed_with_its_shim_is_started_again(queue: Queue) -> None:
    with served_model(queue.home) as record:
        server = serves(queue.home, record)
        shim = read_state(queue.home, "note").shim
        assert shim is not None
        kill(shim.pid)
        wait_until(lambda: not alive(server), what="its server follows")
        assert read_state(queue.home, "note").phase == "stopped"
        queue.start_runner()
        assert serves(queue.home, record) != server
