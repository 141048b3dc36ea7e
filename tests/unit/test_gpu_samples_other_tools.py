"""Real outputs of amdgpu_top and nvtop, to compare with, and the reading that each must give."""

from __future__ import annotations

import pytest

from core.gpu.reading import DeviceReading, ProcessReading
from tests.support.othertools import parse_amdgpu_top, parse_nvtop
from tests.support.telemetry_samples import (
    MIB,
    TELEMETRY,
    Row,
    amd,
    check_sample,
    memory,
    names_in,
    needs_samples,
    nvidia,
    temperatures,
)

pytestmark = needs_samples


def clients(pci: str, *rows: tuple[int, str, int, int]) -> tuple[ProcessReading, ...]:
    return tuple(ProcessReading(pid, name, vram * MIB, pci=pci, gtt_bytes=gtt * MIB) for pid, name, vram, gtt in rows)


def raphael(index: int, used: int, gtt: tuple[int, int], edge: float, clock: int) -> DeviceReading:
    return amd(
        "AMD Radeon Graphics",
        index,
        pci="0000:13:00.0",
        **memory(used, 512 * MIB, *gtt),
        busy_percent=0,
        **temperatures(edge),
        clock_mhz=clock,
        memory_clock_mhz=3000,
        throttling=(),
        architecture="gfx1036",
        integrated=True,
        suspended=False,
    )


OTHER = {
    "amdgpu_top_0.11.5_sample.json": Row(
        (
            raphael(0, 482_959_360, (975_273_984, 16_360_796_160), 43, 600),
            amd("AMD Radeon RX 9060 XT", 1, pci="0000:03:00.0", suspended=True),
        ),
        clients(
            "0000:13:00.0",
            (13180, "python3", 0, 4),
            (20083, "konsole", 0, 8),
            (23404, "amdgpu_top", 0, 2),
            (2892, "Xwayland", 18, 37),
            (3011, "ksmserver", 6, 6),
            (3013, "kded6", 4, 4),
            (3065, "plasmashell", 160, 75),
            (3140, "kaccess", 6, 6),
            (3325, "DiscoverNotifie", 4, 4),
            (3326, "kalendarac", 4, 4),
            (3331, "kup-daemon", 4, 4),
            (3624, "kdeconnectd", 4, 4),
            (5177, "firefox-esr", 73, 736),
            (5426, "RDD Process", 9, 18),
            (5652, "plasma-browser-", 4, 4),
        ),
    ),
    "amdgpu_top_dump_gfx1200.json": Row(
        (
            amd(
                "AMD Radeon RX 9060 XT",
                pci="0000:03:00.0",
                **memory(8_908_738_560, 17_095_983_104, 36_769_792, 16_360_906_752),
                busy_percent=100,
                memory_busy_percent=38,
                power_watts=155,
                power_limit_watts=164,
                **temperatures(50, 71, 75),
                clock_mhz=2996,
                memory_clock_mhz=1258,
                fan_rpm=1755,
                throttling=("power",),
                architecture="gfx1200",
                suspended=False,
            ),
            raphael(1, 487_604_224, (1_627_893_760, 16_360_906_752), 51, 2200),
        )
    ),
    "nvtop_snapshot_beszel.json": Row(
        (
            nvidia(
                "NVIDIA GeForce RTX 3050 Ti Laptop GPU",
                **memory(349_372_416, 4096 * MIB),
                **temperatures(48),
                busy_percent=5,
                power_watts=13,
                clock_mhz=1485,
                memory_clock_mhz=6001,
            ),
            amd(
                "AMD Radeon 680M",
                1,
                **memory(1_213_784_064, 16_929_173_504),
                **temperatures(48),
                busy_percent=12,
                power_watts=9,
                clock_mhz=2200,
                memory_clock_mhz=2400,
            ),
        )
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_a_sample_is_read_as_what_it_holds(name: str) -> None:
    check_sample(f"other/{name}", parse_nvtop if name.startswith("nvtop") else parse_amdgpu_top, OTHER[name])


def test_every_sample_has_its_row() -> None:
    assert names_in("other") == set(OTHER)


def test_no_folder_of_samples_is_passed_over() -> None:
    kernel = {"sysfs", "kfd", "fdinfo", "dmesg"}  # in test_gpu_samples_kernel.py
    folders = {path.name for path in TELEMETRY.iterdir() if path.is_dir()}
    assert folders == {"rocm-smi", "amd-smi", "nvidia", "other"} | kernel
