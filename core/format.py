"""Figures as a person reads them, the same in the commands, the console and every message.

The rules: 1 GB is 10⁹ bytes. Sizes are in kB below 1 MB, in MB below 1 GB and in GB from there on; with one decimal in GB and
below 10 MB. A duration has its two largest units. A score
has the scale from 0 to 5, whatever it is of. A share that is not quite none or all is never shown as
0 % or 100 %. Months and days have English names, whatever the locale.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SCORE_SCALE = 5
"""Scores are stored in [0, 1] and shown as n of this."""
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def data_size(count: float | None) -> str:
    """Bytes: `0 MB`, `12 kB`, `7.4 MB`, `600 MB`, `11.6 GB`, `1,250.0 GB`; empty when not known."""
    if count is None:
        return ""
    if count < 0.5:
        return "0 MB"
    if count < 999_500:
        return f"{max(1, count / 1e3):.0f} kB"
    if count < 9_950_000:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e6:.0f} MB" if count < 999_500_000 else f"{count / 1e9:,.1f} GB"


def gb(count: float | None) -> str:
    """Bytes in GB without the unit, for columns and pairs of which something else says it: `11.6`; `—` when not known."""
    return "—" if count is None else f"{count / 1e9:.1f}"


def gb_within(count: float, plus_minus: float) -> str:
    """A forecast in GB without the unit: `12.1 ± 0.3`. No spread is said to be below 0.1."""
    return f"{gb(count)} ± {gb(max(1e8, plus_minus))}"


def energy(watt_hours: float) -> str:
    """`0.3 Wh`, `138 Wh`, `1.41 kWh`."""
    if watt_hours >= 999.5:
        return f"{watt_hours / 1000:.2f} kWh"
    return f"{watt_hours:.1f} Wh" if watt_hours < 9.95 else f"{watt_hours:.0f} Wh"


def learning_rate(value: float) -> str:
    """`5e-5`, `2.5e-4`, `2e-3`, `0.01`: below 0.01 as people write learning rates, all alike, so that they compare."""
    return f"{value:g}" if abs(value) >= 0.01 or not value else scientific(value)


def scientific(value: float) -> str:
    """`5e-5`, `2.5e-4`."""
    digits, _, exponent = f"{value:.3e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def parameters(count: int) -> str:
    """`135 M`, `1.7 B`."""
    return f"{count / 1e9:.1f} B" if count >= 999_500_000 else f"{count / 1e6:.0f} M"


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


def duration_range(low: float, high: float) -> str:
    """`4–9 min`, `50 s–3 min`, `1 h 05–3 h 20`; one duration where both ends read alike."""
    first, last = duration(low), duration(high)
    if first == last:
        return first
    (number, _, unit), (_, _, other) = first.partition(" "), last.partition(" ")
    return f"{number}–{last}" if unit == other and unit in ("s", "min") else f"{first}–{last}"


def clock(moment: float, seconds: bool = False) -> str:
    """The time of day, local: `14:07`, `14:07:31`."""
    return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(moment))


def moment(at: float | None, now: float | None = None) -> str:
    """`14:07` today, `9 Nov 14:07` otherwise; empty when not known."""
    if at is None:
        return ""
    return clock(at) if _same_day(at, now) else f"{_day(at)} {clock(at)}"


def when(at: float | None, now: float | None = None) -> str:
    """`14:07` today, `9 Nov` otherwise, for narrow columns; empty when not known."""
    if at is None:
        return ""
    return clock(at) if _same_day(at, now) else _day(at)


def weekday(at: float) -> str:
    """`Tue`."""
    return DAYS[time.localtime(at).tm_wday]


def score_figure(score: float | None) -> str:
    """A score in [0, 1] on the one scale that people see, 0 to 5, without the unit, for columns: `4.83`; `—` when not known.

    Two decimals, and never 5.00 or 0.00 of a score that is not quite all or none.
    """
    if score is None:
        return "—"
    text = f"{SCORE_SCALE * score:.2f}"
    if text == "5.00" and score < 1 - 1e-9:
        return "4.99"
    return "0.01" if text == "0.00" and score > 1e-9 else text


def of_five(value: float | None) -> str:
    """A score in [0, 1] with its scale: `4.83/5`; `—` when not known."""
    return "—" if value is None else f"{score_figure(value)}/{SCORE_SCALE}"


def percent(fraction: float) -> str:
    """How much is done: `58 %`, rounded down, so that 100 is said only of all."""
    return f"{min(99, int(fraction * 100)) if fraction < 1 else 100} %"


def share(part: float) -> str:
    """A part of a whole: `97 %`, `<1 %`, `>99 %`."""
    if 0 < part < 0.005:
        return "<1 %"
    if 0.995 <= part < 1:
        return ">99 %"
    return f"{part * 100:.0f} %"


def plural(count: int, word: str) -> str:
    """`1 job`, `1,204 jobs`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; empty of none."""
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


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


def _same_day(at: float, now: float | None) -> bool:
    return time.localtime(at)[:3] == time.localtime(now)[:3]


def _day(at: float) -> str:
    then = time.localtime(at)
    return f"{then.tm_mday} {MONTHS[then.tm_mon - 1]}"
