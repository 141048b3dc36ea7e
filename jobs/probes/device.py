"""Torch, what it was built for, and the device that it sees."""

from __future__ import annotations

import re
from typing import Any

import torch

from jobs.probes.common import Tell, device


def examine(tell: Tell) -> dict[str, Any]:
    hip, cuda = torch.version.hip, torch.version.cuda
    figures: dict[str, Any] = {
        "torch": torch.__version__,
        "built_for": f"rocm {hip}" if hip else f"cuda {cuda}" if cuda else "cpu",
        # On ROCm 10.0 HIP is 7.15: both are told, where torch knows both.
        "hip": hip,
        "rocm": getattr(torch.version, "rocm", None),
        "unavailable": None,
    }
    tell("looking for a device")
    if not torch.cuda.is_available():
        used = device()
        return {
            **figures,
            "device": used.type,
            "unavailable": None if figures["built_for"] == "cpu" else why_unavailable(),
            "threads": torch.get_num_threads(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        }
    properties = torch.cuda.get_device_properties(0)
    tell("the first allocation")
    torch.zeros(1, device="cuda")
    free, total = torch.cuda.mem_get_info(0)
    compiled = torch.cuda.get_arch_list()
    if hip:
        # gfx90a:sramecc+:xnack- names features behind the architecture.
        architecture = properties.gcnArchName.split(":")[0]
        has_kernels = architecture in compiled
    else:
        architecture = f"{properties.major}.{properties.minor}"
        has_kernels = runs_on((properties.major, properties.minor), compiled)
    return {
        **figures,
        "device": "cuda",
        "devices": torch.cuda.device_count(),
        "name": properties.name,
        "architecture": architecture,
        "compiled_for": compiled,
        "has_kernels": has_kernels,
        "total_bytes": total,
        "free_bytes": free,
        "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
        "blas": str(torch.backends.cuda.preferred_blas_library()).rpartition(".")[2],
    }


def why_unavailable() -> str:
    """The words in which torch refuses the device."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().splitlines()[0]
    return "torch sees no device"


def runs_on(capability: tuple[int, int], compiled: list[str]) -> bool:
    """Whether binaries of the same major version, or code for an older one that the driver compiles, are there.

    `compiled` is what torch names: `sm_90` are binaries, `compute_90` is PTX (CUDA's programming guide, binary compatibility).
    """
    for name in compiled:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", name)
        if found is None:
            continue
        kind, major, minor = found[1], int(found[2]), int(found[3])
        if (major, minor) <= capability and (kind == "compute" or major == capability[0]):
            return True
    return False
