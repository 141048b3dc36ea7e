"""What was read of the GPU and its machine at one moment. The unit is in each name.

A value that the GPU does not give is None, never 0, and is absent in JSON. Keys that are not known are ignored by
`from_json`, so that an older console can read what a newer runner wrote.
"""

from __future__ import annotations

import time as clock
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

THERMAL_FROM_C = 75.0
"""No GPU throttles for its heat below this."""


@dataclass(frozen=True)
class DeviceReading:
    """One GPU. `index` counts the sample's GPUs, the one that jobs run on first; `pci` (`0000:0f:00.0`) identifies it."""

    index: int
    name: str
    vendor: str
    """The name of a record in `core.gpu.vendors`, `none` for one that no vendor's source reads."""
    pci: str | None = None
    vram_total_bytes: int | None = None
    vram_used_bytes: int | None = None
    gtt_total_bytes: int | None = None
    gtt_used_bytes: int | None = None
    busy_percent: float | None = None
    memory_busy_percent: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_edge_c: float | None = None
    temperature_hotspot_c: float | None = None
    temperature_memory_c: float | None = None
    clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    fan_percent: float | None = None
    fan_rpm: int | None = None
    throttling: tuple[str, ...] | None = None
    """Why the GPU runs slower than it could (`thermal`, `power`, `current`), empty when it does not, None if not told."""
    architecture: str | None = None
    """As the vendor names it: `gfx1201`; of NVIDIA its compute capability, `9.0`."""
    integrated: bool | None = None
    """True for a GPU inside the processor, whose VRAM is a piece of the host's memory; None when it cannot be told."""
    uuid: str | None = None
    """NVIDIA's name of this very GPU, `GPU-1c9e5b7a-…`."""
    for_jobs: bool | None = None
    """Whether jobs run on it; None in a sample of a version, or of a reader, that did not ask."""
    passed_over: tuple[str, ...] | None = None
    """Why jobs do not run on it, where that is known: code and detail of a `core.gpu.vendors.base.Obstacle`."""
    suspended: bool | None = None
    """True when the GPU sleeps: it was left alone, so nothing but its identity (and a total seen before) is known."""

    @property
    def slowed_by(self) -> tuple[str, ...] | None:
        """`throttling` as far as it is believed: firmware of RDNA 3 and 4 GPUs was seen to say `thermal` at 37 °C."""
        degrees = self.temperature_hotspot_c if self.temperature_hotspot_c is not None else self.temperature_edge_c
        if self.throttling is None or degrees is None or degrees >= THERMAL_FROM_C:
            return self.throttling
        return tuple(reason for reason in self.throttling if reason != "thermal")

    def to_json(self) -> dict[str, Any]:
        return _present(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DeviceReading:
        return _build(cls, document)


@dataclass(frozen=True)
class HostReading:
    """The machine: its memory, its load over a minute, and the share of all its CPUs in use since last asked."""

    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    load_1m: float | None = None
    cpu_percent: float | None = None
    cpu_count: int | None = None

    def to_json(self) -> dict[str, Any]:
        return _present(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> HostReading:
        return _build(cls, document)


@dataclass(frozen=True)
class ProcessReading:
    """A process that has a GPU open. `ours` is a job of this home, `served` the name of the home's served model that it is;
    `pci` names the GPU, where that is known.

    `vram_bytes` is 0 for a process that only opened the device, None where the driver does not tell. `user` and `command`
    are None for a process that cannot be looked at, `since` is when it began, in Unix seconds.
    """

    pid: int
    name: str | None = None
    vram_bytes: int | None = None
    ours: bool = False
    pci: str | None = None
    gtt_bytes: int | None = None
    user: str | None = None
    command: str | None = None
    since: float | None = None
    served: str | None = None

    def to_json(self) -> dict[str, Any]:
        return _present(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ProcessReading:
        return _build(cls, document)


@dataclass(frozen=True)
class Sample:
    """All readings of one moment (`time`: Unix seconds). `problem` says which source failed, and how.

    `taken_at` is when reading began, in monotonic seconds: for the process that read, as it is not written. None elsewhere.
    """

    time: float
    source: str
    host: HostReading
    devices: tuple[DeviceReading, ...] = ()
    processes: tuple[ProcessReading, ...] = ()
    problem: str | None = None
    taken_at: float | None = field(default=None, compare=False)

    @property
    def job_gpu(self) -> DeviceReading | None:
        """The GPU that jobs run on, as `core.gpu.devices` chose it for who took the sample; None without one.

        Where nobody was asked it is the first, unless that is a part of the processor.
        """
        if any(device.for_jobs is not None for device in self.devices):
            return next((device for device in self.devices if device.for_jobs), None)
        first = next(iter(self.devices), None)
        return None if first is None or first.integrated else first

    @property
    def passed_over(self) -> tuple[DeviceReading, ...]:
        """The discrete GPUs that jobs do not run on although none is there that they do: each has its reason."""
        if self.job_gpu is not None:
            return ()
        return tuple(device for device in self.devices if device.for_jobs is False and not device.integrated)

    def age_seconds(self, now: float | None = None) -> float:
        """Seconds since the sample was taken (by the wall clock; never negative, should that have been set back)."""
        return max(0.0, (clock.time() if now is None else now) - self.time)

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "time": self.time,
            "source": self.source,
            "host": self.host.to_json(),
            "devices": [device.to_json() for device in self.devices],
            "processes": [process.to_json() for process in self.processes],
        }
        if self.problem is not None:
            document["problem"] = self.problem
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Sample:
        """Raises ValueError when the document is no sample."""
        try:
            return cls(
                time=float(document["time"]),
                source=str(document["source"]),
                host=HostReading.from_json(document["host"]),
                devices=tuple(DeviceReading.from_json(item) for item in document["devices"]),
                processes=tuple(ProcessReading.from_json(item) for item in document["processes"]),
                problem=document.get("problem"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a telemetry sample: {error!r}") from error


_Reading = TypeVar("_Reading", DeviceReading, HostReading, ProcessReading)


def _present(reading: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(reading).items() if value is not None}


def _build(cls: type[_Reading], document: Mapping[str, Any]) -> _Reading:
    try:
        known: dict[str, Any] = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        # JSON has no tuples.
        known.update({name: tuple(value) for name, value in known.items() if isinstance(value, list)})
        return cls(**known)
    except TypeError as error:
        raise ValueError(f"not a {cls.__name__}: {error}") from error
