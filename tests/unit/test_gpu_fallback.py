"""AMD's tools, real processes here, stand in for sysfs where it has no GPU or no figures; never do they speak beside it."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from core.gpu.devices import Gpu, device_environment, find_gpu
from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.source_choice import RECHECK_SECONDS, RETRY_SECONDS, ChosenSource, choose_source
from core.gpu.vendors import amd
from core.home import Home
from core.telemetry.sampler import Sampler
from tests.support.depth import at_most
from tests.support.machines import FakeMachine, write

pytestmark = pytest.mark.process

CARD, OTHER, IGPU = "0000:2b:00.0", "0000:5e:00.0", "0000:0a:00.0"


class Machine(FakeMachine):
    """A machine with programs on PATH; each call of one is noted."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "machine")
        self.programs, self.calls = root / "bin", root / "calls"
        self.programs.mkdir(parents=True)

    @property
    def environ(self) -> dict[str, str]:
        return {**super().environ, "PATH": f"{self.programs}:{os.environ['PATH']}"}

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\necho {name} >> {self.calls}\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def rocm_smi(self, *shown: str, used: int = 4_000_000_000) -> None:
        document = {
            f"card{number}": {
                "PCI Bus": pci.upper(),
                "Card Series": "Stand-in XT",
                "VRAM Total Memory (B)": str(17_000_000_000 + number),
                "VRAM Total Used Memory (B)": str(used),
            }
            for number, pci in enumerate(shown)
        }
        write(self.programs, {"said.json": json.dumps(document)})
        self.program("rocm-smi", f"cat {self.programs}/said.json")

    def called(self) -> list[str]:
        return self.calls.read_text().split() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def without_figures(machine: Machine) -> None:
    for file in machine.sysfs.glob("class/drm/card*/device/mem_info_vram_used"):
        file.unlink()


# Readings.


def test_where_sysfs_tells_the_memory_no_tool_is_started(machine: Machine) -> None:
    machine.amd(CARD).rocm_smi(CARD)
    chosen = choose_source(machine.environ)
    readout = chosen.read()
    assert (readout.source, [device.pci for device in readout.devices]) == ("sysfs", [CARD])
    chosen.read()
    assert machine.called() == []
    chosen.close()


def test_without_a_gpu_in_sysfs_the_tool_on_path_is_read_and_its_figures_change(machine: Machine) -> None:
    machine.rocm_smi(CARD)
    chosen = choose_source(machine.environ)
    assert (chosen.read().source, chosen.read().devices[0].vram_used_bytes) == ("rocm-smi", 4_000_000_000)
    machine.rocm_smi(CARD, used=9_000_000_000)
    assert chosen.read().devices[0].vram_used_bytes == 9_000_000_000
    chosen.close()


def test_a_gpu_whose_memory_sysfs_does_not_tell_is_the_tool_s_and_listed_once(machine: Machine) -> None:
    machine.amd(CARD, gfx=120001).rocm_smi(CARD)
    without_figures(machine)
    readout = choose_source(machine.environ).read()
    (device,) = readout.devices
    assert (readout.source, device.vram_used_bytes) == ("rocm-smi", 4_000_000_000)
    assert (device.pci, device.architecture, device.integrated) == (CARD, "gfx1201", False), "sysfs knows who it is"


def test_without_a_tool_the_gpu_stays_with_what_sysfs_tells(machine: Machine) -> None:
    machine.amd(CARD)
    without_figures(machine)
    readout = choose_source({**machine.environ, "PATH": "/nonexistent"}).read()
    assert (readout.source, [device.vram_used_bytes for device in readout.devices]) == ("sysfs", [None])


def test_a_sleeping_gpu_is_not_woken_by_a_tool(machine: Machine) -> None:
    machine.amd(CARD).rocm_smi(CARD)
    write(machine.sysfs / "class/drm/card0/device", {"power/runtime_status": "suspended"})
    readout = choose_source(machine.environ).read()
    assert (readout.source, readout.devices[0].suspended) == ("sysfs", True)
    assert machine.called() == []


def test_a_processor_s_own_gpu_with_figures_does_not_hide_that_the_gpu_has_none(machine: Machine) -> None:
    machine.amd(IGPU, integrated=True).amd(CARD).rocm_smi(CARD)
    (machine.sysfs / "class/drm/card1/device/mem_info_vram_used").unlink()
    readout = choose_source(machine.environ).read()
    assert (readout.source, [device.pci for device in readout.devices]) == ("rocm-smi", [CARD])


