"""What rocm-smi's words mean: the keys of ROCm 4.3 to 7, however they are laid out (JSON, CSV, `GPU[0] : key: value`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources import values

Parsed = tuple[tuple[DeviceReading, ...], tuple[ProcessReading, ...]]
"""The cards and processes of one output; neither need be there."""

_Value = TypeVar("_Value")
_CARD = re.compile(r"(?:card|gpu)\s*\[?([0-9]{1,4})\]?", re.I)
_HEX = re.compile(r"0x[0-9a-f]{1,8}", re.I)
_CLOCK = re.compile(r"\(\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*mhz\s*\)", re.I)
_FAN_LEVEL = re.compile(r"\(\s*([0-9.]{1,8})\s*%\s*\)")
# Bits of `indep_throttle_status` in the kernel's amdgpu_smu.h (SMU_THROTTLER_*_BIT).
_THROTTLE_BITS = (("power", 0, 16), ("current", 16, 32), ("thermal", 32, 56))


def card_number(key: str) -> int | None:
    """N of `cardN`, by which rocm-smi counts; None for another key (`system`)."""
    match = _CARD.fullmatch(key.strip())
    return int(match[1]) if match else None


def normal_key(key: str) -> str:
    """Case, doubled spaces and trailing colons differ between versions."""
    return " ".join(key.split()).rstrip(": ").lower()


def device_of(number: int, said: Mapping[str, Any]) -> DeviceReading:
    """A card's reading from its keys and values. A key that is missing or a value that is none gives None."""
    card = {normal_key(key): value for key, value in said.items() if isinstance(key, str)}

    def first(read: Callable[[Any], _Value | None], *keys: str) -> _Value | None:
        found = (read(card[key]) for key in keys if key in card)
        return next((value for value in found if value is not None), None)

    def matching(read: Callable[[Any], _Value | None], ending: str, *, limit: bool) -> _Value | None:
        keys = (key for key in card if key.endswith(ending) and key.startswith(("max", "min")) is limit)
        return first(read, *keys)

    used, total = values.memory(
        first(values.size, "vram total used memory (b)"), first(values.size, "vram total memory (b)")
    )
    gtt_used, gtt_total = values.memory(
        first(values.size, "gtt total used memory (b)"), first(values.size, "gtt total memory (b)")
    )
    hotspot = first(values.celsius, "temperature (sensor junction) (c)", "temperature_hotspot (c)")
    architecture = first(values.architecture, "gfx version")
    return DeviceReading(
        index=number,
        name=_name(card),
        vendor="amd",
        pci=first(values.pci, "pci bus", "pci bus id"),
        vram_total_bytes=total,
        vram_used_bytes=used,
        gtt_total_bytes=gtt_total,
        gtt_used_bytes=gtt_used,
        busy_percent=first(values.percent, "gpu use (%)", "average_gfx_activity (%)"),
        # "GPU memory use (%)" was activity; its successor for what is allocated is another key.
        memory_busy_percent=first(
            values.percent,
            "gpu memory read/write activity (%)",
            "gpu memory use (%)",
            "average_umc_activity (%)",
        ),
        power_watts=_or(
            matching(values.watts, "graphics package power (w)", limit=False),
            first(values.watts, "current_socket_power (w)", "average_socket_power (w)"),
        ),
        power_limit_watts=first(values.watt_limit, "max graphics package power (w)"),
        temperature_edge_c=first(values.celsius, "temperature (sensor edge) (c)", "temperature_edge (c)"),
        temperature_hotspot_c=hotspot,
        temperature_memory_c=first(
            values.celsius,
            "temperature (sensor memory) (c)",
            "temperature (sensor mem) (c)",
            "temperature_mem (c)",
        ),
        clock_mhz=_clock(card, "sclk", "current_gfxclk (mhz)", "average_gfxclk_frequency (mhz)"),
        memory_clock_mhz=_clock(card, "mclk", "current_uclk (mhz)", "average_uclk_frequency (mhz)"),
        fan_percent=_or(first(values.percent, "fan speed (%)"), first(_fan_level, "fan level")),
        fan_rpm=first(values.rpm, "fan rpm", "current_fan_speed (rpm)"),
        throttling=_or(first(_throttling, "indep_throttle_status"), first(_throttled, "throttle_status")),
        architecture=architecture,
        integrated=values.integrated(architecture, hotspot),
    )


def process_row(pid: Any, name: Any, vram: Any, pci: str | None = None) -> ProcessReading | None:
    number = values.pid(pid)
    return None if number is None else ProcessReading(number, values.program(name), values.size(vram), pci=pci)


def parsed(
    devices: Iterable[DeviceReading], processes: Iterable[ProcessReading], what: str, *, listed: bool = False
) -> Parsed:
    """Both in order, and the card of the processes where there is but one.

    Raises `SourceError` when there is neither, unless an empty list of processes was all that was asked for (`listed`).
    """
    cards = tuple(sorted(devices, key=lambda device: device.index))[: values.CARDS_LIMIT]
    rows = tuple(processes)[: values.PROCESSES_LIMIT]
    if not cards and not rows and not listed:
        raise SourceError(f"rocm-smi printed no card: {what}")
    pci = cards[0].pci if len(cards) == 1 else None
    if pci is not None:
        rows = tuple(ProcessReading(row.pid, row.name, row.vram_bytes, pci=pci) for row in rows)
    return cards, rows


def _name(card: Mapping[str, Any]) -> str:
    for key in ("card series", "device name", "card model"):
        if (name := values.product(card.get(key))) is not None:
            return name
    for key in ("device id", "gpu id"):
        identity = values.text(card.get(key))
        if identity is not None and _HEX.fullmatch(identity):
            return f"AMD GPU {identity[2:].upper()}"
    return "AMD GPU"


def _clock(card: Mapping[str, Any], clock: str, *others: str) -> int | None:
    """`"sclk clock speed:": "(500Mhz)"`, `"sclk clock level": "0 (500Mhz)"`, and in text `sclk clock level: 0: (500Mhz)`."""
    for key, value in card.items():
        if key.startswith((f"{clock} clock speed", f"{clock} clock level")) and isinstance(value, str):
            match = _CLOCK.search(value[:64])
            if match:
                return values.mhz(match[1])
    return next((found for key in others if (found := values.mhz(card.get(key))) is not None), None)


def _fan_level(value: Any) -> float | None:
    match = _FAN_LEVEL.search(value[:64]) if isinstance(value, str) else None
    return values.percent(match[1]) if match else None


def _throttling(value: Any) -> tuple[str, ...] | None:
    bits = values.quantity(value)
    if bits is None or not 0 <= bits[0] < 2**62:
        return None
    number = int(bits[0])
    return tuple(why for why, low, high in _THROTTLE_BITS if number >> low & (1 << high - low) - 1)


def _throttled(value: Any) -> tuple[str, ...] | None:
    """Its bits mean something else on each chip; only that there is none of them is told."""
    bits = values.quantity(value)
    return None if bits is None or bits[0] < 0 else ("unknown",) if bits[0] else ()


def _or(value: _Value | None, other: _Value | None) -> _Value | None:
    return other if value is None else value
