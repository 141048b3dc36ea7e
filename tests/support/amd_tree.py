"""The files of an AMD GPU under /sys and /proc, with two ROCm processes on it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from core.gpu.sources.sysfs import SysfsSource

CARD: dict[str, Any] = {
    "vendor": "0x1002\n",
    "revision": "0xc8\n",
    "uevent": "DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:7FFF\nPCI_SLOT_NAME=0000:2b:00.0\n",
    "product_name": "Test Card 24G\n",
    "power/runtime_status": "active\n",
    "mem_info_vram_total": "25753026560\n",
    "mem_info_vram_used": "7340032000\n",
    "mem_info_gtt_total": "33600000000\n",
    "mem_info_gtt_used": "48000000\n",
    "gpu_busy_percent": "93\n",
    "mem_busy_percent": "41\n",
    "pp_dpm_sclk": "0: 500Mhz \n1: 1310Mhz \n2: 2590Mhz *\n",
    "pp_dpm_mclk": "0: 96Mhz \n1: 772Mhz *\n2: 1375Mhz \n",
    # Version 1.3; the last word says why the card is throttled: here its package power and its hotspot.
    "gpu_metrics": struct.pack("<HBB108xQ", 120, 1, 3, 1 << 0 | 1 << 36),
    "hwmon/hwmon3/name": "amdgpu\n",
    "hwmon/hwmon3/power1_average": "231500000\n",
    "hwmon/hwmon3/power1_cap": "327000000\n",
    "hwmon/hwmon3/temp1_input": "58000\n",
    "hwmon/hwmon3/temp2_input": "76000\n",
    "hwmon/hwmon3/temp3_input": "82000\n",
    "hwmon/hwmon3/fan1_input": "1430\n",
    "hwmon/hwmon3/pwm1": "102\n",
    "hwmon/hwmon3/pwm1_max": "255\n",
}
KFD = {
    "topology/nodes/0/gpu_id": "0\n",
    "topology/nodes/1/gpu_id": "55123\n",
    "topology/nodes/1/properties": "cpu_cores_count 0\nsimd_count 96\ngfx_target_version 120001\nlocation_id 11008\ndomain 0\n",
    "proc/7001/vram_55123": "6100000000\n",
    "proc/7001/pasid": "32770\n",
    "proc/7002/vram_55123": "0\n",
}


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def plant(folder: Path) -> Path:
    """Write the card, KFD's files and the names of both processes; the folder, with `sys` and `proc` in it."""
    write(folder / "sys/class/drm/card1/device", CARD)
    write(folder / "sys/class/kfd/kfd", KFD)
    write(folder / "proc", {"7001/comm": "python3\n", "7002/comm": "rocminfo\n"})
    return folder


def source(tree: Path) -> SysfsSource:
    return SysfsSource(tree / "sys", tree / "proc")


def device_folder(tree: Path) -> Path:
    return tree / "sys/class/drm/card1/device"
