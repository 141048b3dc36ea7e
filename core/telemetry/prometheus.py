"""A reading of the GPU in Prometheus' text exposition format (version 0.0.4), as node_exporter's textfile collector reads it.

Base units, and they stand in the name: bytes, watts, celsius, hertz, seconds, and a ratio from 0 to 1 for each share. What is
not known has no line, never a 0. There are no counters and no timestamps: a textfile must not have the latter.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.text import printable

if TYPE_CHECKING:
    from core.gpu_lease.state import LeaseState

_LABEL_LENGTH = 128
_Labels = Mapping[str, str]
_Value = float | int | bool | None

# name behind `bakehouse_gpu_`, help, value
_DEVICE: tuple[tuple[str, str, Callable[[DeviceReading], _Value]], ...] = (
    ("vram_size_bytes", "Memory of the GPU.", lambda device: device.vram_total_bytes),
    ("vram_used_bytes", "Memory of the GPU in use.", lambda device: device.vram_used_bytes),
    ("gtt_size_bytes", "Host memory that the GPU may use.", lambda device: device.gtt_total_bytes),
    ("gtt_used_bytes", "Host memory that the GPU uses.", lambda device: device.gtt_used_bytes),
    ("busy_ratio", "Share of time in which the GPU computed.", lambda device: _share(device.busy_percent)),
    (
        "memory_busy_ratio",
        "Share of time in which the GPU's memory was read or written.",
        lambda device: _share(device.memory_busy_percent),
    ),
    ("power_watts", "Power drawn by the GPU.", lambda device: device.power_watts),
    ("power_limit_watts", "Power that the GPU may draw.", lambda device: device.power_limit_watts),
    ("fan_ratio", "Duty of the fan.", lambda device: _share(device.fan_percent)),
    ("fan_rpm", "Turns of the fan in a minute.", lambda device: device.fan_rpm),
    (
        "throttled",
        "1 while the GPU runs slower than it could.",
        lambda device: None if device.slowed_by is None else bool(device.slowed_by),
    ),
    ("asleep", "1 while the GPU is in runtime suspend and gives no figures.", lambda device: device.suspended),
)
_HOST: tuple[tuple[str, str, Callable[[HostReading], _Value]], ...] = (
    ("memory_size_bytes", "Memory of the machine.", lambda host: host.memory_total_bytes),
    ("memory_available_bytes", "Memory that programs can still get.", lambda host: host.memory_available_bytes),
    ("load1", "Load average over a minute.", lambda host: host.load_1m),
    ("cpu_busy_ratio", "Share of all CPUs in use.", lambda host: _share(host.cpu_percent)),
    ("cpus", "CPUs of the machine.", lambda host: host.cpu_count),
)


def text(
    sample: Sample | None,
    state: LeaseState | None = None,
    lease: Mapping[str, Any] | None = None,
    *,
    now: float | None = None,
    stale_seconds: float = 5.0,
    runner_alive: bool = False,
) -> str:
    """The metrics of one moment, all gauges named `bakehouse_…`, ending with a newline.

    `lease` is what `gpu_lease.lock.holder` says. Of a sample that is stale (against `now`, the wall clock) only its time is
    given: figures that nobody has renewed are worse than none.
    """
    page = _Page()
    page.add("bakehouse_runner_up", "1 while the home's runner lives.", runner_alive)
    if sample is not None:
        page.add("bakehouse_sample_timestamp_seconds", "When the GPU was read, in Unix seconds.", sample.time)
        page.add("bakehouse_sample_problem", "1 while a source of readings fails.", sample.problem is not None)
        if sample.age_seconds(now) <= stale_seconds:
            page.add("bakehouse_source_info", "Which sources answer.", 1, {"source": sample.source})
            _devices(page, sample)
            _processes(page, sample)
            for name, explanation, value in _HOST:
                page.add(f"bakehouse_host_{name}", explanation, value(sample.host))
    _lease(page, lease)
    if state is not None:
        _state(page, state)
    return page.text()


def _devices(page: _Page, sample: Sample) -> None:
    for device, labels in _labelled(sample):
        said = {"name": device.name, "vendor": device.vendor, "architecture": device.architecture or ""}
        if device.integrated is not None:
            said["integrated"] = str(device.integrated).lower()
        page.add("bakehouse_gpu_info", "What the GPU is; gpu 0 is the one that jobs run on.", 1, {**labels, **said})
    for name, explanation, value in _DEVICE:
        for device, labels in _labelled(sample):
            page.add(f"bakehouse_gpu_{name}", explanation, value(device), labels)
    for device, labels in _labelled(sample):
        for reason in device.slowed_by or ():
            page.add("bakehouse_gpu_throttling", "Why the GPU is throttled.", 1, {**labels, "reason": reason})
    for device, labels in _labelled(sample):
        for sensor in ("edge", "hotspot", "memory"):
            degrees: float | None = getattr(device, f"temperature_{sensor}_c")
            where = {**labels, "sensor": sensor}
            page.add("bakehouse_gpu_temperature_celsius", "Temperature of the GPU.", degrees, where)
    for device, labels in _labelled(sample):
        for domain, megahertz in (("core", device.clock_mhz), ("memory", device.memory_clock_mhz)):
            hertz = None if megahertz is None else megahertz * 1_000_000
            page.add("bakehouse_gpu_clock_hertz", "Clock of the GPU.", hertz, {**labels, "domain": domain})


def _labelled(sample: Sample) -> Iterator[tuple[DeviceReading, dict[str, str]]]:
    for device in sample.devices:
        yield device, {"gpu": str(device.index), "pci": device.pci or ""}


def _processes(page: _Page, sample: Sample) -> None:
    """By program and user, not by pid: each new pid would be a new series for ever."""
    places: dict[str | None, dict[str, str]] = {
        device.pci: labels for device, labels in _labelled(sample) if device.pci
    }
    alone = next(_labelled(sample))[1] if len(sample.devices) == 1 else {}
    bytes_held: Counter[tuple[tuple[str, str], ...]] = Counter()
    counted: Counter[tuple[tuple[str, str], ...]] = Counter()
    for process in sample.processes:
        key = tuple({**places.get(process.pci, alone), **_program(process)}.items())
        counted[key] += 1
        if process.vram_bytes is not None:
            bytes_held[key] += process.vram_bytes
    for key, count in counted.items():
        page.add("bakehouse_gpu_processes", "Processes that have the GPU open.", count, dict(key))
    for key, count in bytes_held.items():
        page.add("bakehouse_gpu_process_vram_bytes", "Memory of the GPU held by processes.", count, dict(key))


def _program(process: ProcessReading) -> dict[str, str]:
    # Made clean here already, so that two names that look the same afterwards are counted together.
    said = {"name": process.name or "", "user": process.user or "", "ours": str(process.ours).lower()}
    return {label: _clean(value) for label, value in said.items()}


def _lease(page: _Page, lease: Mapping[str, Any] | None) -> None:
    page.add("bakehouse_lease_held", "1 while a job of any home has the GPU.", _is_held(lease))
    if not _is_held(lease) or lease is None:
        return
    labels = {key: str(lease[key]) for key in ("job", "home") if key in lease}
    page.add("bakehouse_lease_info", "Which job has the GPU.", 1, labels)
    page.add("bakehouse_lease_since_timestamp_seconds", "Since when, in Unix seconds.", lease.get("since"))


def _is_held(lease: Mapping[str, Any] | None) -> bool:
    return lease is not None and "problem" not in lease


def _state(page: _Page, state: LeaseState) -> None:
    from core.gpu_lease.phases import Phase

    for phase in get_args(Phase):
        page.add("bakehouse_lease_phase", "What the runner does with the GPU.", state.phase == phase, {"phase": phase})
    page.add("bakehouse_lease_idle_bytes", "Memory of the GPU in use when nobody works.", state.baseline_bytes)
    page.add("bakehouse_lease_unowned_bytes", "Memory of the GPU that no process owns.", state.unowned_bytes)
    if state.server is not None or state.server_fault is not None:
        up = state.server_fault is None
        page.add("bakehouse_model_server_up", "1 while the model server answers.", up)
    held: Counter[str] = Counter()
    for resident in (*state.residents, *state.served):
        held[_clean(resident.name)] += resident.size_vram_bytes
    for model, count in held.items():
        page.add("bakehouse_model_vram_bytes", "Memory held by a served model.", count, {"model": model})
    evicted = 0 if state.serves else len(state.evicted)
    page.add("bakehouse_models_evicted", "Served models that were unloaded for a job.", evicted)
    page.add("bakehouse_served_away", "Served models of llama-server that are away for a job.", len(state.served_away))
    page.add("bakehouse_models_intruding", "Models loaded by clients while a job has the GPU.", len(state.intruders))


class _Page:
    """The families of metrics in the order in which they were begun, each with its lines together, as the format wants it."""

    def __init__(self) -> None:
        self._families: dict[str, dict[str, str]] = {}
        self._help: dict[str, str] = {}

    def add(self, name: str, explanation: str, value: _Value, labels: _Labels | None = None) -> None:
        """A line, unless the value is not known. A second one with the same labels replaces the first."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return
        self._help[name] = explanation
        # An empty label is the same as none.
        pairs = ((label, _clean(said)) for label, said in (labels or {}).items())
        inside = ",".join(f'{label}="{_escaped(said)}"' for label, said in pairs if said)
        self._families.setdefault(name, {})[f"{name}{{{inside}}}" if inside else name] = _number(value)

    def text(self) -> str:
        lines = []
        for name, family in self._families.items():
            lines += [f"# HELP {name} {self._help[name]}", f"# TYPE {name} gauge"]
            lines += [f"{series} {value}" for series, value in family.items()]
        return "\n".join(lines) + "\n"


def _share(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 6)


def _number(value: float | int | bool) -> str:
    return str(int(value)) if isinstance(value, (bool, int)) else repr(value)


def _clean(said: str) -> str:
    """Text of others, printable and not without end."""
    return printable(said, limit=_LABEL_LENGTH)


def _escaped(said: str) -> str:
    return said.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
