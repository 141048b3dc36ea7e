"""`telemetry.jsonl`: what the GPU did during an attempt, a line a second, and the summary of it.

Each line has the sample's figures and the running totals, so that a runner that takes over goes on from the last whole line
and a console needs that line alone. A machine without a GPU has no such file: what a job takes of the host's memory is in
its own events.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from core.files import append_line, tail
from core.format import data_size, energy
from core.gpu.reading import DeviceReading, Sample
from core.home import AttemptDir

GAP_SECONDS = 5.0
"""Between samples further apart nobody knows what the GPU did: nothing is integrated over such a gap."""
_TAIL_BYTES = 65536
Figure = Literal["peak", "energy", "busy", "hotspot", "gtt"]


@dataclass(frozen=True)
class Summary:
    """What an attempt did to the GPU. `seconds` is the time covered by samples; a figure that was never read is None.

    Energy is the integral of the GPU's power over the covered time (trapezoidal rule), the mean of its use likewise.
    """

    peak_vram_bytes: int | None = None
    peak_job_vram_bytes: int | None = None
    peak_gtt_bytes: int | None = None
    energy_joules: float | None = None
    mean_busy_percent: float | None = None
    max_temperature_hotspot_c: float | None = None
    seconds: float = 0.0

    @property
    def energy_wh(self) -> float | None:
        return None if self.energy_joules is None else self.energy_joules / 3600

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Summary:
        """Figures that are no numbers count as not known."""
        return cls(**{field.name: document[field.name] for field in fields(cls) if _number(document, field.name)})


def stored_summary(text: str | None) -> Summary | None:
    """The summary that the store keeps of an attempt; None where there is none, or one of another version."""
    if not text:
        return None
    try:
        document = json.loads(text)
        return Summary.from_json(document) if isinstance(document, dict) else None
    except (ValueError, TypeError):
        return None


def summary_words(measured: Summary) -> dict[Figure, str]:
    """By figure, of those that are known: `peak 12.4 GB, 11.9 GB of it this run's`, `138 Wh`, `96 % busy`,
    `hotspot at most 88 °C`, `GTT at most 2.8 GB`."""
    words: dict[Figure, str] = {}
    own = measured.peak_job_vram_bytes
    if measured.peak_vram_bytes is not None:
        of_it = f", {data_size(own)} of it this run's" if own else ""
        words["peak"] = f"peak {data_size(measured.peak_vram_bytes)}{of_it}"
    elif own:
        words["peak"] = f"peak of this run {data_size(own)}"
    if measured.energy_wh is not None:
        words["energy"] = energy(measured.energy_wh)
    if measured.mean_busy_percent is not None:
        words["busy"] = f"{measured.mean_busy_percent:.0f} % busy"
    if measured.max_temperature_hotspot_c is not None:
        words["hotspot"] = f"hotspot at most {measured.max_temperature_hotspot_c:.0f} °C"
    if measured.peak_gtt_bytes is not None and measured.peak_gtt_bytes >= 1e9:
        words["gtt"] = f"GTT at most {data_size(measured.peak_gtt_bytes)}"
    return words


@dataclass(frozen=True)
class Totals:
    """The running totals behind a summary. `busy_seconds` is use × time, over the `busy_covered_seconds` where it was told."""

    peak_vram_bytes: int | None = None
    peak_job_vram_bytes: int | None = None
    peak_gtt_bytes: int | None = None
    max_temperature_hotspot_c: float | None = None
    energy_joules: float | None = None
    busy_seconds: float | None = None
    busy_covered_seconds: float = 0.0
    seconds: float = 0.0

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Totals:
        return cls(**{field.name: line[field.name] for field in fields(cls) if _number(line, field.name)})

    def summary(self) -> Summary:
        known = self.busy_seconds is not None and self.busy_covered_seconds > 0
        return Summary(
            peak_vram_bytes=self.peak_vram_bytes,
            peak_job_vram_bytes=self.peak_job_vram_bytes,
            peak_gtt_bytes=self.peak_gtt_bytes,
            energy_joules=self.energy_joules,
            mean_busy_percent=100 * (self.busy_seconds or 0.0) / self.busy_covered_seconds if known else None,
            max_temperature_hotspot_c=self.max_temperature_hotspot_c,
            seconds=self.seconds,
        )


@dataclass(frozen=True)
class Figures:
    """One sample of an attempt's GPU. `job_vram_bytes`: the memory of the processes on it that are ours, where told."""

    time: float
    vram_used_bytes: int | None = None
    job_vram_bytes: int | None = None
    gtt_used_bytes: int | None = None
    busy_percent: float | None = None
    memory_busy_percent: float | None = None
    power_watts: float | None = None
    temperature_edge_c: float | None = None
    temperature_hotspot_c: float | None = None
    temperature_memory_c: float | None = None
    clock_mhz: int | None = None

    @classmethod
    def of(cls, time: float, device: DeviceReading, job_vram_bytes: int | None) -> Figures:
        read = {field.name: getattr(device, field.name) for field in fields(cls) if hasattr(device, field.name)}
        return cls(time=time, job_vram_bytes=job_vram_bytes, **read)

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Figures:
        """Raises KeyError when the line has no time."""
        read = {field.name: line[field.name] for field in fields(cls) if _number(line, field.name)}
        return cls(**{**read, "time": float(line["time"])})


