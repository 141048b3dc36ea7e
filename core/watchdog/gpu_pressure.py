"""What the samples of a GPU say about a run on it: memory that spills, that is nearly full, a GPU that gets too hot."""

from __future__ import annotations

from core.format import data_size, gb
from core.gpu.reading import DeviceReading

SAMPLES = 2
"""In a row, before something is believed."""
GTT_MARGIN_BYTES = 256_000_000
"""Growth of the GPU's share of system memory that is still put down to pinned buffers."""
SPILL_SHARE = 0.90
FULL_SHARE = 0.97
RELIEF_SHARE = 0.95
"""Full memory is told again only after it has been below this."""
HOT_SAMPLES = 5
COOL_SAMPLES = 30


class PressureWatch:
    """Looks at each sample of the GPU that the run holds; each trouble is told once, and again only after it was over.

    `gtt_bytes`: what the GPU held of system memory when the run began; None takes the first sample's.
    """

    def __init__(self, gtt_bytes: int | None = None) -> None:
        self.gtt_bytes = gtt_bytes
        self.spilling = self.full = self.hot = self.cool = 0
        self.told: set[str] = set()

    def sample(self, device: DeviceReading) -> list[tuple[str, str]]:
        """(code, message) of each trouble that this sample shows for the first time."""
        return [*self._spill(device), *self._full(device), *self._throttling(device)]

    def _spill(self, device: DeviceReading) -> list[tuple[str, str]]:
        gtt, used, total = device.gtt_used_bytes, device.vram_used_bytes, device.vram_total_bytes
        if gtt is None:
            return []
        self.gtt_bytes = gtt if self.gtt_bytes is None else min(self.gtt_bytes, gtt)
        grown = gtt - self.gtt_bytes
        if used is None or not total or grown <= GTT_MARGIN_BYTES or used < SPILL_SHARE * total:
            self.spilling = 0
            if grown <= GTT_MARGIN_BYTES:
                self.told.discard("spill")
            return []
        self.spilling += 1
        if self.spilling < SAMPLES or "spill" in self.told:
            return []
        self.told.add("spill")
        return [
            (
                "spill",
                f"{data_size(grown)} of the GPU's memory have gone to system memory since the run began, with "
                f"{gb(used)} of {gb(total)} GB in use: it runs at a fraction of its speed",
            )
        ]

    def _full(self, device: DeviceReading) -> list[tuple[str, str]]:
        used, total = device.vram_used_bytes, device.vram_total_bytes
        if used is None or not total:
            return []
        if used <= FULL_SHARE * total:
            self.full = 0
            if used < RELIEF_SHARE * total:
                self.told.discard("vram")
            return []
        self.full += 1
        if self.full < SAMPLES or "vram" in self.told:
            return []
        self.told.add("vram")
        share = 100 * used / total
        return [
            (
                "vram",
                f"the GPU's memory is {share:.0f} % full ({gb(used)} of {gb(total)} GB): a run can hang "
                "there without a message",
            )
        ]

    def _throttling(self, device: DeviceReading) -> list[tuple[str, str]]:
        if device.slowed_by is None:
            return []
        if "thermal" not in device.slowed_by:
            self.hot, self.cool = 0, self.cool + 1
            if self.cool >= COOL_SAMPLES:
                self.told.discard("throttling")
            return []
        self.hot, self.cool = self.hot + 1, 0
        if self.hot < HOT_SAMPLES or "throttling" in self.told:
            return []
        self.told.add("throttling")
        degrees = (
            device.temperature_hotspot_c if device.temperature_hotspot_c is not None else device.temperature_edge_c
        )
        at = "" if degrees is None else f" at {degrees:.0f} °C"
        return [("throttling", f"the GPU is too hot{at} and runs slower than it could")]
