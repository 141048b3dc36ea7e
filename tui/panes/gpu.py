"""GPU: who holds the card, and is it healthy? Without one: the machine's memory and load, and the one slot of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.gpu.reading import DeviceReading, Sample
from core.store.jobs import JobRow
from tui.forecasts import RunForecast
from tui.lines import Line, side_by_side
from tui.snapshot import Snapshot
from tui.widgets.bars import sparkline, stacked_bar
from tui.widgets.pane import Pane
from tui.words import clock, duration, gigabytes, percent, plural, safe

HISTORY_SECONDS = 600
HOT_C = 85.0
FITS = 0.97  # DESIGN.md: what fits is compared with 97 % of the total


def card(sample: Sample | None) -> DeviceReading | None:
    return sample.devices[0] if sample and sample.devices else None


def card_name(sample: Sample | None) -> str:
    device = card(sample)
    return "" if sample is None else safe(device.name) if device else "no GPU"


def of(values: tuple[float | None, float | None], unit: str) -> str:
    """`238/304 W`, without what is not known."""
    value, limit = values
    if value is None:
        return f"— {unit}"
    return f"{value:.0f}/{limit:.0f} {unit}" if limit else f"{value:.0f} {unit}"


def memory_rows(sample: Sample, device: DeviceReading, width: int) -> list[Line]:
    """The bar of the card's memory and what holds it."""
    total, used = device.vram_total_bytes, device.vram_used_bytes
    if not total or used is None:
        return [Line("VRAM ", "text").add("the card sleeps" if device.suspended else "not given by the driver", "dim")]
    here = [item for item in sample.processes if item.vram_bytes and item.pci in (None, device.pci)]
    ours = sum(item.vram_bytes or 0 for item in here if item.ours)
    theirs = sorted((item for item in here if not item.ours), key=lambda item: -(item.vram_bytes or 0))
    rest = max(0, used - ours)
    figures = f" {gigabytes(used, unit=False)}/{gigabytes(total)}"
    bar = stacked_bar([(ours, "busy"), (rest, "dim")], total, width - 5 - len(figures), total * FITS)
    parts = [(f"job {ours / 1e9:.1f}", "busy")] if ours else []
    parts += [
        (f"{safe(item.name or f'pid {item.pid}')} {(item.vram_bytes or 0) / 1e9:.1f}", "dim") for item in theirs[:2]
    ]
    parts += [
        (f"free {gigabytes(total - used, unit=False)}", "text"),
        (f"limit ┊ {gigabytes(total * FITS, unit=False)}", "dim"),
    ]
    return [Line("VRAM ").extend(bar).add(figures), Line("     ").extend(side_by_side(parts, width=width - 5))]


def host_rows(sample: Sample, job: JobRow | None, width: int) -> list[Line]:
    """The bar of the machine's memory, what the running job took at most and what is left."""
    host = sample.host
    if not host.memory_total_bytes or host.memory_available_bytes is None:
        return [Line("memory ").add("not known", "dim")]
    used = host.memory_total_bytes - host.memory_available_bytes
    figures = f" {gigabytes(used, unit=False)}/{gigabytes(host.memory_total_bytes)}"
    bar = stacked_bar([(used, "busy")], host.memory_total_bytes, width - 7 - len(figures))
    parts = [(f"free for jobs {gigabytes(host.memory_available_bytes)}", "dim")]
    if job is not None and job.progress and job.progress.peak_memory_bytes:
        parts.insert(0, (f"job {job.id} at most {gigabytes(job.progress.peak_memory_bytes)}", "busy"))
    return [Line("memory ").extend(bar).add(figures), Line("       ").extend(side_by_side(parts, width=width - 7))]


def forecast_row(snapshot: Snapshot, indent: int, width: int) -> list[Line]:
    """What the running job was expected to take against what it took so far, and what the next one will."""
    slot = snapshot.slot
    job = snapshot.job(slot.job_id)
    peak = job.progress.peak_memory_bytes if job is not None and job.progress else None
    steps = snapshot.ladders.get(slot.job_id or 0, 0)
    following = slot.next_forecast
    parts: list[Line] = []
    if slot.forecast is not None and job is not None:
        parts = forecast_parts(slot.forecast, peak, steps, width - indent)
    if following is not None and following.known:
        fits = following.device_bytes <= following.limit_bytes
        said = f"next job {following.device_bytes / 1e9:.1f}{'' if fits else ', does not fit'}"
        parts.append(Line(said, "dim" if fits else "bad"))
    return [Line(" " * indent).extend(side_by_side(parts, width=width - indent))] if parts else []


