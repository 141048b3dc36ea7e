"""The stand-in of the amdgpu driver: held to samples of the real one's files, and to the processes that it follows.

The samples are the project's own, and recorded ones where they are at hand.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.gpu.devices import find_gpu
from core.gpu.processes import describe
from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.sources.sysfs import SysfsSource
from tests.support.cardsim import GpuSim, SimGpu
from tests.support.cardsim_tree import FIRST_GPU_ID, GIB
from tests.support.depth import example_count
from tests.support.queueing import kill
from tests.support.samples import SAMPLES, unpack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

RECORDED = Path(__file__).parents[2].parent / "shared/telemetry"
needs_recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded samples are not beside this checkout")

# What the sampled folders lack, though kernels have it: from amdgpu_pm.c, amdgpu_sysfs of PCI, and (product_name) FRU.
UNRECORDED = {"device", "revision", "class", "product_name", "gpu_metrics", "power/runtime_status"}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[GpuSim]:
    with GpuSim(tmp_path, SimGpu(total_bytes=16 * GIB, idle_bytes=300_003_328)) as made:
        yield made


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as made:
        yield made
        made.kill()


@dataclass(frozen=True)
class Driver:
    """What a driver shows: a card's folder, KFD's of a process, and the text of an fdinfo."""

    device: Path
    process: Path
    fdinfo: str


@pytest.fixture(params=["own", pytest.param("recorded", marks=needs_recorded)])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
    folder = tmp_path / "driver"
    if request.param == "own":
        return Driver(
            unpack("sysfs/card.tree", folder / "device"),
            unpack("sysfs/kfd.tree", folder / "kfd") / "proc/31337",
            (SAMPLES / "fdinfo/kernel-6.8.txt").read_text(),
        )
    shutil.copytree(RECORDED / "sysfs/rx9070xt/card1/device", folder)
    shutil.copytree(RECORDED / "sysfs/RECONSTRUCTED_rx9070xt_meminfo", folder, dirs_exist_ok=True)
    (folder / "hwmon/hwmon5").rename(folder / "hwmon/hwmon3")
    return Driver(
        folder,
        RECORDED / "kfd/RECONSTRUCTED_proc/412345",
        (RECORDED / "fdinfo/RECONSTRUCTED_amdgpu_kernel6.5-6.12_format.txt").read_text(),
    )


def read(sim: GpuSim) -> tuple[DeviceReading, list[ProcessReading]]:
    devices, processes = SysfsSource(sim.tree.sysfs, sim.tree.procfs).read()
    return devices[0], list(processes)


def form(text: str) -> str:
    """The text with every number made `9` and blanks made one, which leaves names, order, units and marks."""
    return re.sub(
        r"[ \t]+", " ", re.sub(r"0x[0-9a-fA-F]+|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d|\d+", "9", text)
    ).strip()


def test_a_card_s_files_have_the_driver_s_names_and_forms(
    sim: GpuSim, process: subprocess.Popen[bytes], driver: Driver
) -> None:
    sim.hold(process.pid, 2 * GIB, busy_percent=97)
    compared = 0
    for file in sorted(path for path in sim.tree.device(0).rglob("*") if path.is_file()):
        name = str(file.relative_to(sim.tree.device(0)))
        if name in UNRECORDED:
            continue
        real = driver.device / name
        assert real.is_file(), f"{name} is in no folder of the driver"
        # How many levels a clock has, and which is in force, is the card's affair.
        lines, real_lines = (set(form(path.read_text()).replace(" *", "").split("\n")) for path in (file, real))
        if name == "uevent":
            lines, real_lines = ({line.split("=")[0] for line in each} for each in (lines, real_lines))
        if name != "vbios_version":
            assert {line.strip() for line in lines} <= {line.strip() for line in real_lines}, name
        compared += 1
    assert compared > 30


def test_a_sleeping_clock_is_written_as_the_driver_does(sim: GpuSim, driver: Driver) -> None:
    real = (driver.device / "pp_dpm_sclk").read_text().splitlines()[0]
    assert (sim.tree.device(0) / "pp_dpm_sclk").read_text().splitlines()[0] == real


def test_a_process_s_entries_have_the_driver_s_names_and_forms(
    sim: GpuSim, process: subprocess.Popen[bytes], driver: Driver
) -> None:
    sim.hold(process.pid, 2 * GIB)
    mine = sim.tree.sysfs / f"class/kfd/kfd/proc/{process.pid}"

    def files(folder: Path) -> set[str]:
        return {re.sub(r"\d+", "ID", str(path.relative_to(folder))) for path in folder.rglob("*") if path.is_file()}

    assert files(mine) == files(driver.process)
    for file in (path for path in mine.rglob("*") if path.is_file()):
        assert re.fullmatch(r"\d+\n", file.read_text())
    entry = (sim.tree.procfs / f"{process.pid}/fdinfo/20").read_text()
    assert {form(line) for line in entry.splitlines()} <= {form(line) for line in driver.fdinfo.splitlines()}


def test_memory_follows_a_living_process_and_goes_with_it(sim: GpuSim, process: subprocess.Popen[bytes]) -> None:
    assert read(sim)[1] == []
    assert read(sim)[0].vram_used_bytes == 300_003_328

    sim.hold(process.pid, 5 * GIB, busy_percent=90)

    card, processes = read(sim)
    assert card.vram_used_bytes == 300_003_328 + 5 * GIB
    assert [(each.pid, each.name, each.vram_bytes, each.pci) for each in processes] == [
        (process.pid, "sleep", 5 * GIB, "0000:2b:00.0")
    ]
    wait_until(lambda: (read(sim)[0].power_watts or 0) > 100, what="power after the load")
    kill(process.pid)
    wait_until(lambda: read(sim)[0].vram_used_bytes == 300_003_328, what="its memory back")
    wait_until(lambda: read(sim)[1] == [], what="its entry gone")
    assert not (sim.tree.procfs / str(process.pid)).exists()


def test_what_one_leaves_that_was_killed_belongs_to_nobody(sim: GpuSim, process: subprocess.Popen[bytes]) -> None:
    sim.hold(process.pid, 5 * GIB, leaks=True)
    kill(process.pid)
    wait_until(lambda: read(sim)[1] == [], what="its entry gone")
    time.sleep(0.2)
    assert read(sim)[0].vram_used_bytes == 300_003_328 + 5 * GIB
    sim.recover()
    assert read(sim)[0].vram_used_bytes == 300_003_328


def test_memory_can_come_back_later_than_its_process_goes(sim: GpuSim, process: subprocess.Popen[bytes]) -> None:
    sim.hold(process.pid, 5 * GIB, lingers_seconds=1000)
    kill(process.pid)
    wait_until(lambda: read(sim)[1] == [], what="its entry gone")
    assert read(sim)[0].vram_used_bytes == 300_003_328 + 5 * GIB
    sim.clock = lambda: time.monotonic() + 1000
    wait_until(lambda: read(sim)[0].vram_used_bytes == 300_003_328, what="its memory back")


def test_what_the_card_has_no_room_for_spills_into_gtt(sim: GpuSim, process: subprocess.Popen[bytes]) -> None:
    before = read(sim)[0].gtt_used_bytes or 0
    sim.hold(process.pid, 17 * GIB)
    card, processes = read(sim)
    assert card.vram_used_bytes == 16 * GIB
    spilled = 17 * GIB - (16 * GIB - 300_003_328)
    assert card.gtt_used_bytes == before + spilled
    assert processes[0].vram_bytes == 17 * GIB - spilled


def test_a_drawing_process_is_unknown_to_kfd(sim: GpuSim, process: subprocess.Popen[bytes]) -> None:
    sim.hold(process.pid, GIB, "graphics")
    assert not (sim.tree.sysfs / f"class/kfd/kfd/proc/{process.pid}").exists()
    assert f"drm-memory-vram:\t{2**20} KiB" in (sim.tree.procfs / f"{process.pid}/fdinfo/20").read_text()
    card, processes = read(sim)
    assert card.vram_used_bytes == 300_003_328 + GIB
    assert [(each.pid, each.vram_bytes, each.gtt_bytes) for each in processes] == [(process.pid, GIB, 0)]


def test_throttling_is_told_as_the_driver_does(sim: GpuSim) -> None:
    assert read(sim)[0].throttling == ()
    sim.cards[0].throttling = ("thermal",)
    wait_until(lambda: read(sim)[0].throttling == ("thermal",), what="why it is slow")
    assert read(sim)[0].architecture == "gfx1201"


def test_a_name_and_an_owner_can_be_given(sim: GpuSim, process: subprocess.Popen[bytes]) -> None:
    sim.hold(process.pid, GIB, name="blender", user_id=4321)
    began = time.time()
    found = describe(read(sim)[1], sim.tree.procfs)[0]
    assert (found.name, found.user, found.command) == ("blender", "4321", "blender")
    assert abs((found.since or 0) - began) < 30
    entry = sim.tree.procfs / str(process.pid)
    assert (entry / "comm").read_text() == "blender\n"
    assert "Uid:\t4321\t4321\t4321\t4321\n" in (entry / "status").read_text()


def test_another_process_asks_by_a_file_and_lets_go_by_removing_it(sim: GpuSim) -> None:
    code = (
        "from tests.support.cardsim_request import hold_gpu\n"
        "hold_gpu('vram=3.2e9 busy=50 leaks'); input(); hold_gpu(None); input()"
    )
    environ = {**sim.environ, "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdin=subprocess.PIPE) as other:
        assert other.stdin is not None
        used = wait_until(lambda: [each.vram_bytes for each in read(sim)[1]], what="its memory")
        assert 3_200_000_000 <= (used[0] or 0) < 3_200_004_096
        other.stdin.write(b"\n")
        other.stdin.flush()
        wait_until(lambda: read(sim)[1] == [], what="letting go")
        assert read(sim)[0].vram_used_bytes == 300_003_328
        other.kill()
    assert sim.cards[0].unowned_bytes == 0, "what had been let go leaks no more"


def test_two_cards_and_the_processor_s_own(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    first, second = SimGpu(pci="0000:2b:00.0"), SimGpu(pci="0000:2f:00.0", total_bytes=24 * GIB)
    own = SimGpu(pci="0000:0a:00.0", total_bytes=GIB // 2, integrated=True)
    sim = GpuSim(tmp_path, own, first, second)
    sim.hold(process.pid, GIB, card=2)
    sim.hold(process.pid, 2 * GIB, card=1)

    devices, processes = SysfsSource(sim.tree.sysfs, sim.tree.procfs).read()

    assert [device.pci for device in devices] == [first.pci, second.pci, own.pci]
    assert {(each.pci, each.vram_bytes) for each in processes} == {(first.pci, 2 * GIB), (second.pci, GIB)}
    sim.release(process.pid, card=1)
    entry = sim.tree.sysfs / f"class/kfd/kfd/proc/{process.pid}"
    assert [file.name for file in entry.glob("vram_*")] == [f"vram_{FIRST_GPU_ID + 2}"]
    card = find_gpu(sim.environ)
    assert card is not None
    assert card.pci == first.pci


def test_no_reader_ever_sees_a_piece(sim: GpuSim, process: subprocess.Popen[bytes]) -> None:
    for looks in range(example_count(100)):
        sim.hold(process.pid, (looks % 7 + 1) * GIB, busy_percent=looks % 100)
        card, processes = read(sim)
        assert card.vram_used_bytes is not None and card.busy_percent is not None and card.clock_mhz is not None
        assert [each.vram_bytes for each in processes] == [(looks % 7 + 1) * GIB]
