"""What real files of the kernel hold: each sample of sysfs, KFD, fdinfo and dmesg, and the value that is read from it.

The samples are other people's data and lie outside the project; where they are not, these tests are left out, and the
formats are covered by those of each reader, with numbers of the project's own.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.gpu.reading import DeviceReading
from core.gpu.sources.fdinfo import Fdinfo, FdinfoScanner, parse_fdinfo
from core.gpu.sources.kfd import read_kfd_processes
from core.gpu.sources.sysfs import SysfsSource
from core.watchdog.kernel_messages import parse_kernel_lines
from tests.support.machines import FakeMachine, write
from tests.support.telemetry_samples import TELEMETRY, needs_samples

pytestmark = needs_samples

CARD, MEMORY = "rx9070xt/card1", "RECONSTRUCTED_rx9070xt_meminfo"
HWMON = f"{CARD}/device/hwmon/hwmon5"
KIB = 1024

# File → (what of the reading comes from it, its value). `pci` and `integrated` need no more than to be there.
SYSFS: dict[str, tuple[str, object]] = {
    f"{CARD}/device/uevent": ("pci", "0000:0f:00.0"),
    f"{CARD}/device/vendor": ("vendor", "amd"),
    f"{CARD}/device/gpu_busy_percent": ("busy_percent", 3),
    f"{CARD}/device/pp_dpm_sclk": ("clock_mhz", 19),
    f"{CARD}/device/pp_dpm_mclk": ("memory_clock_mhz", 1258),
    f"{HWMON}/name": ("temperature_edge_c", 42.0),
    f"{HWMON}/power1_average": ("power_watts", 55.0),
    f"{HWMON}/power1_cap": ("power_limit_watts", 120.0),
    f"{HWMON}/temp1_input": ("temperature_edge_c", 42.0),
    f"{HWMON}/temp2_input": ("temperature_hotspot_c", 45.0),
    f"{HWMON}/temp3_input": ("temperature_memory_c", 68.0),
    f"{HWMON}/fan1_input": ("fan_rpm", 896),
    f"{HWMON}/pwm1": ("fan_percent", 31.8),
    f"{MEMORY}/mem_info_vram_total": ("vram_total_bytes", 17_095_983_104),
    f"{MEMORY}/mem_info_vram_used": ("vram_used_bytes", 1_574_707_200),
    f"{MEMORY}/mem_info_gtt_total": ("gtt_total_bytes", 33_379_352_576),
    f"{MEMORY}/mem_info_gtt_used": ("gtt_used_bytes", 64_163_840),
    f"{MEMORY}/mem_busy_percent": ("memory_busy_percent", 1),
}
# Clocks by hwmon, where no level of pp_dpm_* is marked.
FREQUENCIES = {"freq1_input": 167, "freq1_label": 167, "freq2_input": 1258, "freq2_label": 1258}
# Nothing of a reading comes from these: names of sensors, limits, settings, links, tables of the board.
UNREAD = {
    *("uevent", "dev"),
    *(
        f"device/{name}"
        for name in ("current_link_speed", "current_link_width", "vbios_version", "power_dpm_force_performance_level")
    ),
    *(f"device/pp_{name}" for name in ("dpm_socclk", "dpm_pcie", "features", "od_clk_voltage", "table", "force_state")),
    *(f"device/pp_{name}" for name in ("num_states", "cur_state", "power_profile_mode")),
}
UNREAD_HWMON = {
    *(f"temp{number}_{kind}" for number in (1, 2, 3) for kind in ("label", "crit", "crit_hyst", "emergency")),
    *(f"power1_{kind}" for kind in ("label", "cap_default", "cap_max", "cap_min")),
    *("fan1_max", "fan1_min", "fan1_target", "in0_input", "in0_label", "pwm1_max", "pwm1_min", "uevent"),
    *(f"power/{name}" for name in ("runtime_status", "control", "runtime_suspended_time", "runtime_active_time")),
}

FDINFO = {
    "RECONSTRUCTED_amdgpu_kernel6.5-6.12_format.txt": Fdinfo(
        "amdgpu", "0000:0f:00.0", 217, 13_107_200 * KIB, 8192 * KIB, pasid=32784
    ),
    "amdgpu_2024_issue87.txt": Fdinfo("amdgpu", "0000:08:00.0", 217, 2068 * KIB, 8192 * KIB, pasid=32784),
    # Cut to the memory: it does not say whose.
    "amdgpu_kernel6.18_llama-server_890M_EXCERPT.txt": Fdinfo(None, None, None, 5348 * KIB, 25_258_000 * KIB),
}

DMESG = {
    "gfx1151_mes_kfd_evict.txt": [
        ("mes_no_answer", "0000:c5:00.0"),
        ("mes_unrecoverable", "0000:c5:00.0"),
        ("gpu_reset", "0000:c5:00.0"),
    ],
    "gfx11_ring_timeout_reset.txt": [
        ("ring_timeout", "0000:c5:00.0"),
        ("gpu_reset", "0000:c5:00.0"),
        ("mes_no_answer", "0000:c5:00.0"),
    ],
    "reset_recovered_wedged.txt": [("device_wedged", "0000:0c:00.0")],
    "rx9070xt_mes_mode1_reset.txt": [
        ("mes_no_answer", "0000:03:00.0"),
        ("mes_unrecoverable", "0000:03:00.0"),
        ("gpu_reset", "0000:03:00.0"),
        ("vram_lost", "0000:03:00.0"),
    ],
    "vm_stats_leak_oom.txt": [("command_memory", "0000:03:00.0")],
}
# Sample → when its first message of ours was written, in seconds since boot.
STAMPS = {"gfx1151_mes_kfd_evict.txt": 950.818166, "gfx11_ring_timeout_reset.txt": 127033.279661}

KFD = {
    "RECONSTRUCTED_proc/412345/vram_43210",
    "RECONSTRUCTED_proc/412345/pasid",
    # Queues that copy, and how often the process was evicted, are not shown.
    "RECONSTRUCTED_proc/412345/sdma_43210",
    "RECONSTRUCTED_proc/412345/stats_43210/evicted_ms",
}


def files(folder: str) -> set[str]:
    root = TELEMETRY / folder
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_every_sample_of_the_kernel_s_has_its_place_in_a_table() -> None:
    unread = {f"{CARD}/{name}" for name in UNREAD} | {f"{HWMON}/{name}" for name in UNREAD_HWMON}
    frequencies = {f"{HWMON}/{name}" for name in FREQUENCIES}
    # The overdrive settings of the fan, and the settings of a program that was in use.
    settings = {name for name in files("sysfs") if "/gpu_od/" in name} | {"rx9070xt/config.yaml"}
    assert files("sysfs") == {*SYSFS} | unread | frequencies | settings
    assert files("fdinfo") == {*FDINFO}
    assert files("dmesg") == {*DMESG}
    assert files("kfd") == KFD


def read_without(tmp_path: Path, *without: str) -> DeviceReading | None:
    """The reading of the sampled card, its memory files put beside the others, without some of the files."""
    card = tmp_path / "sys/class/drm/card1"
    shutil.rmtree(card, ignore_errors=True)
    shutil.copytree(TELEMETRY / "sysfs" / CARD, card)
    shutil.copytree(TELEMETRY / "sysfs" / MEMORY, card / "device", dirs_exist_ok=True)
    for file in without:
        place = file.replace(CARD, "").replace(MEMORY, "device").lstrip("/")
        (card / place).unlink()
    devices, _ = SysfsSource(tmp_path / "sys", tmp_path / "proc").read()
    return devices[0] if devices else None


@pytest.mark.parametrize("file", SYSFS)
def test_the_value_of_a_file_is_in_the_reading_and_gone_with_the_file(file: str, tmp_path: Path) -> None:
    field, value = SYSFS[file]
    whole, without = read_without(tmp_path), read_without(tmp_path, file)
    assert getattr(whole, field) == value
    # hwmon knows the shader's and the memory's clock, too, and says them where the list of levels is gone.
    instead = {"pp_dpm_sclk": 167, "pp_dpm_mclk": 1258}.get(Path(file).name)
    assert getattr(without, field, None) == instead


@pytest.mark.parametrize("name", FREQUENCIES)
def test_a_frequency_of_hwmon_is_a_clock_where_no_level_is_marked(name: str, tmp_path: Path) -> None:
    levels = [f"{CARD}/device/pp_dpm_sclk", f"{CARD}/device/pp_dpm_mclk"]
    field = "clock_mhz" if "1" in name else "memory_clock_mhz"
    assert getattr(read_without(tmp_path, *levels), field) == FREQUENCIES[name]
    assert getattr(read_without(tmp_path, *levels, f"{HWMON}/{name}"), field) is None


def test_what_the_card_does_not_tell_stays_unknown(tmp_path: Path) -> None:
    device = read_without(tmp_path)
    assert device is not None
    assert (device.throttling, device.architecture) == (None, None), "no gpu_metrics and no KFD topology in the sample"
    assert (device.integrated, device.suspended) == (False, False)


@pytest.mark.parametrize("name", FDINFO)
def test_an_fdinfo_is_read_to_what_it_holds(name: str) -> None:
    assert parse_fdinfo((TELEMETRY / "fdinfo" / name).read_text()) == FDINFO[name]


@pytest.mark.parametrize("name", DMESG)
def test_the_trouble_in_a_kernel_log_is_found_with_its_card(name: str) -> None:
    messages = parse_kernel_lines((TELEMETRY / "dmesg" / name).read_text(), booted=0.0)
    assert [(message.code, message.pci) for message in messages] == DMESG[name]
    assert messages[0].time == STAMPS.get(name)
    assert all(message.text.startswith("amdgpu 0000:") for message in messages), "the stamp is no part of the text"


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """A machine with the sampled KFD process, and the GPU that it names."""
    made = FakeMachine(tmp_path / "machine").amd("0000:0f:00.0")
    write(made.node(1), {"gpu_id": "43210"})
    shutil.copytree(TELEMETRY / "kfd/RECONSTRUCTED_proc", made.sysfs / "class/kfd/kfd/proc")
    return made


def test_kfd_s_process_holds_its_bytes_on_its_card(machine: FakeMachine) -> None:
    (process,) = read_kfd_processes(machine.sysfs, machine.procfs)
    assert (process.pid, process.vram_bytes, process.pci) == (412345, 13_421_772_800, "0000:0f:00.0")


@pytest.mark.parametrize("pid", [412345, 77], ids=["the host's pid", "a container's pid"])
def test_kfd_and_fdinfo_of_one_process_are_one_row(machine: FakeMachine, pid: int) -> None:
    text = (TELEMETRY / "fdinfo/RECONSTRUCTED_amdgpu_kernel6.5-6.12_format.txt").read_text()
    machine.process(pid, "python3", opened={3: "/dev/kfd", 5: "/dev/dri/renderD128"}, fdinfo={5: text})
    (client,) = FdinfoScanner(machine.procfs).read()
    assert client.vram_bytes == 13_421_772_800, "fdinfo counts what ROCm holds, too"
    _, (row,) = SysfsSource(machine.sysfs, machine.procfs).read()
    assert (row.pid, row.vram_bytes, row.gtt_bytes) == (pid, 13_421_772_800, 8192 * KIB)
