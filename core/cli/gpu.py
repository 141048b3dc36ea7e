"""`bakehouse gpu`."""

from __future__ import annotations

from typing import Any

import click

from core.cli.common import gigabytes, json_option, print_json
from core.gpu.reading import DeviceReading, Sample
from core.home import Home


@click.command(epilog="Example: bakehouse gpu --json")
@json_option
def gpu(as_json: bool) -> None:
    """What the card and the machine say now, and who holds the card."""
    from core.gpu.sampler import Sampler
    from core.queue import lease

    home = Home.find()
    sampler = Sampler(home)
    sample = sampler.read()
    sampler.close()
    card = sampler.card
    held = lease.holder(lease.lease_path(home, card.pci if card else None))
    if as_json:
        print_json({"sample": sample.to_json(), "card": card.pci if card else None, "lease": held})
        return
    for line in lines(sample):
        print(line)
    slot = "the card" if card else "the CPU, the one slot"
    print(f"lease    {slot}: " + standing(held))
    if sample.problem:
        print(f"▲ {sample.problem}")


def standing(held: dict[str, Any] | None) -> str:
    """The lease in words; it can be held by a process that has not said, or not yet, for whom."""
    if held is None:
        return "free"
    if "problem" in held:
        return f"▲ {held['problem']}"
    return f"held by job {held['job']} of {held.get('home')}" if "job" in held else "held, nobody has said by whom"


def lines(sample: Sample) -> list[str]:
    """A table of what there is; what a card does not give is left out."""
    host = sample.host
    shown = [device_line(device) for device in sample.devices] or ["GPU      none found"]
    if host.memory_total_bytes is not None and host.memory_available_bytes is not None:
        used = host.memory_total_bytes - host.memory_available_bytes
        shown.append(f"memory   {used / 1e9:.1f}/{gigabytes(host.memory_total_bytes)} used")
    if host.load_1m is not None:
        shown.append(f"load     {host.load_1m:.2f} on {host.cpu_count} cores")
    shown += [
        f"process  {process.pid} {process.name or ''} {gigabytes(process.vram_bytes)}{' ours' if process.ours else ''}"
        for process in sample.processes
    ]
    return shown


def device_line(device: DeviceReading) -> str:
    parts = [f"GPU {device.index}    {device.name}", device.pci or ""]
    if device.vram_used_bytes is not None and device.vram_total_bytes is not None:
        parts.append(f"VRAM {device.vram_used_bytes / 1e9:.1f}/{gigabytes(device.vram_total_bytes)}")
    if device.busy_percent is not None:
        parts.append(f"busy {device.busy_percent:.0f} %")
    if device.power_watts is not None:
        parts.append(f"{device.power_watts:.0f} W")
    if device.temperature_edge_c is not None:
        parts.append(f"edge {device.temperature_edge_c:.0f} °C")
    if device.temperature_hotspot_c is not None:
        parts.append(f"hotspot {device.temperature_hotspot_c:.0f} °C")
    if device.suspended:
        parts.append("asleep")
    return "  ".join(part for part in parts if part)
