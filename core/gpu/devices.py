"""The GPU that jobs run on: one answer for submission, lease, runner and `bakehouse gpu`.

It is told from files of the kernel and of NVIDIA's driver: no library is loaded and no sleeping GPU is woken. AMD's tools are
asked only where sysfs has no GPU. A GPU that is a part of the processor is never the GPU.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.gpu.source import SourceError, procfs_root, sysfs_root
from core.gpu.source_timeout import Guard
from core.gpu.sources.amd_smi import AmdSmiSource
from core.gpu.sources.kernel_file import names, read_text, read_uevent
from core.gpu.sources.kfd import kfd_nodes
from core.gpu.sources.rocm_smi import RocmSmiSource
from core.gpu.sources.sysfs import find_cards
from core.gpu.sources.tool import Tool
from core.text import printable

log = logging.getLogger(__name__)
NVIDIA_VENDOR = "0x10de"
TOOLS = ("amd-smi", "rocm-smi")
_TOOL_LIMIT_SECONDS = 4.0
_ASK_AGAIN_SECONDS = 60.0
# Where a tool lies → when it was asked, and the GPUs it named.
_told: dict[str, tuple[float, tuple[Gpu, ...]]] = {}
_PCI_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# The variables by which a person says what a program may see. Each group filters what the one before it leaves; in a
# group the first that is set counts. HIP obeys CUDA's variable, too.
_AMD_FILTERS = (("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))
_NVIDIA_FILTERS = (("CUDA_VISIBLE_DEVICES",),)


@dataclass(frozen=True)
class Gpu:
    """A GPU that jobs can run on. `pci` is its address as the kernel writes it (`0000:0f:00.0`).

    `ordinal` counts from 0 as the vendor's runtime does: NVIDIA's GPUs by PCI address, AMD's as KFD numbers its nodes,
    integrated ones among them; None where KFD does not offer the GPU. `uuid` is known of a running NVIDIA GPU.
    """

    pci: str
    vendor: Literal["amd", "nvidia"]
    name: str
    integrated: bool | None
    ordinal: int | None
    uuid: str | None = None
    architecture: str | None = None
    """Of an AMD GPU, as LLVM names it (`gfx1201`); NVIDIA's files do not tell."""


def find_gpu(environ: Mapping[str, str] | None = None) -> Gpu | None:
    """The GPU that jobs run on, None where the CPU is all there is. Takes about a millisecond.

    It is the first discrete GPU by PCI address; of two vendors AMD's, unless only the other can compute.
    `BAKEHOUSE_GPU_SOURCE` narrows the choice to what that source reads (`sysfs`, `rocm-smi` and `amd-smi` AMD, `nvml` NVIDIA,
    `none` nothing), and a person's own CUDA_, HIP_ or ROCR_VISIBLE_DEVICES to what it names, in its order. Where the files
    show no GPU, AMD's tools are asked if they are on PATH: that takes up to seconds, once a process.
    """
    environ = os.environ if environ is None else environ
    source = environ.get("BAKEHOUSE_GPU_SOURCE")
    sysfs, procfs = sysfs_root(environ), procfs_root(environ)
    gpus: list[Gpu] = []
    if not source or source in ("sysfs", *TOOLS):
        gpus += visible(amd_gpus(sysfs), _AMD_FILTERS, environ)
    if not source or source == "nvml":
        gpus += visible(nvidia_gpus(sysfs, procfs), _NVIDIA_FILTERS, environ)
    discrete = [gpu for gpu in gpus if not gpu.integrated]
    if not discrete and (source in TOOLS or not source):
        # A GPU in sysfs that is integrated, or that the person has hidden, is not made another by a tool.
        seen = {gpu.pci for gpu in find_cards(sysfs)}
        if source or not seen:
            told = [gpu for gpu in tool_gpus((source,) if source else TOOLS, environ) if gpu.pci not in seen]
            discrete = [gpu for gpu in visible(told, _AMD_FILTERS, environ) if not gpu.integrated]
    return min(discrete, key=lambda gpu: gpu.ordinal is None, default=None)


