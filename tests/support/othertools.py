"""The JSON of amdgpu_top and of nvtop as readings, to compare Bakehouse's own sources with what others read of a card."""

from __future__ import annotations

import json
from typing import Any

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.sources import values

Parsed = tuple[tuple[DeviceReading, ...], tuple[ProcessReading, ...]]


def parse_amdgpu_top(output: str) -> Parsed:
    """`amdgpu_top --json` (an object with `devices` and `suspended_devices`) or `--dump --json` (a list of cards)."""
    document = json.loads(output)
    entries = document if isinstance(document, list) else document["devices"]
    asleep = [] if isinstance(document, list) else document["suspended_devices"]
    devices = [_amdgpu_top_card(index, entry) for index, entry in enumerate(entries)]
    for place, entry in enumerate(asleep, start=len(devices)):
        devices.append(DeviceReading(place, entry["DeviceName"], "amd", pci=values.pci(entry["pci"]), suspended=True))
    processes = [
        ProcessReading(
            int(pid),
            client["name"],
            values.size(client["usage"]["usage"]["VRAM"]),
            pci=device.pci,
            gtt_bytes=values.size(client["usage"]["usage"]["GTT"]),
        )
        for device, entry in zip(devices, entries, strict=False)
        for pid, client in entry.get("fdinfo", {}).items()
    ]
    return tuple(devices), tuple(processes)


def _amdgpu_top_card(index: int, entry: dict[str, Any]) -> DeviceReading:
    info, sensors, activity = entry.get("Info", entry), entry["Sensors"], entry["gpu_activity"]
    kinds = {"PPT": "power", "TDC": "current", "EDC": "current", "TEMP": "thermal"}
    reasons = {kinds[kind] for word in entry["gpu_metrics"]["Throttle Status"] for kind in kinds if kind in word}
    return DeviceReading(
        index=index,
        name=info["DeviceName"],
        vendor="amd",
        pci=values.pci(info["PCI"]),
        vram_total_bytes=info["VRAM Size"],
        vram_used_bytes=info["VRAM Usage Size"],
        gtt_total_bytes=info["GTT Size"],
        gtt_used_bytes=info["GTT Usage Size"],
        busy_percent=values.percent(activity["GFX"]),
        memory_busy_percent=values.percent(activity["Memory"]),
        power_watts=values.watts(sensors["Average Power"]),
        power_limit_watts=values.watt_limit((info["Power Cap"] or {}).get("current")),
        temperature_edge_c=values.celsius(sensors["Edge Temperature"]),
        temperature_hotspot_c=values.celsius(sensors["Junction Temperature"]),
        temperature_memory_c=values.celsius(sensors["Memory Temperature"]),
        clock_mhz=values.mhz(sensors["GFX_SCLK"]),
        memory_clock_mhz=values.mhz(sensors["GFX_MCLK"]),
        fan_rpm=values.rpm(sensors["Fan"]),
        throttling=tuple(sorted(reasons)),
        architecture=values.architecture(info["gfx_target_version"]),
        integrated=info["GPU Type"] == "APU",
        suspended=False,
    )


def parse_nvtop(output: str) -> Parsed:
    """`nvtop --snapshot`: every value a string with its unit; `mem_util` is the share in use, not activity."""
    devices = []
    for index, entry in enumerate(json.loads(output)):
        used, total = values.memory(values.size(entry["mem_used"]), values.size(entry["mem_total"]))
        devices.append(
            DeviceReading(
                index=index,
                name=entry["device_name"],
                vendor="nvidia" if "NVIDIA" in entry["device_name"] else "amd",
                vram_total_bytes=total,
                vram_used_bytes=used,
                busy_percent=values.percent(entry["gpu_util"]),
                power_watts=values.watts(entry["power_draw"]),
                temperature_edge_c=values.celsius(entry["temp"]),
                clock_mhz=values.mhz(entry["gpu_clock"]),
                memory_clock_mhz=values.mhz(entry["mem_clock"]),
                fan_percent=values.percent(entry["fan_speed"]),
            )
        )
    return tuple(devices), ()
