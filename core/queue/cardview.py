"""The card's memory as the runner sees it: the newest sample, whose memory it is, and what has been nobody's for how long."""

from __future__ import annotations

from core.gpu.account import Account, account, card_of
from core.gpu.baseline import IdleBaseline
from core.gpu.reading import DeviceReading, Sample
from core.home import Home
from core.queue.identity import current_boot_id

STALE_SECONDS = 5.0
"""Figures that are older tell nothing about now."""
MUTE_SAMPLES = 3
"""So many samples without a figure, and the card is one that gives none."""


class CardView:
    """Of one card, by its PCI id. `known` is None where the card does not say what it holds."""

    def __init__(self, home: Home, pci: str, tolerance_bytes: int, return_seconds: float) -> None:
        self.pci = pci
        self.tolerance_bytes = tolerance_bytes
        self.return_seconds = return_seconds
        self.known: Account | None = None
        self.unowned_since: float | None = None
        """Since when memory belongs to nobody, in Unix seconds."""
        self._baseline = IdleBaseline(home.idle_baseline, current_boot_id())
        self._sample: Sample | None = None
        self._device: DeviceReading | None = None
        self._samples = 0

    def see(self, sample: Sample) -> None:
        """Take in a sample. Raises OSError when what was learnt of the idle use cannot be written; it is known all the same."""
        self._sample, self._samples = sample, self._samples + 1
        self._device = card_of(sample, self.pci)
        self._baseline.observe(sample)

    def refresh(self, served_bytes: int) -> None:
        """Tell anew whose the memory is; `served_bytes` is what a model server says it holds."""
        sample, device = self._sample, self._device
        if sample is None or device is None:
            self.known = None
        else:
            self.known = account(sample, device, self._baseline.of(self.pci), served_bytes)

    @property
    def baseline_bytes(self) -> int | None:
        """Idle use, None before it is learnt."""
        return self._baseline.of(self.pci)

    @property
    def time(self) -> float:
        """When the newest sample was taken, in Unix seconds; 0 before the first."""
        return 0.0 if self._sample is None else self._sample.time

    @property
    def sleeps(self) -> bool:
        return self._device is not None and self._device.suspended is True

    @property
    def mute(self) -> bool:
        """Whether the card never tells what it holds, or sleeps: there is nothing to wait for then."""
        if self._samples < MUTE_SAMPLES:
            return False
        return self._device is None or self.sleeps or self._device.vram_used_bytes is None

    def stale(self, now: float) -> bool:
        return now - self.time > STALE_SECONDS

    def watch_unowned(self, now: float) -> None:
        """To be called while nothing is under way on the card: then what belongs to nobody is stale."""
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
