"""NVIDIA: found by the files of its driver, read through NVML, else by nvidia-smi."""

from __future__ import annotations

import re
from pathlib import Path

from core.gpu.source import procfs_root, sysfs_root
from core.gpu.sources.kernel_file import names, read_text, read_uevent
from core.gpu.sources.nvidia_smi import NvidiaSmiSource
from core.gpu.sources.nvml import NvmlSource
from core.gpu.sources.tool import Tool
from core.gpu.vendors.base import Environ, Gpu, GpuVendor
from core.text import printable

PCI_ID = "0x10de"
_PCI_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find(environ: Environ) -> list[Gpu]:
    return driver_gpus(sysfs_root(environ), procfs_root(environ))


def driver_gpus(sysfs: Path, procfs: Path) -> list[Gpu]:
    """The GPUs of NVIDIA's driver by PCI address. In a container its own list has only those that were passed in."""
    folder = procfs / "driver/nvidia/gpus"
    listed = {entry.lower() for entry in names(folder)}
    found = sorted(filter(_PCI_ADDRESS.fullmatch, listed or _display_devices(sysfs)), key=_place)
    gpus = []
    for ordinal, pci in enumerate(found):
        # The driver may wake a GPU to answer.
        asleep = read_text(sysfs / "bus/pci/devices" / pci / "power/runtime_status") in ("suspended", "suspending")
        text = "" if asleep else read_text(folder / pci / "information") or ""
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        name, uuid = lines.get("Model", "").strip(), lines.get("GPU UUID", "").strip()
        shown = name if printable(name) == name else ""
        # The driver shows question marks for a GPU that nobody has used yet.
        gpus.append(
            Gpu(pci, "nvidia", shown[:128] or "NVIDIA GPU", False, ordinal, uuid if _UUID.fullmatch(uuid) else None)
        )
    return gpus


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
    """None: where nvidia-smi sees a GPU, the driver's files show it."""
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
        "nvidia-smi": lambda environ: NvidiaSmiSource(Tool("nvidia-smi", environ)),
    },
    select=select,
    names_architecture=False,
    strands_memory=False,
)
