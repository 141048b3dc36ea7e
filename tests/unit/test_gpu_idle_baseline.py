"""Idle use of a GPU: what is learnt of it, and what is not; and whose the rest of the memory is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.gpu.idle_baseline import IdleBaseline, most_bytes, read_baselines
from core.gpu.memory_owners import memory_owners
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample

PCI = "0000:2b:00.0"
GB, MB = 1_000_000_000, 1_000_000
IDLE = 310 * MB


def reading(used: int, *held: int, names: tuple[str | None, ...] = ()) -> Sample:
    device = DeviceReading(0, "Stand-in", "amd", PCI, 17 * GB, used)
    named = [*names, *["python"] * len(held)]
    processes = tuple(ProcessReading(100 + i, named[i], size, pci=PCI) for i, size in enumerate(held))
    return Sample(1000.0, "test", HostReading(), (device,), processes)


@pytest.fixture
def baseline(tmp_path: Path) -> IdleBaseline:
    return IdleBaseline(tmp_path / "idle.json", "this boot")


def learn(baseline: IdleBaseline, times: int, used: int, *held: int, served: int = 0) -> int | None:
    for _ in range(times):
        baseline.observe(reading(used, *held), served)
    return baseline.of(PCI)


def test_it_is_known_after_three_samples_and_outlives_the_runner_but_not_the_boot(baseline: IdleBaseline) -> None:
    assert learn(baseline, 2, IDLE) is None
    assert learn(baseline, 1, IDLE) == IDLE
    assert read_baselines(baseline.file, "this boot") == {PCI: IDLE}
    assert read_baselines(baseline.file, "the next") == {}


def test_what_processes_and_a_server_hold_is_no_idle_use(baseline: IdleBaseline) -> None:
    assert learn(baseline, 3, IDLE + 5 * GB, 5 * GB) == IDLE


def test_what_a_server_tells_of_and_no_process_shows_is_no_idle_use(baseline: IdleBaseline) -> None:
    assert learn(baseline, 3, IDLE + 5 * GB, served=5 * GB) == IDLE


def test_a_server_that_says_it_holds_more_than_is_in_use_is_not_believed(baseline: IdleBaseline) -> None:
    """It lists a model whose process has died: the idle use is learnt all the same."""
    assert learn(baseline, 3, IDLE, served=5 * GB) == IDLE


def test_memory_that_nobody_is_named_for_is_not_taken_for_idle_use(baseline: IdleBaseline) -> None:
    """In a container, say, where the processes outside are not seen."""
    cap = most_bytes(reading(0).devices[0])
    assert learn(baseline, 3, IDLE + 9 * GB) == cap < 3 * GB
    assert learn(baseline, 3, IDLE) == IDLE, "once that is gone"


def test_one_sample_that_is_too_low_teaches_nothing(baseline: IdleBaseline) -> None:
    learn(baseline, 3, IDLE)
    assert learn(baseline, 1, 20 * MB) == IDLE
    assert learn(baseline, 2, IDLE) == IDLE


def test_shares_that_are_more_than_what_is_used_teach_nothing(baseline: IdleBaseline) -> None:
    learn(baseline, 3, IDLE)
    assert learn(baseline, 20, 12 * GB, 13 * GB) == IDLE, "a run that spills, counted with what is spilled"
    assert learn(baseline, 20, 12 * GB, 12 * GB - 100 * MB) == IDLE, "nor while anybody works"


def test_a_desktop_that_grows_unseen_raises_it_slowly_and_a_leak_does_not(baseline: IdleBaseline) -> None:
    learn(baseline, 3, IDLE)
    assert learn(baseline, 119, IDLE + 500 * MB) == IDLE
    assert learn(baseline, 1, IDLE + 500 * MB) == IDLE + 500 * MB
    assert learn(baseline, 400, IDLE + 500 * MB + 4 * GB) == IDLE + 500 * MB
    assert learn(baseline, 3, IDLE) == IDLE


def whose(sample: Sample, served: int = 0, idle: int | None = IDLE) -> Any:
    known = memory_owners(sample, sample.devices[0], idle, served)
    assert known is not None
    return known


def test_a_process_without_a_name_is_the_server_s_as_long_as_that_tells_of_more() -> None:
    sample = reading(IDLE + 5 * GB, 5 * GB, names=(None,))
    assert (whose(sample, 5 * GB).served_bytes, whose(sample, 5 * GB).others) == (5 * GB, ())
    assert whose(sample).served_bytes == 0 and whose(sample).others_bytes == 5 * GB


def test_what_a_server_tells_of_and_no_process_shows_is_its_own_and_told_apart() -> None:
    known = whose(reading(IDLE + 5 * GB), 5 * GB)
    assert (known.served_bytes, known.unseen_bytes, known.idle_bytes, known.unowned_bytes) == (5 * GB, 5 * GB, IDLE, 0)
    assert known.servers == ()
    unlearnt = whose(reading(IDLE + 5 * GB), 5 * GB, None)
    assert (unlearnt.served_bytes, unlearnt.idle_bytes) == (5 * GB, IDLE)


def test_where_the_driver_shows_a_server_s_share_that_counts_and_not_what_the_server_says() -> None:
    """A model that did not fit lies in the host's memory, beside memory of nobody."""
    known = whose(reading(IDLE + 13 * GB, 3 * GB, names=("ollama",)), 7 * GB)
    assert (known.served_bytes, known.unseen_bytes, known.unowned_bytes) == (3 * GB, 0, 10 * GB)
    assert [one.name for one in known.servers] == ["ollama"]


def test_a_server_that_lists_what_has_gone_takes_no_idle_use() -> None:
    known = whose(reading(IDLE), 4 * GB)
    assert (known.served_bytes, known.idle_bytes) == (0, IDLE)
