"""The GPU that jobs run on: one answer for submission, lease, runner, job, plan, doctor and `bakehouse gpu`.

The answer comes from files of the kernel and of the vendors' drivers: no library is loaded and no sleeping GPU is woken. A
vendor's tools are asked only where the files show no GPU, as in WSL2. A GPU that is a part of the processor, that a person has
hidden or that this user cannot open is never the one for jobs, and jobs are kept from it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from core.gpu.vendors import VENDORS
from core.gpu.vendors.base import Gpu, GpuVendor, Obstacle, hides, visible

__all__ = ["Gpu", "GpuChoice", "Obstacle", "PassedOver", "choose_gpu", "device_environment", "find_gpu", "gpu_vendor"]


@dataclass(frozen=True)
class PassedOver:
    """A GPU of this machine that jobs do not run on, and why."""

    gpu: Gpu
    why: Obstacle


@dataclass(frozen=True)
class GpuChoice:
    """The GPU that jobs run on, None where the CPU is all there is; and the others of the machine that could have been it."""

    gpu: Gpu | None
    passed_over: tuple[PassedOver, ...] = ()


def choose_gpu(environ: Mapping[str, str] | None = None) -> GpuChoice:
    """The GPU that jobs run on, and why not another. Takes about a millisecond.

    It is the first discrete GPU by PCI address that this user can open and the vendor's runtime offers; of two vendors AMD's.
    `BAKEHOUSE_GPU_SOURCE` narrows the choice to what that source reads (`sysfs`, `rocm-smi` and `amd-smi` AMD, `nvml` and
    `nvidia-smi` NVIDIA, `none` nothing), and a person's own CUDA_, HIP_ or ROCR_VISIBLE_DEVICES to what it names, in its order;
    one that is empty hides them all. Where the files show no GPU, the vendors' tools are asked: that takes up to seconds, once
    a process.
    """
    environ = os.environ if environ is None else environ
    forced = environ.get("BAKEHOUSE_GPU_SOURCE")
    usable: list[Gpu] = []
    passed: list[PassedOver] = []
    for vendor in VENDORS.values():
        if forced and forced not in vendor.sources:
            passed += [PassedOver(gpu, Obstacle("source_forced", forced)) for gpu in vendor.find(environ)]
        else:
            _judge(vendor, vendor.find(environ), environ, usable, passed)
    if not usable:
        for vendor in VENDORS.values():
            if not forced or forced in vendor.sources:
                _judge(vendor, vendor.find_by_tools(environ, forced or None), environ, usable, passed)
    return GpuChoice(min(usable, key=lambda gpu: gpu.ordinal is None, default=None), tuple(passed))


def find_gpu(environ: Mapping[str, str] | None = None) -> Gpu | None:
    """The GPU that jobs run on, None where the CPU is all there is (`choose_gpu`)."""
    return choose_gpu(environ).gpu


def gpu_vendor() -> str | None:
    """`amd` or `nvidia`, that of the GPU that jobs run on; None without one."""
    gpu = find_gpu()
    return None if gpu is None else gpu.vendor


def _judge(
    vendor: GpuVendor, gpus: list[Gpu], environ: Mapping[str, str], usable: list[Gpu], passed: list[PassedOver]
) -> None:
    """Sort the GPUs of a vendor into those that jobs can run on, in the order that a person wants, and the others."""
    seen = visible(gpus, vendor.visibility, environ)
    obstacles = {gpu.pci: _obstacle(vendor, gpu, seen, environ) for gpu in gpus}
    usable += [gpu for gpu in seen if obstacles[gpu.pci] is None]
    passed += [PassedOver(gpu, why) for gpu in gpus if (why := obstacles[gpu.pci]) is not None]


def _obstacle(vendor: GpuVendor, gpu: Gpu, seen: list[Gpu], environ: Mapping[str, str]) -> Obstacle | None:
    if gpu.integrated:
        return Obstacle("integrated")
    if (why := vendor.obstacle(gpu, environ)) is not None:
        return why
    return None if gpu in seen else Obstacle("hidden", hides(vendor.visibility, environ))


def device_environment(gpu: Gpu | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that make the GPU the only one a job sees, whatever torch it has; without a GPU they hide them all.

    Among the GPU's own vendor's nothing is changed that a person has set. HIP obeys CUDA's variable where its own is not set:
    beside an AMD GPU that variable is set only where NVIDIA's driver has a GPU, too, and a person has chosen by none of them.
    """
    own = None if gpu is None else VENDORS.get(gpu.vendor)
    chosen = {} if gpu is None or gpu.ordinal is None or own is None else own.select(gpu, environ)
    spoken_for = {name for group in (own.visibility if own is not None else ()) for name in group}
    for vendor in VENDORS.values():
        shared = vendor.hide in spoken_for
        if vendor is not own and not (shared and (not chosen or not vendor.find(environ))):
            # Not an empty value: HIP takes that for none at all, and shows every GPU.
            chosen[vendor.hide] = "-1"
    return chosen
