"""Figures and foreign text as a person reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from core.text import log_line

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def safe(text: str, tab: int = 4) -> str:
    """One line of foreign text without anything a terminal obeys. What a carriage return overwrote is dropped."""
    return log_line(text, tab=tab)


def duration(seconds: float | None) -> str:
    """`40 s`, `26 min`, `3 h 05`, `2 d 4 h`; empty when not known."""
    if seconds is None or seconds < 0:
        return ""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d}"
    return f"{hours // 24} d {hours % 24} h"


def gigabytes(count: float, unit: bool = True) -> str:
    """Bytes as GB (1e9), or as MB where GB would read 0.0."""
    if count < 50e6 and unit:
        return f"{count / 1e6:.1f} MB"
    if count < 1e9 and unit:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f}{' GB' if unit else ''}"


def percent(fraction: float) -> str:
    """`58 %`; 100 only when all is done."""
    return f"{min(99, int(fraction * 100)) if fraction < 1 else 100} %"


def clock(moment: float, seconds: bool = False) -> str:
    return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(moment))


def weekday(moment: float) -> str:
    """`Tue`; English like everything else here, whatever the locale."""
    return ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[time.localtime(moment).tm_wday]


def when(moment: float | None, now: float) -> str:
    """`14:01` today, `9 Nov` before."""
    if moment is None:
        return ""
    then, today = time.localtime(moment), time.localtime(now)
    if then[:3] == today[:3]:
        return clock(moment)
    return f"{then.tm_mday} {MONTHS[then.tm_mon - 1]}"


def plural(count: int, word: str) -> str:
    """`1 job`, `4 jobs`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def figure(value: float) -> str:
    """Four significant digits at most, as losses and learning rates are read: `0.4189`, `7.1e-05`, `12.31`."""
    if value and abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.4g}" if abs(value) >= 10 else f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"


def with_limit(value: float | None, limit: float | None, unit: str) -> str:
    """`238/304 W`, without what is not known."""
    if value is None:
        return f"— {unit}"
    return f"{value:.0f}/{limit:.0f} {unit}" if limit else f"{value:.0f} {unit}"


def named_values(values: Mapping[str, float | None], unit: str) -> str:
    """`edge/hotspot 64/86 °C`, of those that are known; empty when none is."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return ""
    return f"{'/'.join(known)} {'/'.join(f'{value:.0f}' for value in known.values())} {unit}"
