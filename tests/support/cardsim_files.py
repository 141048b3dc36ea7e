"""The files that the amdgpu driver and KFD show of a card, written from its figures: names and forms, nothing that changes.

The forms are those of an RX 9070 XT (sysfs), of `kfd_process.c` and of the driver's fdinfo in kernels 6.5 to 6.12;
tests/unit/test_cardsim.py holds them to samples of those. The numbers are this project's own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

CORE_CLOCKS_MHZ = (500, 1000, 1710, 2420, 2970)
MEMORY_CLOCKS_MHZ = (96, 456, 772, 875, 1124, 1258)
# `throttle_status` that does not depend on the chip (amdgpu_smu.h): bit 0 is the power limit, bit 36 the hotspot.
THROTTLE_BITS = {"power": 1 << 0, "thermal": 1 << 36}


@dataclass(frozen=True)
class Figures:
    """What a card says at one moment."""

    vram_total_bytes: int
    vram_used_bytes: int
    gtt_total_bytes: int
    gtt_used_bytes: int
    busy_percent: int
    memory_busy_percent: int
    power_watts: float
    edge_c: float
    hotspot_c: float
    memory_c: float
    core_clock_mhz: int | None
    """None in deep sleep."""
    memory_clock_mhz: int
    fan_rpm: int
    fan_percent: float
    throttling: tuple[str, ...] = ()


def identity_files(pci: str, name: str | None, *, integrated: bool, power_limit_watts: float) -> dict[str, str]:
    """What never changes, below `device/`. A product name is given by few real cards: None leaves the file out."""
    files = {
        "vendor": "0x1002",
        "device": "0x1681" if integrated else "0x7550",
        "revision": "0xc0",
        "class": "0x030000",
        "uevent": f"DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:{'1681' if integrated else '7550'}\n"
        f"PCI_SUBSYS_ID=1849:5414\nPCI_SLOT_NAME={pci}\n"
        f"MODALIAS=pci:v00001002d0000{'1681' if integrated else '7550'}sv00001849sd00005414bc03sc00i00",
        "current_link_speed": "32.0 GT/s PCIe",
        "current_link_width": "16",
        "vbios_version": "113-BAKEHOUSE-001",
        "power_dpm_force_performance_level": "auto",
        "hwmon/hwmon3/name": "amdgpu",
        "hwmon/hwmon3/temp1_label": "edge",
        "hwmon/hwmon3/freq1_label": "sclk",
        "hwmon/hwmon3/power1_label": "PPT",
    }
    if name is not None:
        files["product_name"] = name
    if integrated:
        return files | {"hwmon/hwmon3/in1_label": "vddnb", "hwmon/hwmon3/in1_input": "812"}
    return files | {
        "hwmon/hwmon3/temp1_crit": "110000",
        "hwmon/hwmon3/temp2_label": "junction",
        "hwmon/hwmon3/temp2_crit": "110000",
        "hwmon/hwmon3/temp3_label": "mem",
        "hwmon/hwmon3/temp3_crit": "108000",
        "hwmon/hwmon3/freq2_label": "mclk",
        "hwmon/hwmon3/power1_cap": str(round(power_limit_watts * 1e6)),
        "hwmon/hwmon3/power1_cap_default": str(round(power_limit_watts * 1e6)),
        "hwmon/hwmon3/pwm1_min": "0",
        "hwmon/hwmon3/pwm1_max": "255",
        "hwmon/hwmon3/fan1_min": "0",
        "hwmon/hwmon3/fan1_max": "3650",
    }


def changing_files(figures: Figures, *, integrated: bool) -> dict[str, str | bytes]:
    """What follows the load, below `device/`. Units as in the kernel: bytes, percent, µW, m°C, Hz, rpm."""
    sensor = "hwmon/hwmon3/"
    files: dict[str, str | bytes] = {
        "mem_info_vram_total": str(figures.vram_total_bytes),
        "mem_info_vram_used": str(figures.vram_used_bytes),
        "mem_info_gtt_total": str(figures.gtt_total_bytes),
        "mem_info_gtt_used": str(figures.gtt_used_bytes),
        "gpu_busy_percent": str(figures.busy_percent),
        "mem_busy_percent": str(figures.memory_busy_percent),
        "pp_dpm_sclk": dpm(CORE_CLOCKS_MHZ, figures.core_clock_mhz),
        "pp_dpm_mclk": dpm(MEMORY_CLOCKS_MHZ, figures.memory_clock_mhz),
        sensor + "temp1_input": str(round(figures.edge_c) * 1000),
        sensor + "freq1_input": str((figures.core_clock_mhz or 19) * 1_000_000),
        sensor + "power1_average": str(round(figures.power_watts) * 1_000_000),
    }
    if integrated:
        return files
    return files | {
        sensor + "temp2_input": str(round(figures.hotspot_c) * 1000),
        sensor + "temp3_input": str(round(figures.memory_c) * 1000),
        sensor + "freq2_input": str(figures.memory_clock_mhz * 1_000_000),
        sensor + "fan1_input": str(figures.fan_rpm),
        sensor + "pwm1": str(round(figures.fan_percent * 2.55)),
        "gpu_metrics": gpu_metrics(figures),
    }


def dpm(levels: tuple[int, ...], active_mhz: int | None) -> str:
    """The levels of a clock with a star at the one in force; None is deep sleep, a line `S` of its own."""
    lines = [f"{number}: {mhz}Mhz {'*' if mhz == active_mhz else ''}" for number, mhz in enumerate(levels)]
    return "\n".join(["S: 19Mhz *", *lines] if active_mhz is None else lines)


def gpu_metrics(figures: Figures) -> bytes:
    """`struct gpu_metrics_v1_3` (kgd_pp_interface.h), 120 bytes, in which a card tells why it is slow."""
    absent, core = 0xFFFF, figures.core_clock_mhz or 19
    status = sum(THROTTLE_BITS[word] for word in figures.throttling)
    return struct.pack(
        "<HBB6H3HHQQ7H7HIH2HHII4HQ3HHQ",
        *(120, 1, 3),
        *(round(figures.edge_c), round(figures.hotspot_c), round(figures.memory_c), absent, absent, absent),
        *(figures.busy_percent, figures.memory_busy_percent, 0),
        round(figures.power_watts),
        *(0, 0),
        *(core, 417, figures.memory_clock_mhz, 0, 0, 0, 0),
        *(core, 417, figures.memory_clock_mhz, 0, 0, 0, 0),
        int(bool(status)),
        figures.fan_rpm,
        *(16, 320),
        0,
        *(0, 0),
        *(absent,) * 4,
        0,
        *(absent, absent, absent),
        0,
        status,
    )


def node_files(gpu_id: int, pci: str | None) -> dict[str, str]:
    """A node of KFD's topology; without an address it is the processor's."""
    if pci is None:
        return {"gpu_id": "0", "name": "", "properties": "cpu_cores_count 16\nsimd_count 0\ngfx_target_version 0"}
    domain, bus, rest = pci.split(":")
    slot, function = rest.split(".")
    location = int(bus, 16) << 8 | int(slot, 16) << 3 | int(function)
    properties = (
        f"cpu_cores_count 0\nsimd_count 128\ngfx_target_version 120001\nvendor_id 4098\ndevice_id 30032\n"
        f"location_id {location}\ndomain {int(domain, 16)}"
    )
    return {"gpu_id": str(gpu_id), "name": "ip discovery", "properties": properties}


def kfd_files(gpu_id: int, vram_bytes: int, pasid: int) -> dict[str, str]:
    """A process that has ROCm open, below `/sys/class/kfd/kfd/proc/PID`."""
    return {
        f"vram_{gpu_id}": str(vram_bytes),
        f"sdma_{gpu_id}": "0",
        f"stats_{gpu_id}/evicted_ms": "0",
        "pasid": str(pasid),
    }


def fdinfo(pci: str, client: int, pasid: int, vram_bytes: int, gtt_bytes: int, *, compute: bool) -> str:
    """One open file of the driver, below `/proc/PID/fdinfo`. The work of ROCm's queues is counted nowhere in it."""
    vram, gtt = vram_bytes // 1024, gtt_bytes // 1024
    engine = [] if compute else ["drm-engine-gfx:\t48211003 ns"]
    return "\n".join(
        [
            *("pos:\t0", "flags:\t02104002", "mnt_id:\t27", "ino:\t588", f"pasid:\t{pasid}"),
            *("drm-driver:\tamdgpu", f"drm-pdev:\t{pci}", f"drm-client-id:\t{client}"),
            *(f"drm-memory-vram:\t{vram} KiB", f"drm-memory-gtt: \t{gtt} KiB", "drm-memory-cpu: \t0 KiB"),
            *(f"amd-memory-visible-vram:\t{vram} KiB", "amd-evicted-vram:\t0 KiB", "amd-evicted-visible-vram:\t0 KiB"),
            *(f"amd-requested-vram:\t{vram} KiB", "amd-requested-visible-vram:\t0 KiB"),
            *(f"amd-requested-gtt:\t{gtt} KiB", *engine),
        ]
    )
