"""The vendors whose GPUs Bakehouse knows, the one whose GPU is taken first where there are several."""

from __future__ import annotations

from core.gpu.vendors.amd import AMD
from core.gpu.vendors.base import GpuVendor
from core.gpu.vendors.nvidia import NVIDIA

VENDORS: dict[str, GpuVendor] = {vendor.name: vendor for vendor in (AMD, NVIDIA)}
