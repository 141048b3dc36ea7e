"""What rocm-smi prints without --json: CSV, its tables, and a line for each figure."""

from __future__ import annotations

import pytest

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.rocm_smi import parse_rocm_smi
from tests.support.tooloutputs import (
    ROCM_SMI_CSV,
    ROCM_SMI_LINES,
    ROCM_SMI_PIDS,
    ROCM_SMI_SHORT,
)


def test_csv() -> None:
    (device,), processes = parse_rocm_smi(ROCM_SMI_CSV)
    assert device == DeviceReading(
        0,
        "AMD Radeon Stand-in XT",
        "amd",
        vram_total_bytes=17_163_091_968,
        vram_used_bytes=4_294_967_296,
        busy_percent=71,
        architecture="gfx1201",
        integrated=False,
    )
    assert processes == ()
    with_rows = ROCM_SMI_CSV + 'name, value\n"PID31337", "python3, 1, 8589934592, 0, unknown"\n'
    assert parse_rocm_smi(with_rows) == ((device,), (ProcessReading(31337, "python3", 8_589_934_592),))


def test_a_row_of_csv_with_a_field_too_many_is_not_guessed_at() -> None:
    with pytest.raises(SourceError, match="no row of its CSV"):
        parse_rocm_smi("device,Card Vendor,GPU use (%)\ncard0,Devices, Inc.,71\n")


def test_the_table_of_processes() -> None:
    rows = (ProcessReading(31337, "python3", 8_589_934_592), ProcessReading(2718, "two words", 268_435_456))
    assert parse_rocm_smi(ROCM_SMI_PIDS) == ((), rows)
    tabbed = "PID   \tPROCESS NAME\tGPU\tVRAM USED\tSDMA USED\tCU OCCUPANCY\t\n7\tpython3\t2  \t4096\t0   \t0   \t\n"
    assert parse_rocm_smi(tabbed) == ((), (ProcessReading(7, "python3", 4096),))
    old = "PID   PROCESS NAME  GPU(s)  VRAM USED  SDMA USED\n7     a b           1       4096       UNKNOWN\n"
    assert parse_rocm_smi(old) == ((), (ProcessReading(7, "a b", 4096),))


def test_the_short_table() -> None:
    (device,), _ = parse_rocm_smi(ROCM_SMI_SHORT)
    assert device == DeviceReading(
        0,
        "AMD GPU 7A11",
        "amd",
        busy_percent=58,
        power_watts=88,
        power_limit_watts=245,
        temperature_edge_c=52,
        clock_mhz=2100,
        memory_clock_mhz=1258,
        fan_percent=30.2,
    )
    (socket,), _ = parse_rocm_smi(ROCM_SMI_SHORT.replace("(Edge)", "(Junction)"))
    assert (socket.temperature_edge_c, socket.temperature_hotspot_c) == (None, 52)
    (memory,), _ = parse_rocm_smi(ROCM_SMI_SHORT.replace("(Edge)", "(Memory)"))
    assert (memory.temperature_edge_c, memory.temperature_hotspot_c, memory.temperature_memory_c) == (None, None, 52)
    oldest = (
        "GPU  Temp   AvgPwr  SCLK     MCLK    Fan    Perf  PwrCap  SCLK OD  MCLK OD  GPU%\n"
        "1    44.0c  31.0W   1500Mhz  800Mhz  6.67%  auto  225.0W  2%       3%       18%\n"
    )
    (device,), _ = parse_rocm_smi(oldest)
    assert (device.index, device.clock_mhz, device.memory_clock_mhz, device.busy_percent) == (1, 1500, 800, 18)
    assert (device.power_watts, device.power_limit_watts, device.fan_percent) == (31, 225, 6.67)
    old = (
        "GPU  Temp (DieEdge)  AvgPwr  SCLK     MCLK     Fan   Perf  PwrCap       VRAM%  GPU%\n"
        "0    44.0c           9.0W    800Mhz   96Mhz    0%    auto  Unsupported    3%   12%\n"
        "1    N/A             N/A     None     None     None  auto  190.0W         0%   N/A\n"
    )
    first, second = parse_rocm_smi(old)[0]
    assert (first.temperature_edge_c, first.power_watts, first.power_limit_watts, first.busy_percent) == (
        44,
        9,
        None,
        12,
    )
    assert second == DeviceReading(1, "AMD GPU", "amd", power_limit_watts=190)


def test_a_line_for_each_figure() -> None:
    (device,), _ = parse_rocm_smi(ROCM_SMI_LINES)
    assert device == DeviceReading(
        0,
        "AMD GPU",
        "amd",
        pci="0000:2c:00.0",
        busy_percent=64,
        temperature_edge_c=47,
        clock_mhz=2300,
        fan_percent=30,
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("throttle_status: 0", ()),
        ("throttle_status: 4096", ("unknown",)),
        ("throttle_status: N/A", None),
        ("indep_throttle_status: 8589934593", ("power", "thermal")),
        ("indep_throttle_status: 0", ()),
    ],
)
def test_throttling(line: str, why: tuple[str, ...] | None) -> None:
    (device,), _ = parse_rocm_smi(f"GPU[0]\t\t: {line}\n")
    assert device.throttling == why