def jobs_vram_bytes(sample: Sample, device: DeviceReading) -> int | None:
    """The memory of our processes on a GPU; None when none of them is known to have any figure."""
    held = [
        process.vram_bytes
        for process in sample.processes
        if process.ours and process.vram_bytes is not None and process.pci in (None, device.pci)
    ]
    return sum(held) if held else None


def further(totals: Totals, before: Figures | None, now: Figures) -> Totals:
    """The totals after one more sample."""
    step = 0.0 if before is None else now.time - before.time
    if not 0 < step <= GAP_SECONDS:
        step = 0.0
    energy, busy, covered = totals.energy_joules, totals.busy_seconds, totals.busy_covered_seconds
    if before is not None and step and before.power_watts is not None and now.power_watts is not None:
        energy = (energy or 0.0) + step * (before.power_watts + now.power_watts) / 2
    if before is not None and step and before.busy_percent is not None and now.busy_percent is not None:
        busy = (busy or 0.0) + step * (before.busy_percent + now.busy_percent) / 200
        covered += step
    return Totals(
        peak_vram_bytes=_larger(totals.peak_vram_bytes, now.vram_used_bytes),
        peak_job_vram_bytes=_larger(totals.peak_job_vram_bytes, now.job_vram_bytes),
        peak_gtt_bytes=_larger(totals.peak_gtt_bytes, now.gtt_used_bytes),
        max_temperature_hotspot_c=_larger(totals.max_temperature_hotspot_c, now.temperature_hotspot_c),
        energy_joules=energy,
        busy_seconds=busy,
        busy_covered_seconds=covered,
        seconds=totals.seconds + step,
    )


class TelemetryRecord:
    """Writes the `telemetry.jsonl` of an attempt; goes on from its last whole line, whoever wrote it."""

    def __init__(self, attempt: AttemptDir) -> None:
        self.path = attempt.telemetry
        self.totals = Totals()
        self.last: Figures | None = None
        line = last_line(self.path)
        if line is not None:
            self.totals, self.last = Totals.from_line(line), Figures.from_line(line)

    def add(self, sample: Sample) -> None:
        """Append one line; nothing where no GPU was read. Raises OSError on a full disk, and has forgotten nothing then."""
        device = next(iter(sample.devices), None)
        if device is None or device.suspended:
            return
        now = Figures.of(sample.time, device, jobs_vram_bytes(sample, device))
        totals = further(self.totals, self.last, now)
        read = {**asdict(now), **asdict(totals)}
        line = {name: _short(value) for name, value in read.items() if value is not None}
        append_line(self.path, line, durable=False)
        self.totals, self.last = totals, now

    def summary(self) -> Summary | None:
        """What has been seen so far; None before the first sample."""
        return None if self.last is None else self.totals.summary()


def read_summary(attempt: AttemptDir) -> Summary | None:
    """The summary of an attempt from the last line of its file; None where there is none."""
    line = last_line(attempt.telemetry)
    return None if line is None else Totals.from_line(line).summary()


def last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of a telemetry file: one that ends in a newline and is a JSON object with a time."""
    for line in reversed(tail(path, _TAIL_BYTES).split(b"\n")[:-1]):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict) and _number(document, "time"):
            return document
    return None


def _number(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name)
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _larger(former: Any, value: Any) -> Any:
    return value if former is None or (value is not None and value > former) else former


def _short(value: float) -> float:
    return round(value, 3) if isinstance(value, float) else value
