"""The home's served models on a machine without a GPU: away for a job that has the slot to itself, there for one that asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.config.settings import GpuSettings, OllamaSettings
from core.gpu_lease.cpu_slot import CpuSlot
from core.home import Home
from core.jobfile.gpu_use import EXCLUSIVE, GpuUse, GpuUses
from core.reasons import Reason
from core.serving.modelserver import ModelServer
from core.store.jobs import JobRow
from tests.support.clock import FakeClock
from tests.support.fake_model_server import FakeModelServer
from tests.support.fake_ollama import FakeOllama
from tests.support.leasesim import ROUND_SECONDS, job
from tests.support.played_shim import PlayedShim

TRAINING, BAKEOFF = job(1), job(2)


class Slot:
    """A slot with a served model, and the rounds of its runner."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home").create()
        self.clock = FakeClock()
        self.note = PlayedShim(self.home, self.clock)
        self.wanted: JobRow | None = None
        self.holder: JobRow | None = None
        self.next_runner()

    def next_runner(self) -> None:
        uses = GpuUses(self.home)
        uses._read |= {TRAINING.id: EXCLUSIVE, BAKEOFF.id: GpuUse("serving", {}, loads_models=False)}

        def connect(url: str | None, clock: object) -> ModelServer:
            return FakeModelServer(FakeOllama(self.clock))

        settings = GpuSettings(clear_seconds=10.0)
        self.slot = CpuSlot(self.home, settings, OllamaSettings(), uses, clock=self.clock, connect=connect)

    def round(self) -> Reason | None:
        self.clock.pass_time(ROUND_SECONDS)
        self.note.round()
        return self.slot.tick(self.holder, self.wanted)

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(1000):
            self.round()
            if condition():
                return
        raise AssertionError("not within 200 simulated seconds")

    def start(self, wanted: JobRow) -> set[str]:
        """It starts as soon as it may; the codes of what it waited for."""
        self.wanted, waited = wanted, set()
        for _ in range(1000):
            if (why := self.round()) is None:
                self.holder, self.wanted = wanted, None
                return waited
            waited.add(why.code)
        raise AssertionError(f"it waits: {waited}")


@pytest.fixture
def slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slot:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    return Slot(tmp_path)


def test_it_is_away_for_a_training_and_back_after_it(slot: Slot) -> None:
    assert slot.start(TRAINING) == {"stopping_served"}
    assert slot.note.phase == "away" and slot.slot.busy
    slot.until(lambda: True)
    slot.next_runner()
    for _ in range(20):
        slot.round()
    assert slot.note.phase == "away", "another runner leaves it away"
    slot.holder = None
    slot.until(lambda: slot.note.serves and not slot.slot.busy)
    assert slot.note.starts == 2


def test_a_bake_off_that_asks_leaves_it_and_waits_for_it(slot: Slot) -> None:
    slot.start(BAKEOFF)
    for _ in range(20):
        slot.round()
    assert slot.note.serves
    slot.holder = None
    slot.start(TRAINING)
    slot.holder = None
    assert "starting_served" in slot.start(BAKEOFF)
    assert slot.note.serves and slot.note.starts == 2


def test_one_that_is_started_during_a_training_is_away(slot: Slot) -> None:
    slot.note.folder.stopped.touch()
    slot.start(TRAINING)
    slot.note.folder.stopped.unlink()
    for _ in range(10):
        slot.round()
    assert slot.note.phase == "away" and slot.note.starts == 1


def test_one_that_does_not_go_holds_up_no_training(slot: Slot) -> None:
    slot.note.ends_seconds = 1e6
    assert slot.start(TRAINING) == {"stopping_served"}
    assert slot.clock.monotonic() > 10.0 and slot.note.runs
    assert slot.slot.notes.kept[-1].reason.code == "served_still_there"
