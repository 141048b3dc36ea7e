"""AMD: the amdgpu driver with KFD, read from sysfs, else by AMD's tools."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from core.gpu.source import SourceError, dev_root, procfs_root, sysfs_root
from core.gpu.source_timeout import Guard
from core.gpu.sources.amd_smi import AmdSmiSource
from core.gpu.sources.kernel_file import names
from core.gpu.sources.kfd import kfd_nodes
from core.gpu.sources.rocm_smi import RocmSmiSource
from core.gpu.sources.sysfs import SysfsSource, find_cards
from core.gpu.sources.tool import Tool
from core.gpu.vendors.base import Environ, Gpu, GpuVendor, Obstacle, closed, remembered

log = logging.getLogger(__name__)
TOOLS = ("amd-smi", "rocm-smi")
"""rocm-smi last: AMD has given it up."""
VISIBILITY = (("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))
"""HIP obeys CUDA's variable, too."""
CACHING = "PYTORCH_NO_HIP_MEMORY_CACHING"
AOTRITON = "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"
TOOL_LIMIT_SECONDS = 4.0


def find(environ: Environ) -> list[Gpu]:
    return amdgpu_gpus(sysfs_root(environ))


def amdgpu_gpus(sysfs: Path) -> list[Gpu]:
    """The GPUs of the amdgpu driver that have an address, discrete ones first."""
    nodes = kfd_nodes(sysfs)
    order = {node.pci: (ordinal, node) for ordinal, node in enumerate(nodes) if node.pci is not None}
    gpus = []
    for found in find_cards(sysfs):
        if found.pci is None:
            continue
        if found.pci in order:
            ordinal, node = order[found.pci]
            own = () if node.render_minor is None else (f"dri/renderD{node.render_minor}",)
            gpus.append(
                Gpu(found.pci, "amd", found.name, found.integrated, ordinal, None, node.architecture, nodes=own)
            )
        else:
            gpus.append(Gpu(found.pci, "amd", found.name, found.integrated, None))
    return gpus


def obstacle(gpu: Gpu, environ: Environ) -> Obstacle | None:
    """ROCm computes through /dev/kfd and the GPU's render node. A container shows the host's sysfs without either."""
    dev = dev_root(environ)
    if dev is not None and (dev / "dxg").exists():  # WSL2: ROCm goes through the driver of Windows
        return closed(dev / "dxg")
    if dev is not None and (why := closed(dev / "kfd")) is not None:
        return why
    # Without any topology nobody can tell what KFD offers.
    if gpu.ordinal is None and (sysfs_root(environ) / "class/kfd/kfd/topology/nodes").is_dir():
        return Obstacle("not_offered", "KFD")
    if dev is None:
        return None
    nodes = gpu.nodes or tuple(f"dri/{name}" for name in names(dev / "dri") if name.startswith("renderD"))
    refused = [closed(dev / node) for node in nodes] or [Obstacle("no_device_file", f"{dev}/dri/renderD*")]
    return None if None in refused else refused[0]


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
        if named := remembered(path, partial(_ask, tool, environ)):
            return named
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
    hide="HIP_VISIBLE_DEVICES",
    obstacle=obstacle,
    names_architecture=True,
    strands_memory=True,
    fault_remedies={CACHING: "1"},
    probe_remedies={
        "lora": f'gpu: {{environment: {{{CACHING}: "1"}}}} in settings.yaml: slower; 3 of 3 faulting trainings came through',
        "attention": f'gpu: {{environment: {{{AOTRITON}: "1"}}}} in settings.yaml, or a build of torch with AOTriton',
    },
)
