"""A job that lacks host memory which a served model holds: it makes way for the job, but not again and again for nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config.settings import Settings
from core.gpu_lease.cpu_slot import CpuSlot
from core.gpu_lease.host_room import HostRoom
from core.home import Home
from core.jobfile.gpu_use import EXCLUSIVE, GpuUse, GpuUses
from core.runner.starter import Starter
from core.store.database import transaction
from core.store.fleet import LLAMA_SERVER, Target, insert_alias
from core.store.fleet_changes import finish_change, open_change, set_phase
from core.store.jobs import get_job
from tests.support.clock import FakeClock
from tests.support.played_shim import PlayedShim
from tests.support.stored import add_job, fresh

GB = 1_000_000_000
NEEDED = int(9.5 * GB)
ROUND_SECONDS = 0.5


class Machine:
    """A machine without a GPU with a served model, and the part of a runner that starts jobs. `available` is its free memory
    while the model is there; `returns` what is free besides once it is gone."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.connection: sqlite3.Connection
        _, self.connection = fresh(folder)
        self.home, self.clock, self.launched = Home(folder).create(), FakeClock(), []
        self.available, self.returns = 9 * GB, GB
        self.note = PlayedShim(self.home, self.clock)
        self.uses = GpuUses(self.home)
        settings = Settings()
        slot = CpuSlot(self.home, settings.gpu, settings.ollama, self.uses, clock=self.clock)
        never: Any = None
        self.starter = Starter(
            self.home, self.connection, settings, never, never, gpu=None, keeper=None, cpu_slot=slot, uses=self.uses
        )
        self.starter.host_room = HostRoom(self.clock, settings.gpu.retry_seconds)
        patch.setattr(self.starter, "launch", lambda job, lease: self.launched.append(job.id))
        for place in ("core.runner.starter", "core.runner.schedule"):
            patch.setattr(f"{place}.available_bytes", lambda: self.available + (0 if self.note.runs else self.returns))
        patch.setattr("core.gpu_lease.host_room.own_bytes", lambda folder: GB if self.note.runs else 0)

    def submit(self, use: GpuUse = EXCLUSIVE) -> int:
        job = add_job(self.connection, host_memory_bytes=NEEDED)
        self.uses._read[job] = use
        return job

    def rounds(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        for _ in range(round(seconds / ROUND_SECONDS)):
            self.clock.pass_time(ROUND_SECONDS)
            self.note.round()
            self.starter.start_what_may()
            if until():
                return


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    return Machine(tmp_path, monkeypatch)


def test_what_a_served_model_holds_is_room_for_a_job_that_it_makes_way_for(machine: Machine) -> None:
    job = machine.submit()
    machine.rounds(30, lambda: machine.launched)
    assert machine.launched == [job] and machine.note.phase == "away"


def test_nobody_makes_way_where_that_is_not_enough(machine: Machine) -> None:
    machine.available = 8 * GB
    job = machine.submit()
    machine.rounds(60)
    reason = get_job(machine.connection, job).reason
    assert machine.launched == [] and machine.note.serves and machine.note.starts == 1
    assert (reason.code, reason.values["free_bytes"]) == ("host_memory_low", 8 * GB)
    machine.available = 9 * GB
    machine.rounds(30, lambda: machine.launched)
    assert machine.launched == [job], "as soon as it is"


def test_where_less_came_back_it_serves_and_is_sent_away_later_each_time(machine: Machine) -> None:
    machine.returns = GB // 4
    job = machine.submit()
    machine.rounds(300)
    assert machine.launched == [] and 3 <= machine.note.starts <= 5, "after 30, 60 and 120 s"
    machine.returns = GB
    machine.rounds(600, lambda: machine.launched)
    assert machine.launched == [job]


def test_a_job_that_asks_a_server_counts_on_nothing(machine: Machine) -> None:
    job = machine.submit(GpuUse("serving", {}, loads_models=False))
    machine.rounds(30)
    assert machine.launched == [] and machine.note.serves
    assert get_job(machine.connection, job).reason.code == "host_memory_low"


def test_a_job_that_asks_a_server_waits_while_the_model_of_an_alias_is_replaced(machine: Machine) -> None:
    machine.available = 20 * GB
    connection = machine.connection
    with transaction(connection):
        alias = insert_alias(connection, server=LLAMA_SERVER, url="", name="note", name_key="note")
        change = open_change(
            connection, alias_id=alias.id, kind="promote", author="Ada", target=Target("four", "ab"), from_version=None
        )
        set_phase(connection, change.id, "loading")
    job = machine.submit(GpuUse("serving", {}, beside_programs=True))
    machine.rounds(30)
    reason = get_job(connection, job).reason
    assert (machine.launched, reason.code, reason.values["alias"]) == ([], "alias_moving", "note")
    finish_change(connection, change.id, "failed")
    machine.rounds(2)
    assert get_job(connection, job).reason.code != "alias_moving"


def test_a_change_that_waits_for_a_job_that_asks_comes_before_those_in_the_queue(machine: Machine) -> None:
    """Else a rollback comes after all bake-offs of a night."""
    machine.available = 20 * GB
    connection = machine.connection
    with transaction(connection):
        alias = insert_alias(connection, server=LLAMA_SERVER, url="", name="note", name_key="note")
        change = open_change(
            connection, alias_id=alias.id, kind="rollback", author="Ada", target=Target("four", "ab"), from_version=None
        )
        set_phase(connection, change.id, "waiting_for_job")
    job = machine.submit(GpuUse("serving", {}, beside_programs=True))
    machine.rounds(10)
    assert machine.launched == [] and get_job(connection, job).reason.code == "alias_moving"
    finish_change(connection, change.id, "failed")
    machine.rounds(2)
    assert get_job(connection, job).reason.code != "alias_moving"
