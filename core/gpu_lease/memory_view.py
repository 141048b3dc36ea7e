"""The GPU's memory as the runner sees it: the newest sample, whose memory it is, and what has been nobody's for how long."""

from __future__ import annotations

from core.clock import NEVER, Clock, Moment
from core.gpu.idle_baseline import IdleBaseline, on_gpu
from core.gpu.memory_owners import MemoryOwners, gpu_of, memory_owners
from core.gpu.reading import DeviceReading, ProcessReading, Sample
from core.gpu_lease import admission
from core.gpu_lease.admission import AdmissionTerms
from core.home import Home
from core.process.identity import current_boot_id
from core.reasons import Reason

STALE_SECONDS = 5.0
"""Figures that are older tell nothing about now."""
MUTE_SAMPLES = 3
"""So many samples without a figure, and the GPU is one that gives none."""

UNREAD = ("gpu_not_read_yet", "measuring_idle_memory", "awaiting_reading")
"""What a job waits for that takes seconds: nobody is in its way, and no model is loaded meanwhile."""


class MemoryView:
    """Of one GPU, by its PCI id. `known` is None where the GPU does not say what it holds."""

    def __init__(self, home: Home, pci: str, tolerance_bytes: int, return_seconds: float, clock: Clock) -> None:
        self.pci = pci
        self.tolerance_bytes = tolerance_bytes
        self.return_seconds = return_seconds
        self.clock = clock
        self.known: MemoryOwners | None = None
        self.taken_at = NEVER
        """When the newest sample with figures was begun, in monotonic seconds."""
        self.unowned_since: Moment | None = None
        """Since when memory belongs to nobody."""
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
            self.taken_at = self.clock.monotonic() if sample.taken_at is None else sample.taken_at
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
    def processes(self) -> tuple[ProcessReading, ...]:
        """Those of the newest sample that have the GPU open, or may have."""
        sample, device = self._sample, self._device
        return () if sample is None or device is None else tuple(on_gpu(sample, device))

    @property
    def time(self) -> float | None:
        """The time of day of the newest sample with figures, in Unix seconds; None before the first."""
        return None if self._sample is None else self._sample.time

    @property
    def sleeps(self) -> bool:
        return self._device is not None and self._device.suspended is True

    @property
    def mute(self) -> bool:
        """Whether the GPU sleeps, or has never told what it holds: there is nothing to wait for then."""
        never = self._device is None and self.baseline_bytes is None
        return self.sleeps or (never and self._figureless >= MUTE_SAMPLES)

    @property
    def stale(self) -> bool:
        return self.clock.monotonic() - self.taken_at > STALE_SECONDS

    def left_bytes(self, terms: AdmissionTerms, *, beside_models: bool) -> int:
        """What a job that has ended has not given back yet; `beside_models`: a server's models are loaded, as in admission."""
        known = self.known
        if known is None:
            return 0
        unowned = admission.unowned(known, terms, None, around_models=True) if beside_models else True
        return known.ours_bytes + (known.unowned_bytes if unowned else 0)

    def unread(self, since: float) -> Reason | None:
        """Why it cannot be told how the GPU stands after that moment (monotonic); None when it can, or never will."""
        if self.mute:
            return None
        if self.time is None:
            return Reason("gpu_not_read_yet")
        if self.stale:
            return Reason("gpu_readings_stopped", {"since": self.time})
        if self.known is None or not self.known.knows_idle:
            return Reason("measuring_idle_memory")
        return Reason("awaiting_reading") if self.taken_at <= since else None

    def in_the_way(self, terms: AdmissionTerms, *, unowned: bool, around_models: bool) -> Reason | None:
        """What is in a job's way that no unloading will remove; with `unowned` also memory that belongs to nobody."""
        if self.known is None or self.mute:
            return None
        others = admission.held_by_others(self.known, terms)
        if others is not None or not unowned:
            return others
        since = None if self.unowned_since is None else self.unowned_since.time
        return admission.unowned(self.known, terms, since, around_models=around_models)

    def watch_unowned(self) -> None:
        """To be called while nothing is under way on the GPU: then what belongs to nobody is stale."""
        if self.known is None or self.stale:
            return
        if self.known.unowned_bytes <= self.tolerance_bytes:
            self.unowned_since = None
        elif self.unowned_since is None:
            self.unowned_since = Moment.now(self.clock)

    @property
    def stale_bytes(self) -> int | None:
        """What has been nobody's for longer than an ended job's memory may take to come back; None of nothing."""
        since, known = self.unowned_since, self.known
        if since is None or known is None or self.clock.monotonic() - since.monotonic < self.return_seconds:
            return None
        return known.unowned_bytes or None
