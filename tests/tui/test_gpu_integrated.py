"""A GPU that is a part of the processor, or that jobs do not run on, says nothing about a job of the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.gpu.reading import DeviceReading, Sample
from core.store.job_reasons import job_reason
from tests.tui import gpus
from tests.tui.conftest import Opened, text_of
from tests.tui.scene import NOW, forecast, job, scene
from tui.model.gpu_facts import gpu, room
from tui.model.snapshot import Slot, Snapshot
from tui.panes.gpu.memory import next_part
from tui.screens.confirm import Confirm
from tui.screens.new_run.defaults import has_gpu

INTEGRATED = gpus.SECOND
HIDDEN = replace(gpus.DEVICE, for_jobs=False, passed_over=("hidden", "HIP_VISIBLE_DEVICES"))
NO_NODE = replace(gpus.DEVICE, for_jobs=False, passed_over=("no_device_file", "/dev/kfd"))
MACHINES: dict[str, tuple[DeviceReading, ...]] = {
    "integrated alone": (INTEGRATED,),
    "integrated, judged": (replace(INTEGRATED, for_jobs=False, passed_over=("integrated", "")),),
    "hidden": (HIDDEN,),
    "no device file beside an integrated one": (NO_NODE, replace(INTEGRATED, for_jobs=False)),
    "two hidden": (HIDDEN, replace(NO_NODE, index=1, pci="0000:99:00.0")),
}
NEEDED = 2_400_000_000
"""More than an integrated GPU has, less than the host."""


def moment(devices: tuple[DeviceReading, ...], **changes: object) -> Snapshot:
    """A job of the CPU waits for its slot, with a forecast of the host's memory."""
    found = scene(with_gpu=False)
    assert found.sample is not None
    sample = replace(found.sample, devices=devices)
    waiting = replace(job(45, "waiting", "train spacer · SmolLM2-135M"), device_memory_bytes=None)
    expected = replace(forecast(), device_bytes=NEEDED, limit_bytes=8_000_000_000)
    slot = replace(Slot(), next_forecast=expected)
    return replace(found, samples=(sample,), jobs=(waiting,), slot=slot, lease_state=None, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(MACHINES))
def test_the_next_job_is_held_against_the_host_s_memory(name: str) -> None:
    snapshot = moment(MACHINES[name])
    line = next_part(snapshot)
    assert line is not None and line.plain == "next 45: 2.4, fits"
    assert room(snapshot) is None
    assert not has_gpu(snapshot)
    large = replace(snapshot.slot.next_forecast, device_bytes=9_000_000_000)  # type: ignore[type-var]
    line = next_part(replace(snapshot, slot=replace(snapshot.slot, next_forecast=large)))
    assert line is not None and line.plain == "next 45: 9.0, does not fit"


@pytest.mark.parametrize("name", list(MACHINES))
def test_the_pane_shows_an_integrated_gpu_and_names_one_that_is_not_used(name: str) -> None:
    sample = moment(MACHINES[name]).sample
    assert isinstance(sample, Sample)
    shown = gpu(sample)
    assert (shown is not None) is any(one.integrated for one in sample.devices)
    assert {one.pci for one in sample.passed_over} == {
        one.pci for one in sample.devices if one.for_jobs is False and not one.integrated
    }


@pytest.mark.parametrize("name", list(MACHINES))
async def test_the_console_says_why_a_gpu_is_not_used(console: Opened, name: str) -> None:
    async with console(moment(MACHINES[name]), size=(120, 40)) as pilot:
        await pilot.press("2", "z")
        said = " ".join(text_of(pilot, "#gpu").split())
        assert ("is not used" in said) is any(one.for_jobs is False and not one.integrated for one in MACHINES[name])
        if name == "hidden":
            assert "HIP_VISIBLE_DEVICES hides it" in said


@pytest.mark.parametrize("name", [*MACHINES, "jobs run on it"])
async def test_the_question_before_a_kill_speaks_of_gpu_memory_only_where_the_job_has_some(
    console: Opened, name: str
) -> None:
    """On an AMD GPU a killed process can strand memory; a job of the CPU has none of it."""
    devices = MACHINES.get(name, (replace(gpus.DEVICE, for_jobs=True),))
    reason = job_reason("signal_sent", signal="SIGTERM", after_seconds=120)
    deaf = job(
        45, "stopping", "train spacer · SmolLM2-135M", reason=reason, stop_reason="cancel", stop_asked_at=NOW - 190
    )
    async with console(replace(moment(devices), jobs=(deaf,)), size=(120, 40)) as pilot:
        await pilot.press("3", "X")
        asked = pilot.app.screen
        assert isinstance(asked, Confirm)
        assert ("On an AMD GPU" in asked.explanation) is (name == "jobs run on it")
