"""The GPU that jobs run on: one answer for submission, lease, runner and `bakehouse gpu`.

The answer comes from files of the kernel and of the vendors' drivers: no library is loaded and no sleeping GPU is woken. A
vendor's tools are asked only where the files show no GPU. A GPU that is a part of the processor is never the one for jobs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from core.gpu.vendors import VENDORS
from core.gpu.vendors.base import Gpu, GpuVendor, visible

__all__ = ["Gpu", "device_environment", "find_gpu", "gpu_vendor"]


def find_gpu(environ: Mapping[str, str] | None = None) -> Gpu | None:
    """The GPU that jobs run on, None where the CPU is all there is. Takes about a millisecond.

    It is the first discrete GPU by PCI address; of two vendors AMD's, unless only the other can compute.
    `BAKEHOUSE_GPU_SOURCE` narrows the choice to what that source reads (`sysfs`, `rocm-smi` and `amd-smi` AMD, `nvml` and
    `nvidia-smi` NVIDIA, `none` nothing), and a person's own CUDA_, HIP_ or ROCR_VISIBLE_DEVICES to what it names, in its order.
    Where the files show no GPU, AMD's tools are asked if they are on PATH: that takes up to seconds, once a process.
    """
    environ = os.environ if environ is None else environ
    forced = environ.get("BAKEHOUSE_GPU_SOURCE")
    found: list[Gpu] = []
    for vendor in VENDORS.values():
        if not forced or forced in vendor.sources:
            found += _discrete(vendor, vendor.find(environ), environ)
    if not found:
        for vendor in VENDORS.values():
            if not forced or forced in vendor.sources:
                found += _discrete(vendor, vendor.find_by_tools(environ, forced or None), environ)
    return min(found, key=lambda gpu: gpu.ordinal is None, default=None)


def gpu_vendor() -> str | None:
    """`amd` or `nvidia`, that of the GPU that jobs run on; None without one."""
    gpu = find_gpu()
    return None if gpu is None else gpu.vendor


def _discrete(vendor: GpuVendor, gpus: list[Gpu], environ: Mapping[str, str]) -> list[Gpu]:
    """The GPUs of a vendor that a person lets programs see, without those that are a part of the processor."""
    return [gpu for gpu in visible(gpus, vendor.visibility, environ) if not gpu.integrated]


def device_environment(gpu: Gpu | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that make the GPU the only one a job sees; none that a person has set, nothing without a GPU."""
    if gpu is None or gpu.ordinal is None:
        return {}
    return VENDORS[gpu.vendor].select(gpu, environ)
