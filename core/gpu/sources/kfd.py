"""KFD, the compute half of the amdgpu driver: which GPUs ROCm can use, and the VRAM of each ROCm process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from core.gpu.reading import ProcessReading
from core.gpu.sources.kernel_file import names, read_int, read_line, read_text

_VRAM_FILE = re.compile(r"vram_([0-9]{1,10})")


@dataclass(frozen=True)
class KfdNode:
    """One GPU of KFD's topology: its id there, its PCI address, its architecture (`gfx1201`), the number of its render node."""

    gpu_id: int
    pci: str | None
    architecture: str | None
    render_minor: int | None = None


def kfd_nodes(sysfs: Path) -> list[KfdNode]:
    """KFD's GPUs in the order of its nodes, by which ROCm counts its devices.

    `location_id` is bus << 8 | device << 3 | function. A GPU that this container may not use cannot be read and is left out.
    """
    nodes = sysfs / "class/kfd/kfd/topology/nodes"
    found: list[KfdNode] = []
    for number in sorted(int(node) for node in names(nodes) if node.isascii() and node.isdigit() and len(node) < 6):
        gpu = read_int(f"{nodes}/{number}/gpu_id", low=1)
        if gpu is None:
            continue
        lines = (read_text(f"{nodes}/{number}/properties") or "").splitlines()
        properties = {
            words[0]: int(words[1])
            for line in lines
            if len(words := line.split()) == 2 and words[1].isascii() and words[1].isdigit() and len(words[1]) <= 20
        }
        where, address = properties.get("location_id"), None
        if where is not None:
            domain = properties.get("domain", 0) & 0xFFFFFFFF
            address = f"{domain:04x}:{where >> 8 & 0xFF:02x}:{where >> 3 & 0x1F:02x}.{where & 7}"
        minor = properties.get("drm_render_minor")
        named = architecture(properties.get("gfx_target_version", 0))
        found.append(KfdNode(gpu, address, named, minor if minor and minor < 1_000_000 else None))
    return found


def architecture(target: int) -> str | None:
    """LLVM's name of `gfx_target_version`, whose decimal digits are major, two of minor and two of stepping.

    In the name minor and stepping are hexadecimal: 120001 → `gfx1201`, 90010 → `gfx90a`. 0 is a node without a GPU.
    """
    major, minor, stepping = target // 10_000, target // 100 % 100, target % 100
    return f"gfx{major}{minor:x}{stepping:x}" if 6 <= major < 100 and minor < 16 and stepping < 16 else None


def read_kfd_processes(sysfs: Path, procfs: Path, nodes: list[KfdNode] | None = None) -> list[ProcessReading]:
    """The ROCm processes with their VRAM on each card, largest first.

    The pids are the host's, also inside a container. A process that holds nothing anywhere is listed once, with 0.
    """
    folder = sysfs / "class/kfd/kfd/proc"
    addresses: dict[int, str | None] | None = None
    found = []
    for entry in names(folder):
        if not entry.isascii() or not entry.isdigit() or len(entry) > 10:
            continue
        held: list[tuple[int, int]] = []
        for file in names(f"{folder}/{entry}"):
            if (match := _VRAM_FILE.fullmatch(file)) and (used := read_int(f"{folder}/{entry}/{file}")) is not None:
                held.append((int(match[1]), used))
        held = [item for item in held if item[1] > 0] or held[:1]
        if addresses is None:
            addresses = {node.gpu_id: node.pci for node in (kfd_nodes(sysfs) if nodes is None else nodes)}
        pid, name = int(entry), read_line(f"{procfs}/{entry}/comm")
        found += [ProcessReading(pid, name, used, pci=addresses.get(gpu)) for gpu, used in held]
    return sorted(found, key=lambda process: (-(process.vram_bytes or 0), process.pid))
