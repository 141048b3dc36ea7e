"""What a card's memory holds though nobody works with it: firmware, the driver's own, a desktop. It is never 0.

Learnt anew in each boot, per card: the least that was in use beyond what living processes hold. What small programs hold
(a desktop's) is counted apart, as it is at the moment, because a desktop grows while the machine runs.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

from core.files import write_json
from core.gpu.reading import DeviceReading, ProcessReading, Sample

WORKING_BYTES = 1_000_000_000
"""A program that holds as much works with the card; what holds less is taken for a part of its idle use."""

# The total and the processes' shares are not read at one instant: a process that just ended makes one sample too low.
_AGREEING_SAMPLES = 3


def on_card(sample: Sample, device: DeviceReading) -> list[ProcessReading]:
    """The processes of a sample that have this card open, or may have."""
    return [process for process in sample.processes if process.pci in (None, device.pci)]


class IdleBaseline:
    """The unattributed idle use of each card, kept in `file` together with the boot that it was learnt in."""

    def __init__(self, file: Path, boot_id: str) -> None:
        self.file = file
        self.boot_id = boot_id
        self._known = read_baselines(file, boot_id)
        self._recent: dict[str, deque[int]] = {}

    def of(self, pci: str) -> int | None:
        """Bytes, None before it is known."""
        return self._known.get(pci)

    def observe(self, sample: Sample) -> None:
        """Learn from one sample. Raises OSError when what was learnt cannot be written."""
        learnt = False
        for device in sample.devices:
            if device.pci is None or device.vram_used_bytes is None:
                continue
            held = sum(process.vram_bytes or 0 for process in on_card(sample, device))
            recent = self._recent.setdefault(device.pci, deque(maxlen=_AGREEING_SAMPLES))
            recent.append(max(0, device.vram_used_bytes - held))
            if len(recent) < _AGREEING_SAMPLES:
                continue
            least = max(recent)
            if device.pci not in self._known or least < self._known[device.pci]:
                self._known[device.pci] = least
                learnt = True
        if learnt:
            write_json(self.file, {"boot_id": self.boot_id, "idle_bytes": self._known})


def read_baselines(file: Path, boot_id: str) -> dict[str, int]:
    """PCI id → bytes, as learnt in this boot; empty when the file is of another one, or none at all."""
    try:
        document = json.loads(file.read_text())
        if document["boot_id"] != boot_id:
            return {}
        return {str(pci): int(value) for pci, value in document["idle_bytes"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
