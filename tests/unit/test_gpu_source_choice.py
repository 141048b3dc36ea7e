"""The source that works is read; one that fails or hangs is dropped with a message and tried again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import InputError
from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.source_choice import RECHECK_SECONDS, RETRY_SECONDS, ChosenSource, choose_source
from core.gpu.source_timeout import Guard
from core.gpu.sources.none import NoGpuSource
from tests.support.waiting import PATIENCE_SECONDS, wait_until


class Gpu:
    """A source whose behaviour the test sets: present or not, and what reading it does."""

    name = "card"

    def __init__(self) -> None:
        self.present = True
        self.fault: Exception | None = None
        self.blocked = threading.Event()
        self.blocked.set()
        self.threads: set[int] = set()

    def available(self) -> bool:
        self.threads.add(threading.get_ident())
        return self.present

    def read(self) -> tuple[list[DeviceReading], list[ProcessReading]]:
        self.threads.add(threading.get_ident())
        self.blocked.wait()
        if self.fault:
            raise self.fault
        return [DeviceReading(0, "Card", "amd", vram_used_bytes=5)] if self.present else [], []


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def card() -> Iterator[Gpu]:
    card = Gpu()
    yield card
    card.blocked.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chosen(card: Gpu, clock: Clock) -> Iterator[ChosenSource]:
    chosen = ChosenSource([card, NoGpuSource()], limit_seconds=PATIENCE_SECONDS, clock=clock)
    yield chosen
    chosen.close()


def test_the_first_source_that_is_available_answers(chosen: ChosenSource) -> None:
    readout = chosen.read()
    assert (readout.source, readout.problem, len(readout.devices)) == ("card", None, 1)


def test_a_source_that_is_not_there_is_no_problem_and_is_looked_for_again(
    chosen: ChosenSource, card: Gpu, clock: Clock
) -> None:
    card.present = False
    assert (chosen.read().source, chosen.read().problem) == ("none", None)
    card.present = True
    assert chosen.read().source == "none"
    clock.now += RECHECK_SECONDS
    assert chosen.read().source == "card"


@pytest.mark.parametrize("fault", [SourceError("the driver answers nonsense"), ZeroDivisionError("a fault of ours")])
def test_a_source_that_fails_is_reported_and_retried(
    chosen: ChosenSource, card: Gpu, clock: Clock, fault: Exception
) -> None:
    chosen.read()
    card.fault = fault
    readout = chosen.read()
    assert (readout.source, readout.devices) == ("none", ())
    assert str(fault) in (readout.problem or "")
    card.fault = None
    assert chosen.read().problem == readout.problem, "it rests, and the problem stays in sight"
    clock.now += RETRY_SECONDS
    readout = chosen.read()
    assert (readout.source, readout.problem) == ("card", None)


def test_a_card_that_disappears_is_a_problem(chosen: ChosenSource, card: Gpu) -> None:
    chosen.read()
    card.present = False
    assert "no GPU any more" in (chosen.read().problem or "")


def test_a_hanging_source_holds_up_nobody_and_is_read_again_when_it_answers(
    chosen: ChosenSource, card: Gpu, clock: Clock
) -> None:
    chosen.read()
    card.blocked.clear()
    limited = chosen._groups[0][0].guard
    limited.limit_seconds = 0.1
    readout = chosen.read()
    assert readout.source == "none"
    assert "has not answered" in (readout.problem or "")
    limited.limit_seconds = 10 * PATIENCE_SECONDS
    start = time.monotonic()
    for _ in range(5):
        clock.now += RETRY_SECONDS
        assert "has not answered" in (chosen.read().problem or "")
    assert time.monotonic() - start < PATIENCE_SECONDS, "while it hangs, the limit is not waited for again"
    assert len(card.threads) == 1, "one thread is left behind, not one a try"
    card.blocked.set()

    def read_again() -> bool:
        clock.now += RETRY_SECONDS
        return chosen.read().source == "card"

    wait_until(read_again, what="the card")


def test_a_timeout_raised_by_the_source_itself_is_not_taken_for_a_hang(card: Gpu) -> None:
    guard = Guard(card, limit_seconds=PATIENCE_SECONDS)
    card.fault = TimeoutError("the bus timed out")
    with pytest.raises(SourceError, match="the bus timed out"):
        guard.read()
    guard.close()


def test_a_guard_that_was_closed_starts_again(card: Gpu) -> None:
    guard = Guard(card)
    guard.read()
    guard.close()
    assert guard.available()
    guard.close()


def test_the_environment_forces_a_source(tmp_path: Path) -> None:
    (tmp_path / "class/drm").mkdir(parents=True)
    readout = choose_source({"BAKEHOUSE_GPU_SOURCE": "sysfs", "BAKEHOUSE_SYSFS": str(tmp_path)}).read()
    assert (readout.source, readout.devices) == ("sysfs", ())
    assert "no GPU" in (readout.problem or "")
    assert choose_source({"BAKEHOUSE_GPU_SOURCE": "none"}).read().source == "none"


def test_a_source_that_does_not_exist_is_an_error_with_the_choice() -> None:
    with pytest.raises(InputError, match="sysfs, amd-smi, rocm-smi, nvml, nvidia-smi, none") as caught:
        choose_source({"BAKEHOUSE_GPU_SOURCE": "sysf"})
    assert caught.value.key == "BAKEHOUSE_GPU_SOURCE"


def test_a_moved_sysfs_with_a_card_is_chosen_by_itself(tmp_path: Path) -> None:
    device = tmp_path / "class/drm/card0/device"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x1002\n")
    (device / "mem_info_vram_total").write_text("8000000000\n")
    readout = choose_source({"BAKEHOUSE_SYSFS": str(tmp_path)}).read()
    assert (readout.source, readout.devices[0].vram_total_bytes) == ("sysfs", 8000000000)
