"""Outputs of the vendors' tools in their shapes, with figures of this project's own, and tools on PATH that print them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.gpu.sources.tool import Tool

MIB = 2**20


def standin(folder: Path, name: str, script: str) -> Tool:
    """A real executable `name` that runs `script` (of sh), and the tool that finds it first on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Tool(name, {"PATH": f"{folder}:/usr/bin:/bin"})


def printing(folder: Path, name: str, output: str | bytes, *, stderr: str = "", code: int = 0) -> Tool:
    """A tool that prints this, whatever it is asked."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stdout").write_bytes(output if isinstance(output, bytes) else output.encode("utf-8", "surrogatepass"))
    (folder / "stderr").write_text(stderr)
    return standin(folder, name, f'cat "{folder}/stdout"; cat "{folder}/stderr" >&2; exit {code}')


# rocm-smi.

ROCM_SMI_CARD = {
    "Device Name": "AMD Radeon Stand-in",
    "Device ID": "0x7a11",
    "Temperature (Sensor edge) (C)": "48.0",
    "Temperature (Sensor junction) (C)": "61.0",
    "Temperature (Sensor memory) (C)": "72.0",
    "mclk clock speed:": "(1258Mhz)",
    "mclk clock level:": "3",
    "sclk clock speed:": "(2710Mhz)",
    "sclk clock level:": "1",
    "Fan speed (level)": "82",
    "Fan speed (%)": "32",
    "Fan RPM": "1340",
    "Max Graphics Package Power (W)": "245.0",
    "Average Graphics Package Power (W)": "187.0",
    "GPU use (%)": "94",
    "GPU Memory Read/Write Activity (%)": "41",
    "PCI Bus": "0000:2C:00.0",
    "VRAM Total Memory (B)": "17163091968",
    "VRAM Total Used Memory (B)": "9126805504",
    "GTT Total Memory (B)": "33285996544",
    "GTT Total Used Memory (B)": "88080384",
    "Card Series": "AMD Radeon Stand-in XT",
    "GFX Version": "gfx1201",
}
ROCM_SMI = {
    "card0": ROCM_SMI_CARD,
    "system": {
        "PID31337": "python3, 1, 8589934592, 0, unknown",
        "PID2718": "tool, with, commas, 1, 268435456, 0, 12",
    },
}
ROCM_SMI_CSV = (
    "device,GPU use (%),VRAM Total Memory (B),VRAM Total Used Memory (B),Card Series,GFX Version\n"
    "card0,71,17163091968,4294967296,AMD Radeon Stand-in XT,gfx1201\n\n"
)
ROCM_SMI_PIDS = (
    "============================ ROCm System Management Interface ============================\n"
    "KFD process information:\n"
    "PID     PROCESS NAME    GPU(s)  VRAM USED       SDMA USED       CU OCCUPANCY\n"
    "31337   python3         1       8589934592      0               UNKNOWN     \n"
    "2718    two words       1       268435456       0               3           \n"
    "==========================================================================================\n"
)
ROCM_SMI_SHORT = (
    "Device  Node  IDs              Temp    Power  Partitions          SCLK     MCLK     Fan     Perf  PwrCap  VRAM%  GPU%\n"
    "              (DID,     GUID)  (Edge)  (Avg)  (Mem, Compute, ID)\n"
    "=====================================================================================================================\n"
    "0       1     0x7a11,   31007  52.0°C  88.0W  N/A, N/A, 0         2100Mhz  1258Mhz  30.2%   auto  245.0W  17%    58%\n"
    "=====================================================================================================================\n"
)
ROCM_SMI_LINES = (
    "GPU[0]\t\t: Temperature (Sensor edge) (C): 47.0\n"
    "GPU[0]\t\t: sclk clock level: 1: (2300Mhz)\n"
    "GPU[0]\t\t: Fan Level: 77 (30%)\n"
    "GPU[0]\t\t: GPU use (%): 64\n"
    "GPU[0]\t\t: PCI Bus: 0000:2C:00.0\n"
)

# amd-smi.


def figure(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit}


AMD_SMI_CARD = {
    "gpu": 0,
    "usage": {
        "gfx_activity": figure(88, "%"),
        "umc_activity": figure(37, "%"),
        "mm_activity": "N/A",
        "vcn_activity": [figure(0, "%"), "N/A"],
    },
    "power": {"socket_power": figure(201, "W"), "gfx_voltage": figure(902, "mV"), "throttle_status": "UNTHROTTLED"},
    "clock": {
        "gfx_0": {"clk": figure(2655, "MHz"), "min_clk": figure(500, "MHz"), "clk_locked": "DISABLED"},
        "mem_0": {"clk": figure(1258, "MHz"), "deep_sleep": "DISABLED"},
    },
    "temperature": {"edge": figure(50, "C"), "hotspot": figure(66, "C"), "mem": figure(74, "C")},
    "fan": {"speed": 84, "max": 255, "rpm": 1410, "usage": figure(32.94, "%")},
    "mem_usage": {
        "total_vram": figure(16368, "MB"),
        "used_vram": figure(9001, "MB"),
        "free_vram": figure(7367, "MB"),
        "total_gtt": figure(31744, "MB"),
        "used_gtt": figure(75, "MB"),
    },
}
AMD_SMI_METRIC_6 = [AMD_SMI_CARD]
AMD_SMI_METRIC_7 = {"gpu_data": [AMD_SMI_CARD]}
AMD_SMI_STATIC = [
    {
        "gpu": 0,
        "asic": {
            "market_name": "AMD Radeon Stand-in XT",
            "vendor_id": "0x1002",
            "target_graphics_version": "gfx1201",
        },
        "bus": {"bdf": "0000:2c:00.0", "max_pcie_width": 16},
        "limit": {"max_power": figure(270, "W"), "socket_power": figure(245, "W")},
    }
]
AMD_SMI_PROCESSES = [
    {
        "gpu": 0,
        "process_list": [
            {
                "process_info": {
                    "name": "/opt/venv/bin/python3",
                    "pid": 31337,
                    "memory_usage": {
                        "gtt_mem": figure(2097152, "B"),
                        "cpu_mem": figure(0, "B"),
                        "vram_mem": figure(8589934592, "B"),
                    },
                    "mem_usage": figure(8592031744, "B"),
                    "usage": {"gfx": figure(0, "ns"), "enc": figure(0, "ns")},
                }
            }
        ],
    }
]
AMD_SMI_IDLE = [{"gpu": 0, "process_list": [{"process_info": "No running processes detected"}]}]

# nvidia-smi.

NVIDIA_CSV = (
    "index, pci.bus_id, name, memory.total [MiB], memory.used [MiB], utilization.gpu [%], utilization.memory [%], "
    "power.draw [W], power.limit [W], temperature.gpu, temperature.memory, clocks.current.graphics [MHz], "
    "clocks.current.memory [MHz], fan.speed [%], compute_cap, clocks_throttle_reasons.active\n"
    "0, 00000000:3D:00.0, NVIDIA Stand-in 24GB, 24564 MiB, 11203 MiB, 97 %, 44 %, 312.55 W, 350.00 W, 68, N/A, "
    "2520 MHz, 10251 MHz, 51 %, 8.9, 0x0000000000000024\n"
)
NVIDIA_APPS = (
    "gpu_bus_id, pid, process_name, used_gpu_memory [MiB]\n"
    "00000000:3D:00.0, 31337, /opt/venv/bin/python3, 10110 MiB\n"
    "00000000:3D:00.0, 2718, [Not Found], [N/A]\n"
)
NVIDIA_XML = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <attached_gpus>1</attached_gpus>
  <gpu id="00000000:3D:00.0">
    <product_name>NVIDIA Stand-in 24GB</product_name>
    <fan_speed>51 %</fan_speed>
    <clocks_event_reasons>
      <clocks_event_reason_gpu_idle>Not Active</clocks_event_reason_gpu_idle>
      <clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
      <clocks_event_reason_sw_thermal_slowdown>Active</clocks_event_reason_sw_thermal_slowdown>
    </clocks_event_reasons>
    <fb_memory_usage><total>24564 MiB</total><used>11203 MiB</used></fb_memory_usage>
    <utilization><gpu_util>97 %</gpu_util><memory_util>44 %</memory_util></utilization>
    <temperature><gpu_temp>68 C</gpu_temp><memory_temp>N/A</memory_temp></temperature>
    <gpu_power_readings>
      <power_draw>312.55 W</power_draw><current_power_limit>350.00 W</current_power_limit>
    </gpu_power_readings>
    <clocks><graphics_clock>2520 MHz</graphics_clock><mem_clock>10251 MHz</mem_clock></clocks>
    <processes>
      <process_info>
        <gpu_instance_id>N/A</gpu_instance_id>
        <pid>31337</pid><type>C</type><process_name>/opt/venv/bin/python3 train.py</process_name>
        <used_memory>10110 MiB</used_memory>
      </process_info>
    </processes>
  </gpu>
</nvidia_smi_log>
"""


def as_json(document: Any) -> str:
    return json.dumps(document)
