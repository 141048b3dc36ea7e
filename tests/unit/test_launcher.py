"""Another launcher beside the local one: a runner that works with it needs nothing of this machine's processes.

The launcher here stands for a batch system: it keeps its jobs in a list, and the test says what becomes of them.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from core.attempt import launcher as launchers
from core.attempt.launcher import Activity, Observation
from core.config.settings import QueueSettings, Settings
from core.files import read_json, write_json
from core.gpu.devices import Gpu
from core.gpu.reading import Sample
from core.gpu_lease.lock import Lease
from core.home import AttemptDir, Home
from core.reasons import Reason
from core.runner.commands import carry_out
from core.runner.loop import Runner
from core.store.attempts import living_attempts
from core.store.commands import get_command, insert_command
from core.store.jobs import JobRow, get_job
from tests.support.clock import FakeClock
from tests.support.stored import add_job, fresh


class Batch:
    """A batch system of which every attempt is told by its path."""

    name = "batch"
    attempts: dict[Path, Observation]
    signals: list[tuple[Path, signal.Signals, str]]

    def __init__(self, home: Home, gpu: Gpu | None) -> None: ...

    def warning(self) -> str | None:
        return None

    def start(self, attempt: AttemptDir, python: str, lease: Lease | None, remedies: Mapping[str, str]) -> str:
        self.attempts[attempt.path] = Observation("alive")
        return "batch system"

    def observe(self, attempt: AttemptDir, boot_id: str) -> Observation:
        return self.attempts.get(attempt.path, Observation("never_started"))

    def activity(self, attempt: AttemptDir) -> Activity | None:
        return None

    def owns(self, attempt: AttemptDir, pid: int) -> bool:
        return False

    def signal(self, attempt: AttemptDir, number: signal.Signals, by: str) -> bool:
        self.signals.append((attempt.path, number, by))
        return self.attempts[attempt.path].condition == "alive"


class NoSamples:
    def news(self) -> Sample | None:
        return None


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Home, sqlite3.Connection]]:
    monkeypatch.setitem(launchers.LAUNCHERS, "batch", f"{__name__}:Batch")
    monkeypatch.setattr(launchers, "DEFAULT", "batch")
    monkeypatch.setattr(Batch, "attempts", {}, raising=False)
    monkeypatch.setattr(Batch, "signals", [], raising=False)
    home, connection = fresh(tmp_path)
    yield home, connection
    connection.close()


def runner_of(home: Home, connection: sqlite3.Connection, clock: FakeClock) -> Runner:
    settings = Settings(queue=QueueSettings(stop_grace_seconds=10, min_free_disk_bytes=0))
    return Runner(
        home,
        connection,
        gpu=None,
        settings=settings,
        told_to_leave=[],
        sampling=NoSamples(),
        clock=clock,  # type: ignore[arg-type]
    )


def queued(home: Home, connection: sqlite3.Connection) -> int:
    job = add_job(connection)
    run = home.run_dir(job)
    run.path.mkdir(parents=True)
    run.job_file.write_text("python: /usr/bin/python3\n")
    return job


def attempt_of(home: Home, job: JobRow) -> AttemptDir:
    return home.run_dir(job.id).attempt(job.attempt)


def test_a_job_goes_its_way_with_a_launcher_that_knows_no_process_of_this_machine(
    store: tuple[Home, sqlite3.Connection],
) -> None:
    home, connection = store
    clock = FakeClock()
    job = queued(home, connection)
    runner = runner_of(home, connection, clock)
    runner.tick()
    started = get_job(connection, job)
    assert started.state == "starting"
    (row,) = living_attempts(connection)
    assert row.protection == "batch system"

    attempt = attempt_of(home, started)
    attempt.events.write_text('{"seq": 1, "time": 1.0, "kind": "step", "step": 1, "total": 2}\n')
    runner.tick()
    assert get_job(connection, job).state == "running"

    # Cancelled, it is asked, then signalled through the same launcher.
    command = insert_command(connection, "cancel", job, {}, "anna")
    carry_out(home, connection, get_command(connection, command))
    for _ in range(12):
        runner.tick()
        clock.pass_time(1)
    assert Batch.signals == [(attempt.path, signal.SIGINT, "runner")]

    Batch.attempts[attempt.path] = Observation("ended", exit_code=75)
    runner.tick()
    assert get_job(connection, job).state == "cancelled"


def test_an_attempt_is_followed_by_the_launcher_that_started_it(
    store: tuple[Home, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, connection = store
    clock = FakeClock()
    job = queued(home, connection)
    runner_of(home, connection, clock).tick()
    attempt = attempt_of(home, get_job(connection, job))
    assert read_json(attempt.launcher) == {"name": "batch"}

    # The next runner starts its jobs on this machine, and would see that no process of this one lives here.
    monkeypatch.setattr(launchers, "DEFAULT", "local")
    successor = runner_of(home, connection, clock)
    successor.tick()
    assert get_job(connection, job).state == "starting"

    run = home.run_dir(job)
    write_json(run.result, {"message": "2 steps", "artefacts": [], "summary": {}})
    Batch.attempts[attempt.path] = Observation("ended", exit_code=0)
    successor.tick()
    done = get_job(connection, job)
    assert (done.state, done.reason) == ("done", Reason("done", {"message": "2 steps"}))


@pytest.mark.parametrize("gone_first", [True, False])
def test_a_runner_whose_home_is_gone_ends_also_where_it_went_while_the_runner_was_made(
    store: tuple[Home, sqlite3.Connection], gone_first: bool
) -> None:
    home, connection = store
    if gone_first:
        shutil.rmtree(home.root)
    runner = runner_of(home, connection, FakeClock())
    if not gone_first:
        assert not runner.moved()
        shutil.rmtree(home.root)
    assert runner.moved()
