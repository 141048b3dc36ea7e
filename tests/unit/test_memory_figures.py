"""In use, free and usable by a job are one figure each, in plan, `bakehouse gpu`, GPU pane and form."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cli.gpu_table import table
from core.cli.readings import Reading
from core.format import data_size, gb
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.gpu_lease.state import LeaseState, ResidentModel
from core.vram.budget import budget_of
from tui.model.gpu_facts import room
from tui.model.snapshot import Snapshot
from tui.panes.gpu.memory import gpu_rows

PCI = "0000:2b:00.0"
GB = 1_000_000_000


def played(
    total: int, idle: int, served: int, other: int, *, shown: bool, stay: bool
) -> tuple[Sample, LeaseState, DeviceReading]:
    """A GPU with so much of everything; `shown`: the driver shows whose memory it is."""
    device = DeviceReading(
        0, "RX", "amd", PCI, vram_total_bytes=total, vram_used_bytes=idle + served + other, for_jobs=True
    )
    processes = [ProcessReading(7, "ollama", served, pci=PCI), ProcessReading(9, "blender", other, pci=PCI)]
    running = tuple(one for one in processes if shown and one.vram_bytes)
    sample = Sample(1.0, "sysfs", HostReading(), (device,), running)
    residents = (ResidentModel("judge", served, 4096, None),) if served else ()
    state = LeaseState(
        time=1.0, pci=PCI, residents=residents, baseline_bytes=idle, models_stay=stay, tolerance_bytes=GB // 2
    )
    return sample, state, device


def figures(sample: Sample, state: LeaseState, device: DeviceReading) -> dict[str, set[str]]:
    """What each part says is in use, free and usable, to a tenth of a GB."""
    served = sum(model.size_vram_bytes for model in state.residents)
    budget = budget_of(
        sample,
        idle_bytes=state.baseline_bytes,
        served_bytes=served,
        models_stay=state.models_stay,
        tolerance_bytes=state.tolerance_bytes,
    )
    said = "\n".join(table(Reading(sample, "runner", 0.1, PCI, None, state, True)))
    snapshot = Snapshot(time=1.0, samples=(sample,), lease_state=state)
    pane = " ".join(row.plain for row in gpu_rows(snapshot, device, 200))
    known = room(snapshot)
    assert known is not None

    def found(pattern: str, text: str) -> str:
        match = re.search(pattern, text)
        assert match is not None, text
        return match[1]

    return {
        "in use": {
            found(r"^([0-9.]+ [GMk]?B) in use", budget.in_use),
            found(r"VRAM +([0-9.]+ [GMk]?B) of", said),
            data_size(known.used_bytes),
        },
        "in use, without its unit": {found(r"([0-9.]+)/", pane), gb(budget.used_bytes)},
        "free": {found(r"free ([0-9.]+) ", pane), gb(budget.total_bytes - budget.used_bytes)},
        "usable": {
            found(r"usable by a job ([0-9,.]+ [GMk]?B)", said),
            data_size(budget.limit_bytes),
            data_size(known.room_bytes),
        },
        "usable, without its unit": {found(r"usable by a job ([0-9.]+)", pane), gb(budget.limit_bytes)},
    }


@pytest.mark.parametrize("stay", [False, True])
@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize(
    ("total", "idle", "served", "other"),
    [
        (24_146_608_128, 700_000_000, 0, 0),
        (17_163_091_968, 310_000_000, 3_690_000_000, 0),
        (48 * GB, GB, 9 * GB, 7 * GB),
    ],
)
def test_every_part_says_the_same_figure(
    total: int, idle: int, served: int, other: int, shown: bool, stay: bool
) -> None:
    for word, said in figures(*played(total, idle, served, other, shown=shown, stay=stay)).items():
        assert len(said) == 1, f"{word}: {said}"


@given(
    total=st.integers(8 * GB, 200 * GB),
    shares=st.tuples(st.floats(0.01, 0.1), st.floats(0.2, 0.4), st.floats(0.2, 0.4)),
    stay=st.booleans(),
)
def test_whatever_a_gpu_holds_the_parts_agree(total: int, shares: tuple[float, float, float], stay: bool) -> None:
    idle, served, other = (int(share * total) for share in shares)
    for word, said in figures(*played(total, idle, served, other, shown=True, stay=stay)).items():
        assert len(said) == 1, f"{word}: {said}"