def forecast_parts(forecast: RunForecast, peak: int | None, ladder: int, room: int) -> list[Line]:
    """`forecast for this run 11.7 ± 0.2, measured peak so far 11.4`; shorter words where there is no room."""
    if not forecast.known:
        measured = Line(f"measured peak so far {gigabytes(peak)}", "text") if peak else Line()
        return [Line("not predicted: measured as it runs", "dim"), measured]
    # Both are what torch has allocated (on a CPU the resident size): the context and the reserve are in neither.
    low, high = (forecast.allocated_bytes + sign * forecast.plus_minus_bytes for sign in (-1, 1))
    figure = f"{forecast.allocated_bytes / 1e9:.1f} ± {max(0.1, forecast.plus_minus_bytes / 1e9):.1f}"
    if ladder:
        # What was forecast is the recipe as submitted, and that is not what runs any more.
        said = [Line(f"forecast {figure}, before {plural(ladder, 'step')} of the ladder", "warn")]
        return [*said, Line(f"peak {peak / 1e9:.1f}")] if peak else said
    if not peak:
        return [Line(f"forecast for this run {figure}", "dim")]
    role = "warn" if peak > high else "text" if peak >= low else "dim"
    long = Line(f"forecast for this run {figure}, ", "dim").add(f"measured peak so far {peak / 1e9:.1f}", role)
    if long.width <= room:
        return [long]
    return [Line(f"forecast {figure}, ", "dim").add(f"measured peak so far {peak / 1e9:.1f}", role)]


def by_time(samples: Sequence[Sample], value: Callable[[Sample], float | None], columns: int) -> list[float | None]:
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


def history_rows(samples: tuple[Sample, ...], width: int, with_card: bool) -> list[Line]:
    """Two sparklines over the last ten minutes, with the newest figure beside each."""
    last = samples[-1]
    device = card(last)
    figures: list[tuple[str, str, str]] = []
    series: tuple[tuple[str, str, Callable[[Sample], float | None]], ...]
    if with_card and device is not None:
        series = (("busy", "good", busy_percent), ("VRAM", "busy", vram_percent))
        figures.append(("power", of((device.power_watts, device.power_limit_watts), "W"), "text"))
        for label, degrees in (("edge", device.temperature_edge_c), ("hotspot", device.temperature_hotspot_c)):
            if degrees is not None:
                figures.append(
                    (label, f"{degrees:.0f} °C", "warn" if label == "hotspot" and degrees > HOT_C else "text")
                )
    else:
        series = (("CPU", "good", lambda sample: sample.host.cpu_percent), ("memory", "busy", host_percent))
        host = last.host
        if host.load_1m is not None:
            figures.append(("load", f"{host.load_1m:.1f}", "text"))
        if host.cpu_count:
            figures.append(("cores", str(host.cpu_count), "text"))
    head = max(len(name) for name, _, _ in series) + 1
    side = 22 if width >= 52 else 0
    room = max(8, min(60, width - head - 7 - side))
    rows = []
    for name, role, value in series:
        newest = value(last)
        line = Line(name).to(head).extend(sparkline(by_time(samples, value, room), room, 100.0, role))
        rows.append(line.add(f" {newest:>3.0f} %" if newest is not None else "   — "))
    rows.append(Line(" " * head).add("−10 min", "dim").to(head + room - 3).add("now", "dim"))
    if side:
        for row, (label, figure, role) in zip(rows, figures, strict=False):
            row.to(head + room + 10).add(label).to(head + room + 29 - len(figure)).add(figure, role)
    return rows


def busy_percent(sample: Sample) -> float | None:
    device = card(sample)
    return device.busy_percent if device else None


def vram_percent(sample: Sample) -> float | None:
    device = card(sample)
    if device is None or device.vram_used_bytes is None or not device.vram_total_bytes:
        return None
    return 100 * device.vram_used_bytes / device.vram_total_bytes


def host_percent(sample: Sample) -> float | None:
    host = sample.host
    if host.memory_available_bytes is None or not host.memory_total_bytes:
        return None
    return 100 - 100 * host.memory_available_bytes / host.memory_total_bytes