def device_environment(gpu: Gpu | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that make the GPU the only one a job sees; none that a person has set, nothing without a GPU."""
    if gpu is None or gpu.ordinal is None:
        return {}
    if gpu.vendor == "nvidia":
        wanted = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpu.uuid or str(gpu.ordinal)}
        return {name: value for name, value in wanted.items() if name not in environ}
    if any(name in environ for group in _AMD_FILTERS for name in group):
        return {}
    # Not ROCR_VISIBLE_DEVICES beside it: HIP would count anew in what that leaves.
    return {"HIP_VISIBLE_DEVICES": str(gpu.ordinal)}


def amd_gpus(sysfs: Path) -> list[Gpu]:
    """The GPUs of the amdgpu driver that have an address, discrete ones first."""
    nodes = kfd_nodes(sysfs)
    order = {node.pci: (ordinal, node.architecture) for ordinal, node in enumerate(nodes) if node.pci is not None}
    gpus = []
    for found in find_cards(sysfs):
        if found.pci is not None:
            ordinal, architecture = order.get(found.pci, (None, None))
            gpus.append(Gpu(found.pci, "amd", found.name, found.integrated, ordinal, architecture=architecture))
    return gpus


def tool_gpus(tools: Sequence[str], environ: Mapping[str, str]) -> list[Gpu]:
    """The GPUs that the first of AMD's tools with an answer names, the largest first.

    The answer is kept for this process; that there is none, for a minute. `ordinal` counts the GPUs as the tool does.
    """
    for tool in tools:
        path = Tool(tool, environ).path()
        if path is None:
            continue
        known = _told.get(path)
        if known is None or (not known[1] and time.monotonic() - known[0] > _ASK_AGAIN_SECONDS):
            known = _told[path] = (time.monotonic(), tuple(_ask(tool, environ)))
        if known[1]:
            return list(known[1])
    return []


def _ask(tool: str, environ: Mapping[str, str]) -> list[Gpu]:
    program = Tool(tool, environ)
    source: AmdSmiSource | RocmSmiSource = AmdSmiSource(program) if tool == "amd-smi" else RocmSmiSource(program)
    guard = Guard(source, limit_seconds=_TOOL_LIMIT_SECONDS)
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


def nvidia_gpus(sysfs: Path, procfs: Path) -> list[Gpu]:
    """The GPUs of NVIDIA's driver by PCI address. In a container its own list has only those that were passed in."""
    folder = procfs / "driver/nvidia/gpus"
    listed = {entry.lower() for entry in names(folder)}
    found = sorted(filter(_PCI_ADDRESS.fullmatch, listed or _nvidia_devices(sysfs)), key=_place)
    gpus = []
    for ordinal, pci in enumerate(found):
        # The driver may wake a GPU to answer.
        asleep = read_text(sysfs / "bus/pci/devices" / pci / "power/runtime_status") in ("suspended", "suspending")
        said = "" if asleep else read_text(folder / pci / "information") or ""
        lines = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
        name, uuid = lines.get("Model", "").strip(), lines.get("GPU UUID", "").strip()
        shown = name if printable(name) == name else ""
        # The driver shows question marks for a GPU that nobody has used yet.
        gpus.append(
            Gpu(pci, "nvidia", shown[:128] or "NVIDIA GPU", False, ordinal, uuid if _UUID.fullmatch(uuid) else None)
        )
    return gpus


def _nvidia_devices(sysfs: Path) -> set[str]:
    """The addresses of the display devices of NVIDIA's that its driver has, not nouveau or a virtual machine."""
    bus, drm = sysfs / "bus/pci/devices", sysfs / "class/drm"
    found = set()
    for device in [*(bus / entry for entry in names(bus)), *(drm / entry / "device" for entry in names(drm))]:
        # The sound and USB parts of a GPU have its vendor, too, and another class.
        if read_text(device / "vendor") != NVIDIA_VENDOR or not (read_text(device / "class") or "0x03").startswith(
            "0x03"
        ):
            continue
        uevent = read_uevent(device)
        if not uevent or uevent.get("DRIVER") == "nvidia":
            found.add((uevent.get("PCI_SLOT_NAME") or device.name).lower())
    return found


def _place(pci: str) -> list[int]:
    return [int(part, 16) for part in re.split(r"[:.]", pci)]


def visible(gpus: list[Gpu], filters: Sequence[Sequence[str]], environ: Mapping[str, str]) -> list[Gpu]:
    """The GPUs that a person's variables leave, in their order; all as they come where nothing is set."""
    for group in filters:
        said = next((environ[name] for name in group if name in environ), None)
        if said is not None:
            gpus = _named(sorted((gpu for gpu in gpus if gpu.ordinal is not None), key=_ordinal), said)
    return gpus


def _ordinal(gpu: Gpu) -> int:
    return -1 if gpu.ordinal is None else gpu.ordinal


def _named(gpus: list[Gpu], said: str) -> list[Gpu]:
    """As the runtimes read it: numbers count in `cards`, a UUID may be cut short, and nothing counts behind a bad item."""
    found: list[Gpu] = []
    for word in (item.strip() for item in said.split(",")):
        if word.isascii() and word.isdigit():
            gpu = next(iter(gpus[int(word[:4]) :]), None)
        elif word.startswith(("GPU-", "MIG-")):
            # A name that cannot be told is taken for the first: a lease too many does less harm than one too few.
            gpu = next((gpu for gpu in gpus if gpu.uuid and gpu.uuid.startswith(word)), next(iter(gpus), None))
        else:
            gpu = None
        if gpu is None:
            break
        found.append(gpu)
    return found
