"""Figures as tools print them, read so that nothing in them raises: what is not understood, or cannot be, is None.

Tools write a number, `"42.0"`, `"54.0°C"`, `"(500Mhz)"`, `"37 %"`, `{"value": 3, "unit": "%"}`; and for a figure that is
not there `"N/A"`, `"[N/A]"`, `"unknown"`, `"N/A (Secondary die)"`, a number with all bits set, or nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from core.text import printable

# Beyond these no card lives; tools say "not available" by a number with all bits set, be it of 16 bits.
BYTES_LIMIT = 2**50
WATTS_LIMIT = 10_000.0
MHZ_LIMIT = 60_000
RPM_LIMIT = 60_000
PID_LIMIT = 2**31 - 1
CARDS_LIMIT = 256
PROCESSES_LIMIT = 4096
_TEMPERATURE_RANGE = (-60.0, 200.0)
_TEXT_LIMIT = 128

_ABSENT = ("n/a", "not ", "insufficient permission", "unknown error", "requested functionality", "err!", "gpu is lost")
_LINES_LIMIT = 20_000
_LINE_LIMIT = 4096

_NUMBER = re.compile(r"\(?\s*([+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[+-]?[0-9]{1,2})?)\s*([a-z%°/]{0,8})\s*\)?", re.I)
_PCI = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
# GPUs inside a processor, by LLVM's table of AMDGPU processors; gfx942 is a card and, as MI300A, a processor.
_IN_PROCESSORS = frozenset(
    ("gfx700", "gfx703", "gfx705", "gfx801", "gfx810", "gfx902", "gfx909", "gfx90c", "gfx1013", "gfx1033", "gfx1035")
) | {"gfx1036", "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153", "gfx1170", "gfx1171", "gfx1172"}
_HEX = re.compile(r"0x[0-9a-f]{1,8}", re.I)
_ARCHITECTURE = re.compile(r"gfx[0-9a-f]{3,5}")
# ROCm 6.1 to 6.3 add up decimals where the minor is 0: gfx9010 is gfx90a, gfx11003 is gfx1103.
_ADDED_UP = re.compile(r"gfx(9|1[0-9])0([0-9]{2})")
# AMD's tools write MB and mean 2^20; NVIDIA's write MiB.
_UNITS = {"": 0, "b": 0, "bytes": 0, "k": 1, "kb": 1, "kib": 1, "m": 2, "mb": 2, "mib": 2, "g": 3, "gb": 3, "gib": 3}
_UNITS |= {"t": 4, "tb": 4, "tib": 4}


def number(value: Any, low: float, high: float) -> float | None:
    """The number within [low, high], whatever unit stands behind it."""
    found = quantity(value)
    return found[0] if found is not None and low <= found[0] <= high else None


def whole(value: Any, low: int, high: int) -> int | None:
    found = number(value, low, high)
    return None if found is None else int(found)


def percent(value: Any) -> float | None:
    return number(value, 0, 100)


def watts(value: Any) -> float | None:
    return number(value, 0, WATTS_LIMIT)


def watt_limit(value: Any) -> float | None:
    """A card without a settable limit says 0."""
    return watts(value) or None


def celsius(value: Any) -> float | None:
    return number(value, *_TEMPERATURE_RANGE)


def mhz(value: Any) -> int | None:
    return whole(value, 0, MHZ_LIMIT)


def rpm(value: Any) -> int | None:
    return whole(value, 0, RPM_LIMIT)


def size(value: Any, unit: str = "B") -> int | None:
    """Bytes of a figure in the unit that stands behind it, else in `unit`; MB and GB are taken for 2^20 and 2^30."""
    found = quantity(value)
    if found is None:
        return None
    power = _UNITS.get((found[1] or unit).lower())
    amount = -1.0 if power is None else found[0] * 1024.0**power
    return round(amount) if 0 <= amount <= BYTES_LIMIT else None


def pid(value: Any) -> int | None:
    return whole(value, 1, PID_LIMIT)


def memory(used: int | None, total: int | None) -> tuple[int | None, int | None]:
    """(used, total) of a card. A total of 0 is none, nor is there a use of it; a use above the total is not believed."""
    if total == 0:
        return None, None
    return (None if used is not None and total is not None and used > total else used), total


def quantity(value: Any) -> tuple[float, str] | None:
    """(number, unit as written or empty) of what a tool printed for a figure."""
    if isinstance(value, Mapping):
        inner, unit = value.get("value"), value.get("unit")
        found = None if isinstance(inner, Mapping) else quantity(inner)
        return None if found is None else (found[0], found[1] or (unit.strip()[:16] if isinstance(unit, str) else ""))
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return (float(value), "") if abs(value) < 2**62 else None
    if isinstance(value, float):
        return (value, "") if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > 64:
        return None
    match = _NUMBER.fullmatch(value.strip())
    return (float(match[1]), match[2]) if match else None


def text(value: Any) -> str | None:
    """A name that can be shown, at most 128 characters; None for what stands where there is none."""
    if not isinstance(value, str):
        return None
    shown = printable(value[:1024].strip(), limit=_TEXT_LIMIT, instead="?").strip()
    return None if absent(shown) else shown


def product(value: Any) -> str | None:
    """The name of a card; a tool that does not know the card prints a number in its place."""
    name = text(value)
    return None if name is None or _HEX.fullmatch(name) or not any(letter.isalpha() for letter in name) else name


def absent(value: str) -> bool:
    """Whether these words stand for "there is none"."""
    word = value.strip().strip("[]()").strip().lower()
    return not word or word.startswith(_ABSENT) or word in ("unknown", "none", "null", "nan", "unsupported")


def program(value: Any) -> str | None:
    """The name of a program as the kernel gives it, of what may be its path with arguments."""
    name = text(value)
    if name is None or not name.startswith("/"):
        return name
    return name.split(" ", 1)[0].rpartition("/")[2] or name


def pci(value: Any) -> str | None:
    """An address as the kernel writes it, `0000:1e:00.0`."""
    match = _PCI.fullmatch(value.strip().lower()) if isinstance(value, str) and len(value) < 64 else None
    return f"{int(match[1] or '0', 16):04x}:{match[2]}:{match[3]}.{match[4]}" if match else None


def lines(output: str) -> list[str]:
    """The lines of a tool's table; no card has so many, or so long ones, that the limits cut any."""
    return [
        line[:_LINE_LIMIT] for line in output.removeprefix("\ufeff")[: _LINES_LIMIT * 256].splitlines()[:_LINES_LIMIT]
    ]


def architecture(value: Any) -> str | None:
    """LLVM's name of it."""
    name = value.strip().lower() if isinstance(value, str) and len(value) < 64 else ""
    if (match := _ADDED_UP.fullmatch(name)) and int(match[2]) < 16:
        return f"gfx{match[1]}0{int(match[2]):x}"
    return name if _ARCHITECTURE.fullmatch(name) else None


def integrated(architecture: str | None, hotspot_c: float | None) -> bool | None:
    """Whether an AMD GPU is a part of the processor, told by its architecture, else by a sensor that only cards have."""
    if architecture is not None:
        return None if architecture == "gfx942" else architecture in _IN_PROCESSORS
    return None if hotspot_c is None else False
