"""Samples once a second into the home's ring. Only the runner does; consoles read the ring."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event

from core.errors import BakehouseError, InputError
from core.gpu.devices import Gpu, GpuChoice, Obstacle, choose_gpu
from core.gpu.own_processes import mark_ours
from core.gpu.processes import describe
from core.gpu.reading import DeviceReading, Sample
from core.gpu.source import Source, procfs_root
from core.gpu.source_choice import ChosenSource, choose_source, numbered
from core.gpu.sources.none import HostReader, NoGpuSource
from core.home import Home
from core.telemetry.ring import TelemetryRing

log = logging.getLogger(__name__)
INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class SamplingCost:
    """What sampling has taken so far: wall time of the sampling thread, waits for a source included."""

    samples: int = 0
    failures: int = 0
    total_seconds: float = 0.0
    longest_seconds: float = 0.0

    @property
    def mean_seconds(self) -> float | None:
        return self.total_seconds / self.samples if self.samples else None


class Sampler:
    """Reads the GPU and its machine. `source` replaces the choice among this machine's sources (with the same guard).

    `gpu` is the one that jobs run on. It comes first in every sample, also when no source reads it.

    A `BAKEHOUSE_GPU_SOURCE` that names no source is a problem told in every sample, not a reason for a runner to die.
    """

    def __init__(self, home: Home, source: Source | None = None, environ: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.ring = TelemetryRing(home.telemetry)
        self.cost = SamplingCost()
        self.latest: Sample | None = None
        """The newest reading, for whoever runs in this process; also where the ring cannot be written."""
        self._host = HostReader()
        self._procfs = procfs_root(environ)
        self._problem: str | None = None
        self._choice: GpuChoice | None = None
        if source is not None:
            self._source = ChosenSource([source])
            return
        self._choice = choose_gpu(environ)
        try:
            self._source = choose_source(environ)
        except InputError as error:
            self._source, self._problem = ChosenSource([NoGpuSource()]), str(error)

    @property
    def gpu(self) -> Gpu | None:
        return None if self._choice is None else self._choice.gpu

    def warm_up(self) -> None:
        """Begin the span over which the first reading's share of the CPU is measured."""
        self._host.read()

    def read(self) -> Sample:
        """One reading, for a command that shows it; nothing is written."""
        taken_at = time.monotonic()
        readout = self._source.read()
        devices, unread = (readout.devices, None) if self._choice is None else marked(readout.devices, self._choice)
        problems = [problem for problem in (self._problem, readout.problem, unread) if problem]
        return Sample(
            time=round(time.time(), 3),
            source=readout.source,
            host=self._host.read(),
            devices=devices,
            processes=mark_ours(
                describe(readout.processes, self._procfs), self.home.runs, self._procfs, self.home.served
            ),
            problem="; ".join(problems) or None,
            taken_at=taken_at,
        )

    def sample(self) -> Sample:
        """One reading, appended to the ring. Raises OSError or `BakehouseError` when the ring cannot be written."""
        start = time.perf_counter()
        sample = self.latest = self.read()
        self.ring.append(sample)
        taken = time.perf_counter() - start
        self.cost = SamplingCost(
            self.cost.samples + 1,
            self.cost.failures,
            self.cost.total_seconds + taken,
            max(self.cost.longest_seconds, taken),
        )
        return sample

    def run(self, stop_event: Event, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """Sample every second until the event is set. Nothing is raised; a fault is logged once until it changes.

        A sample that took longer than its second makes the following ones be left out, not pile up.
        """
        due = time.monotonic()
        former: str | None = None
        while not stop_event.is_set():
            try:
                self.sample()
                former = None
            except (OSError, BakehouseError) as error:
                self._failed(str(error), former)
                former = str(error)
            except Exception as error:
                # A fault of the sampling must not end the runner; it is logged whole.
                if repr(error) != former:
                    log.exception("sampling failed")
                self._failed(repr(error), former)
                former = repr(error)
            due = max(due + interval_seconds, time.monotonic())
            stop_event.wait(due - time.monotonic())
        self.close()

    def close(self) -> None:
        """Give up the ring and let the sources' threads end."""
        self.ring.close()
        self._source.close()

    def _failed(self, message: str, former: str | None) -> None:
        cost = self.cost
        self.cost = SamplingCost(cost.samples, cost.failures + 1, cost.total_seconds, cost.longest_seconds)
        if message != former:
            log.warning("telemetry is not written: %s", message)


def marked(devices: Sequence[DeviceReading], choice: GpuChoice) -> tuple[tuple[DeviceReading, ...], str | None]:
    """The readings, each with whether jobs run on it and why not; the jobs' GPU first, and why that has no figures.

    A GPU that no source reads is there all the same: its identity is all that is known.
    """
    gpu, reasons = choice.gpu, {one.gpu.pci: one.why for one in choice.passed_over}
    shown = []
    for device in devices:
        if gpu is not None and device.pci == gpu.pci:
            shown.append(replace(device, for_jobs=True))
        else:
            why = Obstacle("no_address") if device.pci is None and not device.integrated else None
            shown.append(replace(device, for_jobs=False, passed_over=reasons.get(device.pci or "", why)))
    seen = {device.pci for device in shown}
    hidden = [one for one in choice.passed_over if not one.gpu.integrated and one.gpu.pci not in seen]
    shown += [bare(one.gpu, one.why) for one in hidden]
    unread = None
    if gpu is not None and gpu.pci not in seen:
        shown.append(bare(gpu, None))
        unread = f"{gpu.name} at {gpu.pci} gives no figures"
    return numbered(sorted(shown, key=lambda device: (not device.for_jobs, device.integrated is True))), unread


def bare(gpu: Gpu, why: Obstacle | None) -> DeviceReading:
    return DeviceReading(
        0,
        gpu.name,
        gpu.vendor,
        gpu.pci,
        architecture=gpu.architecture,
        integrated=gpu.integrated,
        for_jobs=why is None,
        passed_over=why,
    )
