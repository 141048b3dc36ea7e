"""The last ten minutes of the GPU, or of a machine without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.format import with_limit
from core.gpu.reading import Sample
from tui.lines import Line
from tui.model.gpu_facts import HOT_C, gpu
from tui.widgets.bars import sparkline

HISTORY_SECONDS = 600
Value = Callable[[Sample], float | None]


def by_time(samples: Sequence[Sample], value: Value, columns: int) -> list[float | None]:
    """Means over equal stretches of the last ten minutes, the newest at the right.

    The stretches begin at round times, so that a column stays as it is until the next one begins.
    """
    stretch = HISTORY_SECONDS / columns
    newest = int(samples[-1].time // stretch)
    found: list[list[float]] = [[] for _ in range(columns)]
    for sample in samples:
        column = columns - 1 - (newest - int(sample.time // stretch))
        if column >= 0 and (known := value(sample)) is not None:
            found[column].append(known)
    return [sum(known) / len(known) if known else None for known in found]


def busy_percent(sample: Sample) -> float | None:
    device = gpu(sample)
    return device.busy_percent if device else None


def vram_percent(sample: Sample) -> float | None:
    device = gpu(sample)
    if device is None or device.vram_used_bytes is None or not device.vram_total_bytes:
        return None
    return 100 * device.vram_used_bytes / device.vram_total_bytes


def power_watts(sample: Sample) -> float | None:
    device = gpu(sample)
    return device.power_watts if device else None


def hottest_c(sample: Sample) -> float | None:
    """The hotspot, else the edge."""
    device = gpu(sample)
    if device is None:
        return None
    return device.temperature_edge_c if device.temperature_hotspot_c is None else device.temperature_hotspot_c


def host_percent(sample: Sample) -> float | None:
    host = sample.host
    if host.memory_available_bytes is None or not host.memory_total_bytes:
        return None
    return 100 - 100 * host.memory_available_bytes / host.memory_total_bytes


def cpu_percent(sample: Sample) -> float | None:
    return sample.host.cpu_percent


def history_rows(samples: Sequence[Sample], width: int, with_gpu: bool) -> list[Line]:
    """Two sparklines over the last ten minutes, with the newest figure beside each, and their axis."""
    last = samples[-1]
    device = gpu(last)
    figures: list[tuple[str, str, str]] = []
    series: tuple[tuple[str, str, Value], ...]
    if with_gpu and device is not None:
        series = (("busy", "good", busy_percent), ("VRAM", "busy", vram_percent))
        if device.power_watts is not None:
            figures.append(("power", with_limit(device.power_watts, device.power_limit_watts, "W"), "text"))
        for label, degrees in (("edge", device.temperature_edge_c), ("hotspot", device.temperature_hotspot_c)):
            if degrees is not None:
                hot = label == "hotspot" and degrees > HOT_C
                figures.append((label, f"{degrees:.0f} °C", "warn" if hot else "text"))
    else:
        series = (("CPU", "good", cpu_percent), ("memory", "busy", host_percent))
        host = last.host
        if host.load_1m is not None:
            figures.append(("load", f"{host.load_1m:.1f}", "text"))
        if host.cpu_count:
            figures.append(("cores", str(host.cpu_count), "text"))
    head = max(len(name) for name, _, _ in series) + 1
    side = 18 if width >= 52 else 0
    room = max(8, min(60, width - head - 6 - side))
    rows = []
    for name, role, value in series:
        newest = value(last)
        line = Line(name).to(head).extend(sparkline(by_time(samples, value, room), room, 100.0, role))
        rows.append(line.add(f" {newest:>3.0f} %" if newest is not None else "   — "))
    rows.append(axis(head, room))
    if side:
        for row, (label, figure, role) in zip(rows, figures, strict=False):
            row.to(head + room + 8).add(label).to(head + room + 24 - len(figure)).add(figure, role)
    return rows


def axis(head: int, room: int) -> Line:
    return Line(" " * head).add("−10 min", "dim").to(head + room - 3).add("now", "dim")


@dataclass(frozen=True)
class Trend:
    """One figure over time: its name, unit, the top of its scale where that is given, and where it begins to be too much."""

    name: str
    unit: str
    role: str
    value: Value
    top: float | None = None
    too_much: float | None = None


def trends(last: Sample) -> tuple[Trend, ...]:
    device = gpu(last)
    limit = device.power_limit_watts if device else None
    return (
        Trend("VRAM", "%", "busy", vram_percent, 100.0, 97.0),
        Trend("busy", "%", "good", busy_percent, 100.0),
        Trend("power", "W", "violet", power_watts, limit),
        Trend("hottest", "°C", "focus", hottest_c, 110.0, HOT_C),
    )


def trend_rows(samples: Sequence[Sample], width: int) -> list[Line]:
    """A row a figure over the last ten minutes with its newest value, its least, greatest and mean."""
    head, tail = 9, 38
    room = max(10, width - head - tail)
    rows = []
    for trend in trends(samples[-1]):
        known = [value for sample in samples if (value := trend.value(sample)) is not None]
        if not known:
            rows.append(Line(trend.name).to(head).add("not given by this GPU", "dim"))
            continue
        newest = trend.value(samples[-1])
        line = Line(trend.name).to(head)
        line.extend(
            sparkline(by_time(samples, trend.value, room), room, trend.top or 1.1 * max(known) or 1.0, trend.role)
        )
        hot = newest is not None and trend.too_much is not None and newest > trend.too_much
        line.add(f" {newest:>4.0f} {trend.unit:<3}" if newest is not None else "    —    ", "warn" if hot else "bold")
        mean = sum(known) / len(known)
        rows.append(line.add(f" {min(known):.0f} to {max(known):.0f}, mean {mean:.0f}", "dim").cut(width))
    return [*rows, axis(head, room)]
