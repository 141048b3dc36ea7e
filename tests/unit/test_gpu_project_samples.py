"""What the vendors' tools and the kernel print, in the project's own samples, and the reading that each must give.

The samples are in every clone. Other people's outputs, which are not, have their tables in test_gpu_samples_*.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.fdinfo import Fdinfo, parse_fdinfo
from core.gpu.sources.rocm_smi import parse_rocm_smi
from core.gpu.sources.sysfs import SysfsSource
from core.gpu.sources.tool import ToolOutput
from core.watchdog.kernel_messages import parse_kernel_lines
from tests.support.othertools import parse_amdgpu_top, parse_nvtop
from tests.support.samples import SAMPLES, unpack
from tests.support.tool_samples import Parsed, read_amd_smi, read_nvidia_smi

TOOLS = ("rocm-smi", "amd-smi", "nvidia-smi", "other-tools")
KIB = 1024


def table(tool: str) -> dict[str, dict[str, Any]]:
    expected: dict[str, dict[str, Any]] = json.loads((SAMPLES / tool / "expected.json").read_text())
    return {file: expected[row["like"]] | row if "like" in row else row for file, row in expected.items()}


ROWS = {f"{tool}/{file}": row for tool in TOOLS for file, row in table(tool).items()}


def parser(sample: str) -> Callable[[str], Parsed]:
    tool, _, file = sample.partition("/")
    if tool == "other-tools":
        return parse_nvtop if file == "nvtop.json" else parse_amdgpu_top
    return {"rocm-smi": parse_rocm_smi, "amd-smi": read_amd_smi, "nvidia-smi": read_nvidia_smi}[tool]


@pytest.mark.parametrize("sample", ROWS)
def test_an_output_is_read_as_what_it_holds(sample: str) -> None:
    output, row = (SAMPLES / sample).read_text(encoding="utf-8"), ROWS[sample]
    if "fault" in row or "said" in row:
        with pytest.raises(SourceError) as fault:
            parser(sample)(output)
        assert row.get("fault", "") in str(fault.value)
        assert row.get("said", "") in (ToolOutput("", output, 0).said or "")
        return
    devices, processes = parser(sample)(output)
    assert [device.to_json() for device in devices] == [fields(one) for one in row.get("devices", [])]
    assert [process.to_json() for process in processes] == [{"ours": False, **one} for one in row.get("processes", [])]


def fields(device: dict[str, Any]) -> dict[str, Any]:
    return device | ({"throttling": tuple(device["throttling"])} if "throttling" in device else {})


def test_every_sample_of_a_tool_has_its_reading() -> None:
    files = {str(path.relative_to(SAMPLES)) for tool in TOOLS for path in (SAMPLES / tool).iterdir()}
    assert files - {f"{tool}/expected.json" for tool in TOOLS} == set(ROWS)


# The kernel's files.

CARD = {
    "index": 0,
    "vendor": "amd",
    "pci": "0000:2b:00.0",
    "vram_total_bytes": 25_753_026_560,
    "vram_used_bytes": 7_340_032_000,
    "gtt_total_bytes": 33_600_000_000,
    "gtt_used_bytes": 48_000_000,
    "busy_percent": 93,
    "memory_busy_percent": 41,
    "power_watts": 231.0,
    "power_limit_watts": 327.0,
    "temperature_edge_c": 58.0,
    "temperature_hotspot_c": 76.0,
    "temperature_memory_c": 82.0,
    "clock_mhz": 19,
    "memory_clock_mhz": 1250,
    "fan_percent": 40.0,
    "fan_rpm": 1430,
    "architecture": "gfx1201",
    "integrated": False,
    "suspended": False,
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    unpack("sysfs/card.tree", tmp_path / "sys/class/drm/card1/device")
    unpack("sysfs/kfd.tree", tmp_path / "sys/class/kfd/kfd")
    (tmp_path / "proc/31337").mkdir(parents=True)
    (tmp_path / "proc/31337/comm").write_text("python3\n")
    return tmp_path


def read(machine: Path) -> tuple[DeviceReading, tuple[ProcessReading, ...]]:
    (device,), processes = SysfsSource(machine / "sys", machine / "proc").read()
    return device, tuple(processes)


def test_the_files_of_a_card_give_its_figures(machine: Path) -> None:
    device, _ = read(machine)
    assert {key: value for key, value in device.to_json().items() if key != "name"} == CARD


FILES = {
    "mem_info_vram_total": "vram_total_bytes",
    "mem_info_vram_used": "vram_used_bytes",
    "mem_info_gtt_total": "gtt_total_bytes",
    "mem_info_gtt_used": "gtt_used_bytes",
    "gpu_busy_percent": "busy_percent",
    "mem_busy_percent": "memory_busy_percent",
    "hwmon/hwmon3/power1_average": "power_watts",
    "hwmon/hwmon3/power1_cap": "power_limit_watts",
    "hwmon/hwmon3/temp1_input": "temperature_edge_c",
    "hwmon/hwmon3/temp2_input": "temperature_hotspot_c",
    "hwmon/hwmon3/temp3_input": "temperature_memory_c",
    "hwmon/hwmon3/fan1_input": "fan_rpm",
    "hwmon/hwmon3/pwm1": "fan_percent",
}


@pytest.mark.parametrize("file", FILES)
def test_a_figure_goes_with_its_file(file: str, machine: Path) -> None:
    (machine / "sys/class/drm/card1/device" / file).unlink()
    device, _ = read(machine)
    assert getattr(device, FILES[file]) is None
    assert device.pci == CARD["pci"]


@pytest.mark.parametrize(
    ("file", "figure", "mhz"), [("pp_dpm_sclk", "clock_mhz", 171), ("pp_dpm_mclk", "memory_clock_mhz", 1250)]
)
def test_a_clock_is_hwmon_s_where_the_list_of_levels_is_gone(file: str, figure: str, mhz: int, machine: Path) -> None:
    (machine / "sys/class/drm/card1/device" / file).unlink()
    assert getattr(read(machine)[0], figure) == mhz


def test_kfd_s_process_holds_its_bytes_on_its_card(machine: Path) -> None:
    _, (process,) = read(machine)
    assert (process.pid, process.name, process.vram_bytes, process.pci) == (
        31337,
        "python3",
        6_100_000_768,
        "0000:2b:00.0",
    )


FDINFO = {
    "kernel-6.8.txt": Fdinfo("amdgpu", "0000:2b:00.0", 58, 5_957_032 * KIB, 2048 * KIB, pasid=32801),
    "kernel-6.14.txt": Fdinfo("amdgpu", "0000:2b:00.0", 12, 7000 * KIB, 3072 * KIB),
    "copied-from-a-terminal.txt": Fdinfo("amdgpu", "0000:2f:00.0", 9, 1536 * KIB, 4096 * KIB, pasid=32770),
}


@pytest.mark.parametrize("name", FDINFO)
def test_an_fdinfo_is_read_to_what_it_holds(name: str) -> None:
    assert parse_fdinfo((SAMPLES / "fdinfo" / name).read_text()) == FDINFO[name]


# Sample → the codes of its messages, and when the first of them was written, in seconds since boot.
DMESG = {
    "queue-that-does-not-end.txt": (["mes_no_answer", "mes_unrecoverable", "gpu_reset"], 4101.250004),
    "ring-timeout.txt": (["ring_timeout", "gpu_reset"], 88210.100009),
    "memory-lost.txt": (["mes_no_answer", "gpu_reset", "vram_lost"], None),
    "journal-wedged.txt": (["device_wedged"], None),
    "no-memory-for-commands.txt": (["command_memory"], None),
}


@pytest.mark.parametrize("name", DMESG)
def test_the_trouble_in_a_kernel_log_is_found_with_its_card(name: str) -> None:
    messages = parse_kernel_lines((SAMPLES / "dmesg" / name).read_text(), booted=0.0)
    assert [message.code for message in messages] == DMESG[name][0]
    assert {message.pci for message in messages} == {"0000:2b:00.0"}
    assert messages[0].time == DMESG[name][1]


def test_every_sample_of_the_kernel_is_read() -> None:
    assert {path.name for path in (SAMPLES / "fdinfo").iterdir()} == set(FDINFO)
    assert {path.name for path in (SAMPLES / "dmesg").iterdir()} == set(DMESG)