def test_a_tool_that_fails_is_told_and_the_next_one_answers(machine: Machine) -> None:
    machine.rocm_smi(CARD)
    machine.program("amd-smi", "echo 'rubbish {'")
    readout = choose_source(machine.environ).read()
    assert readout.source == "rocm-smi"
    assert "amd-smi" in (readout.problem or "")


class Kernel:
    """Stands for a driver that is there and fails, as none on this machine can be made to."""

    name = "kernel"
    fault = False

    def available(self) -> bool:
        return True

    def read(self) -> tuple[list[DeviceReading], list[ProcessReading]]:
        if self.fault:
            raise SourceError("the driver does not answer")
        return [DeviceReading(0, "GPU", "amd", CARD, vram_used_bytes=5)], []


class Tool(Kernel):
    name = "tool"
    reads = 0

    def read(self) -> tuple[list[DeviceReading], list[ProcessReading]]:
        self.reads += 1
        return super().read()


def test_while_the_driver_fails_no_tool_is_sent_after_it() -> None:
    now = [1000.0]
    kernel, tool = Kernel(), Tool()
    chosen = ChosenSource([(kernel, tool)], clock=lambda: now[0])
    kernel.fault = True
    for _ in range(int(RECHECK_SECONDS)):
        assert chosen.read().problem == "the driver does not answer"
        now[0] += 1
    assert tool.reads == 0
    kernel.fault = False
    now[0] += RETRY_SECONDS
    assert (chosen.read().source, chosen.read().problem) == ("kernel", None)
    chosen.close()


# The GPU that jobs run on.


def test_a_forced_tool_leases_the_gpu_that_sysfs_names(machine: Machine) -> None:
    machine.amd(CARD, gfx=110501).rocm_smi(OTHER)
    gpu = find_gpu({**machine.environ, "BAKEHOUSE_GPU_SOURCE": "rocm-smi"})
    assert gpu is not None
    assert (gpu.pci, gpu.architecture) == (CARD, "gfx1151")
    assert machine.called() == []


@pytest.mark.parametrize("forced", [{"BAKEHOUSE_GPU_SOURCE": "rocm-smi"}, {}])
def test_where_sysfs_has_no_gpu_the_tool_s_is_leased_and_asked_for_once(
    machine: Machine, forced: dict[str, str]
) -> None:
    machine.rocm_smi(CARD)
    environ = {**machine.environ, **forced}
    assert find_gpu(environ) == Gpu(CARD, "amd", "Stand-in XT", None, 0)
    asked = len(machine.called())
    assert 0 < asked <= 3
    assert find_gpu(environ) == find_gpu(environ)
    assert len(machine.called()) == asked


def test_of_a_tool_s_gpus_the_one_with_most_memory_is_leased(machine: Machine) -> None:
    machine.rocm_smi(IGPU, CARD)
    gpu = find_gpu(machine.environ)
    assert gpu is not None
    assert (gpu.pci, device_environment(gpu, {})) == (CARD, {"HIP_VISIBLE_DEVICES": "1"})
    hidden = find_gpu({**machine.environ, "HIP_VISIBLE_DEVICES": "0"})
    assert hidden is not None
    assert hidden.pci == IGPU


def test_a_tool_does_not_make_the_processor_s_own_gpu_a_gpu(machine: Machine) -> None:
    machine.amd(IGPU, integrated=True).rocm_smi(IGPU)
    assert find_gpu(machine.environ) is None
    assert find_gpu({**machine.environ, "BAKEHOUSE_GPU_SOURCE": "rocm-smi"}) is None


@pytest.mark.timed
@pytest.mark.parametrize("script", ["sleep 600", "exit 0", "echo '{'; exit 3", "echo '[]'"])
def test_a_tool_that_hangs_or_prints_rubbish_means_no_gpu_within_the_limit(
    machine: Machine, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.program("rocm-smi", script)
    monkeypatch.setattr(amd, "TOOL_LIMIT_SECONDS", 0.5)
    start = time.monotonic()
    assert find_gpu(machine.environ) is None
    assert time.monotonic() - start < at_most(3)
    asked = len(machine.called())
    assert find_gpu(machine.environ) is None
    assert len(machine.called()) == asked, "it is not asked again at once"


def test_the_sampler_shows_the_tool_s_gpu_first_and_once(machine: Machine, tmp_path: Path) -> None:
    machine.rocm_smi(IGPU, CARD)
    sample = Sampler(Home(tmp_path / "home").create(), environ=machine.environ).read()
    assert [(device.index, device.pci) for device in sample.devices] == [(0, CARD), (1, IGPU)]
    assert (sample.source, sample.problem) == ("rocm-smi", None)
