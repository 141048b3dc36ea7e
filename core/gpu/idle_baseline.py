"""What a GPU's memory holds though nobody works with it: firmware, the driver's own, a desktop. It is never 0.

Learnt anew in each boot, per GPU: the least that was in use beyond what living processes and a model server hold. What small
programs hold (a desktop's) is counted apart, as it is at the moment, because a desktop grows while the machine runs; one that
the driver does not attribute makes the idle use itself rise, slowly.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

from core.files import write_json
from core.gpu.reading import DeviceReading, ProcessReading, Sample

WORKING_BYTES = 1_000_000_000
"""A program that holds as much works with the GPU; what holds less is taken for a part of its idle use."""

# The total and the processes' shares are not read at one instant: a process that just ended makes one sample too low.
_AGREEING_SAMPLES = 3
# No GPU idles with more. What is beyond it belongs to somebody whom nobody names.
_MOST_BYTES, _MOST_SHARE = 2_000_000_000, 0.15
# So many samples in a row with as much more, none of them while anybody works: it is the idle use that has grown.
_RISING_SAMPLES = 120


def on_gpu(sample: Sample, device: DeviceReading) -> list[ProcessReading]:
    """The processes of a sample that have this GPU open, or may have."""
    return [process for process in sample.processes if process.pci in (None, device.pci)]


class IdleBaseline:
    """The unattributed idle use of each GPU, kept in `file` together with the boot that it was learnt in."""

    def __init__(self, file: Path, boot_id: str) -> None:
        self.file = file
        self.boot_id = boot_id
        self._known = read_baselines(file, boot_id)
        self._recent: dict[str, deque[int]] = {}
        self._quiet: dict[str, deque[int]] = {}

    def of(self, pci: str) -> int | None:
        """Bytes, None before it is known."""
        return self._known.get(pci)

    def observe(self, sample: Sample, served_bytes: int = 0) -> None:
        """Learn from one sample; `served_bytes` is what a model server says that it holds on the GPUs.

        Raises OSError when what was learnt cannot be written; it is known all the same.
        """
        learnt = False
        for device in sample.devices:
            if device.pci is None or device.vram_used_bytes is None:
                continue
            processes = [process.vram_bytes or 0 for process in on_gpu(sample, device)]
            # A server that says it holds more than is in use lists a model whose process has died: the GPU knows better.
            served = served_bytes if served_bytes <= device.vram_used_bytes else 0
            beyond = device.vram_used_bytes - max(sum(processes), served)
            working = served_bytes > 0 or any(held >= WORKING_BYTES for held in processes)
            if beyond >= 0:  # else total and shares are of different moments
                learnt |= self._learn(device, beyond, working)
        if learnt:
            write_json(self.file, {"boot_id": self.boot_id, "idle_bytes": self._known})

    def _learn(self, device: DeviceReading, beyond: int, working: bool) -> bool:
        assert device.pci is not None
        recent = self._recent.setdefault(device.pci, deque(maxlen=_AGREEING_SAMPLES))
        recent.append(beyond)
        quiet = self._quiet.setdefault(device.pci, deque(maxlen=_RISING_SAMPLES))
        quiet.clear() if working else quiet.append(beyond)
        if len(recent) < _AGREEING_SAMPLES:
            return False
        known = self._known.get(device.pci)
        if known is None:
            self._known[device.pci] = min(max(recent), most_bytes(device))
            return True
        # While somebody works, shares can be counted twice or late, and what is left for idle use is too little.
        if not working and max(recent) < known:
            self._known[device.pci] = max(recent)
            return True
        if len(quiet) == _RISING_SAMPLES and 0 < min(quiet) - known < WORKING_BYTES:
            self._known[device.pci] = min(*quiet, most_bytes(device))
            quiet.clear()
            return self._known[device.pci] != known
        return False


def most_bytes(device: DeviceReading) -> int:
    """The most that is believed to be idle use."""
    return int(max(_MOST_BYTES, _MOST_SHARE * (device.vram_total_bytes or 0)))


def read_baselines(file: Path, boot_id: str) -> dict[str, int]:
    """PCI id → bytes, as learnt in this boot; empty when the file is of another one, or none at all."""
    try:
        document = json.loads(file.read_bytes())
        if document["boot_id"] != boot_id:
            return {}
        return {str(pci): int(value) for pci, value in document["idle_bytes"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
