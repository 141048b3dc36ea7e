"""NVIDIA: found by the files of its driver, else by nvidia-smi (WSL2); read through NVML, else by nvidia-smi."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from core.gpu.source import Source, SourceError, dev_root, procfs_root, sysfs_root
from core.gpu.source_timeout import Guard
from core.gpu.sources.kernel_file import names, read_text, read_uevent
from core.gpu.sources.nvidia_smi import NvidiaSmiSource, nvidia_smi
from core.gpu.sources.nvml import NvmlSource
from core.gpu.vendors.base import Environ, Gpu, GpuVendor, Obstacle, closed, in_container, remembered, revoked
from core.text import printable

log = logging.getLogger(__name__)

PCI_ID = "0x10de"
_PCI_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MODPROBE = "nvidia-modprobe"
TOOL_LIMIT_SECONDS = 4.0


def find(environ: Environ) -> list[Gpu]:
    return driver_gpus(sysfs_root(environ), procfs_root(environ), dev_root(environ))


def driver_gpus(sysfs: Path, procfs: Path, dev: Path | None = None) -> list[Gpu]:
    """The GPUs of NVIDIA's driver by PCI address. In a container its own list has only those that were passed in.

    Where `dev` has device files of some GPUs, CUDA counts those alone: the others have no `ordinal`.
    """
    folder = procfs / "driver/nvidia/gpus"
    listed = {entry.lower() for entry in names(folder)}
    found = sorted(filter(_PCI_ADDRESS.fullmatch, listed or _display_devices(sysfs)), key=_place)
    some = dev is not None and any(re.fullmatch(r"nvidia[0-9]+", name) for name in names(dev))
    gpus: list[Gpu] = []
    for pci in found:
        # The driver may wake a GPU to answer.
        asleep = read_text(sysfs / "bus/pci/devices" / pci / "power/runtime_status") in ("suspended", "suspending")
        text = "" if asleep else read_text(folder / pci / "information") or ""
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        name, uuid = lines.get("Model", "").strip(), lines.get("GPU UUID", "").strip()
        shown = name if printable(name) == name else ""
        minor = lines.get("Device Minor", "").strip()
        nodes = (f"nvidia{minor}",) if minor.isascii() and minor.isdigit() and len(minor) < 5 else ()
        counted = not (some and dev is not None and nodes) or (dev / nodes[0]).exists()
        ordinal = sum(gpu.ordinal is not None for gpu in gpus) if counted else None
        # The driver shows question marks for a GPU that nobody has used yet.
        known = uuid if _UUID.fullmatch(uuid) else None
        gpus.append(Gpu(pci, "nvidia", shown[:128] or "NVIDIA GPU", False, ordinal, known, nodes=nodes))
    return gpus


def obstacle(gpu: Gpu, environ: Environ) -> Obstacle | None:
    """CUDA computes through /dev/nvidiactl and the GPU's own device file, in WSL2 through /dev/dxg."""
    dev = dev_root(environ)
    if dev is None:
        return None
    if (dev / "dxg").exists():
        return closed(dev / "dxg")
    if gpu.ordinal is None:
        return Obstacle("no_device_file", f"{dev}/{gpu.nodes[0]}" if gpu.nodes else f"{dev}/nvidia*")
    control = dev / "nvidiactl"
    if not control.exists() and not in_container(environ) and shutil.which(MODPROBE, path=environ.get("PATH")):
        return None  # CUDA has them made when it starts
    if (why := closed(control) or revoked(control)) is not None:
        return why
    # A GPU's own file is not opened: that starts the GPU.
    return next((why for node in gpu.nodes if (why := closed(dev / node)) is not None), None)


def _display_devices(sysfs: Path) -> set[str]:
    """The addresses of the display devices of NVIDIA's that its driver has, not nouveau or a virtual machine."""
    bus, drm = sysfs / "bus/pci/devices", sysfs / "class/drm"
    found = set()
    for device in [*(bus / entry for entry in names(bus)), *(drm / entry / "device" for entry in names(drm))]:
        # The sound and USB parts of a GPU have its vendor, too, and another class.
        if read_text(device / "vendor") != PCI_ID or not (read_text(device / "class") or "0x03").startswith("0x03"):
            continue
        uevent = read_uevent(device)
        if not uevent or uevent.get("DRIVER") == "nvidia":
            found.add((uevent.get("PCI_SLOT_NAME") or device.name).lower())
    return found


def _place(pci: str) -> list[int]:
    return [int(part, 16) for part in re.split(r"[:.]", pci)]


def find_by_tools(environ: Environ, forced: str | None) -> list[Gpu]:
    """What nvidia-smi or NVML name where the driver's files show no GPU: in WSL2, or in a container without them."""
    if find(environ):
        return []
    dev, tool = dev_root(environ), nvidia_smi(environ)
    path = tool.path()
    traces = dev is not None and any((dev / name).exists() for name in ("dxg", "nvidiactl"))
    if not (path or traces or forced == NvmlSource.name):
        return []
    sources: list[Source] = []
    if path and forced != NvmlSource.name:
        sources.append(NvidiaSmiSource(tool, limit_seconds=TOOL_LIMIT_SECONDS))
    if (traces or forced == NvmlSource.name) and forced != NvidiaSmiSource.name:
        sources.append(NvmlSource())
    key = f"{path} {[source.name for source in sources]}"
    return remembered(key, lambda: _named(sources))


def _named(sources: Sequence[Source]) -> list[Gpu]:
    """The GPUs of the first source that answers. `ordinal` counts by PCI address, as CUDA is told to."""
    for source in sources:
        guard = Guard(source, limit_seconds=TOOL_LIMIT_SECONDS)
        try:
            devices = guard.read()[0] if guard.available() else ()
        except SourceError as error:
            log.warning("%s names no GPU: %s", source.name, error)
            continue
        finally:
            guard.close()
        placed = sorted((device for device in devices if device.pci), key=lambda device: _place(device.pci or ""))
        if placed:
            return [
                Gpu(device.pci or "", "nvidia", device.name, False, ordinal, device.uuid, device.architecture)
                for ordinal, device in enumerate(placed)
            ]
    return []


def select(gpu: Gpu, environ: Environ) -> dict[str, str]:
    wanted = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpu.uuid or str(gpu.ordinal)}
    return {name: value for name, value in wanted.items() if name not in environ}


NVIDIA = GpuVendor(
    name="nvidia",
    label="NVIDIA",
    pci_id=PCI_ID,
    driver="nvidia",
    driver_remedy="install NVIDIA's driver",
    torch_build=r"cu(da)?\d+",
    visibility=(("CUDA_VISIBLE_DEVICES",),),
    find=find,
    find_by_tools=find_by_tools,
    # nvidia-smi is read where NVML's library cannot be loaded into this process.
    sources={
        "nvml": lambda environ: NvmlSource(),
        "nvidia-smi": lambda environ: NvidiaSmiSource(nvidia_smi(environ)),
    },
    select=select,
    hide="CUDA_VISIBLE_DEVICES",
    obstacle=obstacle,
    names_architecture=False,
    strands_memory=False,
)