def slot_rows(snapshot: Snapshot, with_card: bool, width: int) -> list[Line]:
    """Who holds the card, or the CPU where there is none."""
    slot = snapshot.slot
    label = "lease " if with_card else "slot  "
    name = "the card" if with_card else "the CPU"
    below = Line()
    if not slot.held:
        line = Line(label).add("free", "good").add(f", the next job takes {name}" if snapshot.waiting else "", "dim")
    elif slot.elsewhere:
        line = Line(label).add("held", "warn").add(" by a job of another home", "text")
    else:
        job = snapshot.job(slot.job_id)
        line = Line(label).add("exclusive" if with_card else "held", "busy").add(f", job {slot.job_id}")
        line.add(f", since {clock(slot.since)}" if slot.since else "")
        if job:
            below = Line("      ").add(safe(job.title), "dim")
    if not with_card:
        below = Line("      ").add("no GPU found: the CPU is the one slot", "dim")
    return [line.cut(width), *([below.cut(width)] if below.pieces else [])]


class GpuPane(Pane):
    number = 2
    heading = "GPU"

    def __init__(self) -> None:
        super().__init__(id="gpu")

    def note(self) -> Line:
        sample = self.snapshot.sample
        if sample is None:
            return Line("no reading yet", "dim") if self.snapshot.ready else Line()
        if (age := self.snapshot.stale_seconds) is not None:
            return Line(f"▲ {duration(age)} old", "warn")
        return Line(f"{'host memory and load' if not sample.devices else safe(sample.source)}, 1 Hz", "dim")

    def rows(self, width: int, height: int) -> list[Line]:
        snapshot = self.snapshot
        sample = snapshot.sample
        if sample is None:
            if not snapshot.ready:
                return []
            rows = [Line("no reading yet: the runner takes one a second", "dim").cut(width)]
            return [*rows, Line(), *slot_rows(snapshot, False, width)[:1]]
        device = card(sample)
        memory = memory_rows(sample, device, width) if device else host_rows(sample, snapshot.running, width)
        memory += forecast_row(snapshot, 5 if device else 7, width)
        history = history_rows(snapshot.samples, width, device is not None)
        slot = slot_rows(snapshot, device is not None, width)
        remarks = self._remarks(sample, width)
        # What is wrong comes before what only spaces or repeats.
        spare = height - sum(map(len, (memory, history, slot, remarks)))
        if spare < 0:
            slot = slot[: max(1, len(slot) + spare)]
            spare = height - sum(map(len, (memory, history, slot, remarks)))
        upper, lower = [Line()] * (spare >= 1), [Line()] * (spare >= 2)
        rows = [*memory, *upper, *history, *lower, *slot]
        return rows + remarks[: max(0, height - len(rows))]

    def _remarks(self, sample: Sample, width: int) -> list[Line]:
        found = []
        if (age := self.snapshot.stale_seconds) is not None:
            found.append(Line(f"▲ newest reading at {clock(sample.time, seconds=True)}, {duration(age)} ago", "warn"))
        if sample.problem:
            found.append(Line(f"▲ {safe(sample.problem)}", "warn"))
        device = card(sample)
        if device and device.temperature_hotspot_c and device.temperature_hotspot_c > HOT_C:
            found.append(Line(f"▲ hotspot above {HOT_C:.0f} °C", "warn"))
        return [line.cut(width) for line in found]

    def summary(self, width: int) -> Line:
        sample = self.snapshot.sample
        if sample is None:
            return Line("no reading yet" if self.snapshot.ready else "", "dim")
        device, host = card(sample), sample.host
        if device and device.vram_total_bytes and device.vram_used_bytes is not None:
            total, used, parts = device.vram_total_bytes, device.vram_used_bytes, []
            if device.busy_percent is not None:
                parts.append((f"{device.busy_percent:.0f} %", "text"))
            if device.power_watts is not None:
                parts.append((f"{device.power_watts:.0f} W", "text"))
            if (hot := device.temperature_hotspot_c or device.temperature_edge_c) is not None:
                parts.append((f"{hot:.0f} °C", "warn" if hot > HOT_C else "text"))
            limit = total * FITS
        elif host.memory_total_bytes and host.memory_available_bytes is not None:
            total, used = host.memory_total_bytes, host.memory_total_bytes - host.memory_available_bytes
            parts = [] if device else [("no GPU", "dim")]
            if host.cpu_percent is not None:
                parts.append((f"CPU {percent(host.cpu_percent / 100)}", "text"))
            limit = None
        else:
            return Line("not known", "dim")
        if (age := self.snapshot.stale_seconds) is not None:
            parts.append((f"▲ {duration(age)} old", "warn"))
        bar = stacked_bar([(used, "busy")], total, 20, limit)
        figures = (f"{gigabytes(used, unit=False)}/{gigabytes(total)}", "text")
        return bar.add(" ").extend(side_by_side([figures, *parts], width=width - 21))
