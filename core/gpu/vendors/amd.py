"""AMD: the amdgpu driver with KFD, read from sysfs, else by AMD's tools."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from core.gpu.source import SourceError, procfs_root, sysfs_root
from core.gpu.source_timeout import Guard
from core.gpu.sources.amd_smi import AmdSmiSource
from core.gpu.sources.kfd import kfd_nodes
from core.gpu.sources.rocm_smi import RocmSmiSource
from core.gpu.sources.sysfs import SysfsSource, find_cards
from core.gpu.sources.tool import Tool
from core.gpu.vendors.base import Environ, Gpu, GpuVendor

log = logging.getLogger(__name__)
TOOLS = ("amd-smi", "rocm-smi")
"""rocm-smi last: AMD has given it up."""
VISIBILITY = (("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))
"""HIP obeys CUDA's variable, too."""
CACHING = "PYTORCH_NO_HIP_MEMORY_CACHING"
AOTRITON = "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"
TOOL_LIMIT_SECONDS = 4.0
ASK_AGAIN_SECONDS = 60.0
# Where a tool lies → when it was asked, and the GPUs it named.
_named_by: dict[str, tuple[float, tuple[Gpu, ...]]] = {}


def find(environ: Environ) -> list[Gpu]:
    return amdgpu_gpus(sysfs_root(environ))


def amdgpu_gpus(sysfs: Path) -> list[Gpu]:
    """The GPUs of the amdgpu driver that have an address, discrete ones first."""
    nodes = kfd_nodes(sysfs)
    order = {node.pci: (ordinal, node.architecture) for ordinal, node in enumerate(nodes) if node.pci is not None}
    gpus = []
    for found in find_cards(sysfs):
        if found.pci is not None:
            ordinal, architecture = order.get(found.pci, (None, None))
            gpus.append(Gpu(found.pci, "amd", found.name, found.integrated, ordinal, architecture=architecture))
    return gpus


def find_by_tools(environ: Environ, forced: str | None) -> list[Gpu]:
    """A card in sysfs that is integrated, or that the person has hidden, is not made another by a tool."""
    if forced and forced not in TOOLS:
        return []
    seen = {card.pci for card in find_cards(sysfs_root(environ))}
    if seen and not forced:
        return []
    return [gpu for gpu in tool_gpus((forced,) if forced else TOOLS, environ) if gpu.pci not in seen]


def tool_gpus(tools: Sequence[str], environ: Environ) -> list[Gpu]:
    """The GPUs that the first of AMD's tools with an answer names, the largest first.

    The answer is kept for this process; that there is none, for a minute. `ordinal` counts the GPUs as the tool does.
    """
    for tool in tools:
        path = Tool(tool, environ).path()
        if path is None:
            continue
        known = _named_by.get(path)
        if known is None or (not known[1] and time.monotonic() - known[0] > ASK_AGAIN_SECONDS):
            known = _named_by[path] = (time.monotonic(), tuple(_ask(tool, environ)))
        if known[1]:
            return list(known[1])
    return []


def _ask(tool: str, environ: Environ) -> list[Gpu]:
    program = Tool(tool, environ)
    source: AmdSmiSource | RocmSmiSource = AmdSmiSource(program) if tool == "amd-smi" else RocmSmiSource(program)
    guard = Guard(source, limit_seconds=TOOL_LIMIT_SECONDS)
    try:
        devices = guard.read()[0] if guard.available() else ()
    except SourceError as error:
        log.warning("%s names no GPU: %s", tool, error)
        return []
    finally:
        guard.close()
    # Not every version says enough to tell a part of the processor: that one has the least memory of its own.
    largest = sorted(devices, key=lambda device: -(device.vram_total_bytes or 0))
    return [
        Gpu(device.pci, "amd", device.name, device.integrated, device.index, architecture=device.architecture)
        for device in largest
        if device.pci is not None
    ]


def select(gpu: Gpu, environ: Environ) -> dict[str, str]:
    if any(name in environ for group in VISIBILITY for name in group):
        return {}
    # Not ROCR_VISIBLE_DEVICES beside it: HIP would count anew in what that leaves.
    return {"HIP_VISIBLE_DEVICES": str(gpu.ordinal)}


AMD = GpuVendor(
    name="amd",
    label="AMD",
    pci_id="0x1002",
    driver="amdgpu",
    driver_remedy="load the amdgpu module (modprobe amdgpu)",
    torch_build=r"rocm\d*",
    visibility=VISIBILITY,
    find=find,
    find_by_tools=find_by_tools,
    sources={
        "sysfs": lambda environ: SysfsSource(sysfs_root(environ), procfs_root(environ)),
        "amd-smi": lambda environ: AmdSmiSource(Tool("amd-smi", environ)),
        "rocm-smi": lambda environ: RocmSmiSource(Tool("rocm-smi", environ)),
    },
    select=select,
    names_architecture=True,
    strands_memory=True,
    probe_remedies={
        "lora": f'gpu: {{environment: {{{CACHING}: "1"}}}} in settings.yaml: slower; 3 of 3 faulting trainings came through',
        "attention": f'gpu: {{environment: {{{AOTRITON}: "1"}}}} in settings.yaml, or a build of torch with AOTriton',
    },
)
