"""Which sources are read: the one that `BAKEHOUSE_GPU_SOURCE` forces, else all that this machine has."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.errors import InputError
from core.gpu.guard import LIMIT_SECONDS, Guard
from core.gpu.none import NoGpuSource
from core.gpu.nvml import NvmlSource
from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import Source, SourceError, procfs_root, sysfs_root
from core.gpu.sysfs import SysfsSource

RETRY_SECONDS = 10.0
RECHECK_SECONDS = 60.0


@dataclass(frozen=True)
class Readout:
    """What one look gave: the sources that have a card (`sysfs+nvml`), and the problem of one that should have answered."""

    source: str
    devices: tuple[DeviceReading, ...]
    processes: tuple[ProcessReading, ...]
    problem: str | None


class _Candidate:
    """A source with its state: in use, or resting until a time because it failed or is not there."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.in_use = False
        self.rests_until = float("-inf")
        self.problem: str | None = None

    def rest(self, until: float, problem: str | None) -> None:
        self.in_use, self.rests_until, self.problem = False, until, problem


class ChosenSource:
    """Reads every source that works, and joins what they give. It never raises and never blocks for long.

    A source that fails is dropped with its problem and tried again after 10 s; one that is not there is looked for
    again every minute (a driver may be loaded later). Meanwhile the others answer.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        limit_seconds: float = LIMIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not sources:
            raise ValueError("no source to choose from")
        self._candidates = [_Candidate(Guard(source, limit_seconds)) for source in sources]
        self._clock = clock

    def read(self) -> Readout:
        """The cards of all sources, discrete ones first, numbered in that order."""
        answered: list[str] = []
        devices: list[DeviceReading] = []
        processes: list[ProcessReading] = []
        for candidate in self._candidates:
            if self._clock() < candidate.rests_until:
                continue
            try:
                if not candidate.in_use and not candidate.guard.available():
                    candidate.rest(self._clock() + RECHECK_SECONDS, self._absence(candidate))
                    continue
                found, running = candidate.guard.read()
                if not found and candidate.guard.name != NoGpuSource.name:
                    raise SourceError(f"{candidate.guard.name} reports no card any more")
            except SourceError as error:
                candidate.rest(self._clock() + RETRY_SECONDS, str(error))
                continue
            candidate.in_use, candidate.problem = True, None
            if found:
                answered.append(candidate.guard.name)
            devices += found
            processes += running
        devices.sort(key=lambda device: device.integrated is True)
        return Readout(
            "+".join(answered) or self._candidates[-1].guard.name, numbered(devices), tuple(processes), self._problem()
        )

    def close(self) -> None:
        """Let the threads of the sources end."""
        for candidate in self._candidates:
            candidate.guard.close()

    def _absence(self, candidate: _Candidate) -> str | None:
        """That a source is not there is no problem, unless it is the only one there may be."""
        return f"{candidate.guard.name} finds no card on this machine" if len(self._candidates) == 1 else None

    def _problem(self) -> str | None:
        return "; ".join(candidate.problem for candidate in self._candidates if candidate.problem) or None


def numbered(devices: Sequence[DeviceReading]) -> tuple[DeviceReading, ...]:
    """The cards with `index` set to their place."""
    return tuple(replace(device, index=index) for index, device in enumerate(devices))


def choose_source(environ: Mapping[str, str] | None = None) -> ChosenSource:
    """The sources of this machine, or the forced one alone.

    Raises `InputError` when `BAKEHOUSE_GPU_SOURCE` names a source that does not exist.
    """
    environ = os.environ if environ is None else environ
    sysfs, procfs = sysfs_root(environ), procfs_root(environ)
    makers: dict[str, Callable[[], Source]] = {
        "sysfs": lambda: SysfsSource(sysfs, procfs),
        "nvml": NvmlSource,
        "none": NoGpuSource,
    }
    forced = environ.get("BAKEHOUSE_GPU_SOURCE")
    if not forced:
        return ChosenSource([make() for make in makers.values()])
    if forced not in makers:
        raise InputError(
            f"there is no GPU source {forced!r}",
            code="unknown_gpu_source",
            key="BAKEHOUSE_GPU_SOURCE",
            remedy=f"one of {', '.join(makers)}, or unset",
        )
    return ChosenSource([makers[forced]()])
