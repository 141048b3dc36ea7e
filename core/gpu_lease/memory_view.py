"""The GPU's memory as the runner sees it: the newest sample, whose memory it is, and what has been nobody's for how long."""

from __future__ import annotations

from dataclasses import replace

from core.gpu.idle_baseline import IdleBaseline
from core.gpu.memory_owners import MemoryOwners, gpu_of, memory_owners
from core.gpu.reading import DeviceReading, Sample
from core.home import Home
from core.process.identity import current_boot_id

STALE_SECONDS = 5.0
"""Figures that are older tell nothing about now."""
MUTE_SAMPLES = 3
"""So many samples without a figure, and the GPU is one that gives none."""


class MemoryView:
    """Of one GPU, by its PCI id. `known` is None where the GPU does not say what it holds."""

    def __init__(self, home: Home, pci: str, tolerance_bytes: int, return_seconds: float) -> None:
        self.pci = pci
        self.tolerance_bytes = tolerance_bytes
        self.return_seconds = return_seconds
        self.known: MemoryOwners | None = None
        self.unowned_since: float | None = None
        """Since when memory belongs to nobody, in Unix seconds."""
        self._baseline = IdleBaseline(home.idle_baseline, current_boot_id())
        self._sample: Sample | None = None
        self._device: DeviceReading | None = None
        self._figureless = 0

    def see(self, sample: Sample, served_bytes: int = 0) -> None:
        """Take in a sample. One without a figure of a GPU that gives some is passed over: its source failed for once.

        Raises OSError when what was learnt of the idle use cannot be written; it is known all the same.
        """
        device = gpu_of(sample, self.pci)
        told = device is not None and (device.vram_used_bytes is not None or device.suspended is True)
        self._figureless = 0 if told else self._figureless + 1
        if told:
            self._sample, self._device = sample, device
            self._baseline.observe(sample, served_bytes)

    def refresh(self, served_bytes: int) -> None:
        """Tell anew whose the memory is; `served_bytes` is what a model server says it holds."""
        sample, device = self._sample, self._device
        if sample is None or device is None:
            self.known = None
        else:
            self.known = memory_owners(sample, device, self._baseline.of(self.pci), served_bytes)

    @property
    def baseline_bytes(self) -> int | None:
        """Idle use, None before it is learnt."""
        return self._baseline.of(self.pci)

    @property
    def time(self) -> float:
        """When the newest sample with figures was taken, in Unix seconds; 0 before the first."""
        return 0.0 if self._sample is None else self._sample.time

    @property
    def sleeps(self) -> bool:
        return self._device is not None and self._device.suspended is True

    @property
    def mute(self) -> bool:
        """Whether the GPU sleeps, or has never told what it holds: there is nothing to wait for then."""
        never = self._device is None and self.baseline_bytes is None
        return self.sleeps or (never and self._figureless >= MUTE_SAMPLES)

    def stale(self, now: float) -> bool:
        return now - self.time > STALE_SECONDS

    def clock_was_set_back(self, now: float) -> None:
        self.unowned_since = None if self.unowned_since is None else min(self.unowned_since, now)
        if self._sample is not None and self._sample.time > now:
            self._sample = replace(self._sample, time=now)

    def watch_unowned(self, now: float) -> None:
        """To be called while nothing is under way on the GPU: then what belongs to nobody is stale."""
        if self.known is None or self.stale(now):
            return
        if self.known.unowned_bytes <= self.tolerance_bytes:
            self.unowned_since = None
        elif self.unowned_since is None:
            self.unowned_since = now

    def stale_bytes(self, now: float) -> int | None:
        """What has been nobody's for longer than an ended job's memory may take to come back; None of nothing."""
        since, known = self.unowned_since, self.known
        if since is None or known is None or now - since < self.return_seconds:
            return None
        return known.unowned_bytes or None
