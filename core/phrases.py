"""Pieces of the sentences that a person reads, the same in the console, the commands and the reasons of waiting jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence


def clock(moment: float | None) -> str:
    """`14:07` today, `9 Nov 14:07` otherwise; empty when it is not known."""
    if moment is None:
        return ""
    then, now = time.localtime(moment), time.localtime()
    if then[:3] == now[:3]:
        return time.strftime("%H:%M", then)
    return f"{then.tm_mday} {time.strftime('%b %H:%M', then)}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; empty of none."""
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


def energy(watt_hours: float) -> str:
    """`0.3 Wh`, `138 Wh`, `1.41 kWh`."""
    if watt_hours >= 1000:
        return f"{watt_hours / 1000:.2f} kWh"
    return f"{watt_hours:.1f} Wh" if watt_hours < 10 else f"{watt_hours:.0f} Wh"
