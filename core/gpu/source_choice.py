"""Which sources are read: the one that `BAKEHOUSE_GPU_SOURCE` forces, else one for each vendor that this machine has.

Of AMD's GPUs sysfs is asked; its tools only where sysfs has no GPU, or none whose memory it tells. One source speaks for a
vendor's GPUs at a time, so that none is listed twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.errors import InputError
from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import Source, SourceError
from core.gpu.source_timeout import LIMIT_SECONDS, Guard
from core.gpu.sources.none import NoGpuSource
from core.gpu.sources.nvidia_faults import NOT_LOADED, source_error
from core.gpu.vendors import VENDORS

_Answer = tuple[Sequence[DeviceReading], Sequence[ProcessReading]]
RETRY_SECONDS = 10.0
RECHECK_SECONDS = 60.0


@dataclass(frozen=True)
class Readout:
    """What one look gave: the sources that have a GPU (`sysfs+nvml`), and the problem of one that should have answered."""

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

    In place of a source stands a tuple of alternatives: the first that tells a GPU's memory speaks for them all.
    A source that fails is dropped with its problem and tried again after 10 s; one that is not there is looked for
    again every minute (a driver may be loaded later). Meanwhile the others answer.
    """

    def __init__(
        self,
        sources: Sequence[Source | tuple[Source, ...]],
        *,
        limit_seconds: float = LIMIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not sources:
            raise ValueError("no source to choose from")
        self._groups = [
            [_Candidate(Guard(source, limit_seconds)) for source in (item if isinstance(item, tuple) else (item,))]
            for item in sources
        ]
        self._only = len(self._groups) == 1 and len(self._groups[0]) == 1
        self._clock = clock

    def read(self) -> Readout:
        """The GPUs of all sources, discrete ones first, numbered in that order."""
        answered: list[str] = []
        devices: list[DeviceReading] = []
        processes: list[ProcessReading] = []
        problems: list[str] = []
        for group in self._groups:
            answers: list[tuple[str, _Answer]] = []
            for candidate in group:
                answer = self._ask(candidate)
                if candidate.problem is not None:
                    problems.append(candidate.problem)
                # A source can have a card that fails beside others that answer.
                if answer is not None and (warning := getattr(candidate.guard.source, "warning", None)):
                    problems.append(warning)
                if answer is not None:
                    answers.append((candidate.guard.name, answer))
                    if tells_memory(answer[0]):
                        break
                elif candidate is group[0] and candidate.problem is not None:
                    # The driver does not answer: its tools would only hang beside it.
                    break
            if answers:
                name, (found, running) = next((item for item in answers if tells_memory(item[1][0])), answers[0])
                if found:
                    answered.append(name)
                devices += completed(found, answers[0][1][0])
                processes += running
        devices.sort(key=lambda device: device.integrated is True)
        if not devices and (absence := self._driver_not_loaded()) is not None:
            problems.append(absence)
        return Readout(
            "+".join(answered) or self._groups[-1][-1].guard.name,
            numbered(devices),
            tuple(processes),
            "; ".join(problems) or None,
        )

    def _driver_not_loaded(self) -> str | None:
        """That a driver is installed and not loaded, which is worth a word where no GPU is found."""
        sources = [candidate.guard.source for group in self._groups for candidate in group]
        absences = [getattr(source, "absence", None) for source in sources]
        name = next((source.name for source, fault in zip(sources, absences, strict=True) if fault is NOT_LOADED), None)
        return None if name is None else str(source_error(name, NOT_LOADED, ""))

    def close(self) -> None:
        """Let the threads of the sources end."""
        for group in self._groups:
            for candidate in group:
                candidate.guard.close()

    def _ask(self, candidate: _Candidate) -> _Answer | None:
        """What it reads; None when it rests, is not there or fails."""
        if self._clock() < candidate.rests_until:
            return None
        name = candidate.guard.name
        try:
            if not candidate.in_use and not candidate.guard.available():
                # That a source is not there is no problem, unless it is the only one there may be.
                absence = f"{name} finds no GPU on this machine" if self._only else None
                candidate.rest(self._clock() + RECHECK_SECONDS, absence)
                return None
            found, running = candidate.guard.read()
            if not found and name != NoGpuSource.name:
                raise SourceError(f"{name} reports no GPU any more")
        except SourceError as error:
            candidate.rest(self._clock() + RETRY_SECONDS, str(error))
            return None
        candidate.in_use, candidate.problem = True, None
        return found, running


def tells_memory(devices: Sequence[DeviceReading]) -> bool:
    """Whether one of the GPUs, of the discrete ones where there are any, says how its memory is used, or sleeps."""
    gpus = [device for device in devices if device.integrated is not True] or devices
    # Nothing else may be asked of a GPU that sleeps: it would wake.
    return any(gpu.suspended or gpu.vram_used_bytes is not None for gpu in gpus)


def completed(devices: Sequence[DeviceReading], others: Sequence[DeviceReading]) -> list[DeviceReading]:
    """The GPUs with what only another source of the same GPU knew of its identity; no figures are mixed."""
    known = {other.pci: other for other in others if other.pci is not None}
    found = []
    for device in devices:
        if (other := known.get(device.pci or "")) is not None:
            integrated = other.integrated if device.integrated is None else device.integrated
            device = replace(device, architecture=device.architecture or other.architecture, integrated=integrated)
        found.append(device)
    return found


def numbered(devices: Sequence[DeviceReading]) -> tuple[DeviceReading, ...]:
    """The GPUs with `index` set to their place."""
    return tuple(replace(device, index=index) for index, device in enumerate(devices))


def choose_source(environ: Mapping[str, str] | None = None) -> ChosenSource:
    """The sources of this machine, or the forced one alone. Of a vendor's sources the first that has figures is read.

    Raises `InputError` when `BAKEHOUSE_GPU_SOURCE` names a source that does not exist.
    """
    environ = os.environ if environ is None else environ
    forced = environ.get("BAKEHOUSE_GPU_SOURCE")
    if not forced:
        groups = [tuple(make(environ) for make in vendor.sources.values()) for vendor in VENDORS.values()]
        return ChosenSource([*groups, NoGpuSource()])
    if forced == NoGpuSource.name:
        return ChosenSource([NoGpuSource()])
    makers = {name: make for vendor in VENDORS.values() for name, make in vendor.sources.items()}
    if forced not in makers:
        raise InputError(
            f"there is no GPU source {forced!r}",
            code="unknown_gpu_source",
            key="BAKEHOUSE_GPU_SOURCE",
            remedy=f"one of {', '.join((*makers, NoGpuSource.name))}, or unset",
        )
    return ChosenSource([makers[forced](environ)])
