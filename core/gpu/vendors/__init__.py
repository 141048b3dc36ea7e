"""The vendors whose GPUs Bakehouse knows, the one whose GPU is taken first where there are several."""

from __future__ import annotations

from core.gpu.vendors.amd import AMD
from core.gpu.vendors.base import GpuVendor
from core.gpu.vendors.nvidia import NVIDIA

VENDORS: dict[str, GpuVendor] = {vendor.name: vendor for vendor in (AMD, NVIDIA)}


def vendor_label(name: str) -> str:
    """How a person writes a vendor, also one that has no record: of another version's, or of a torch that names it."""
    known = VENDORS.get(name)
    return name.capitalize() if known is None else known.label


def strands_memory(name: str) -> bool:
    """Whether a killed process can leave memory behind that no process owns; of a vendor without a record it is assumed."""
    known = VENDORS.get(name)
    return known is None or known.strands_memory
