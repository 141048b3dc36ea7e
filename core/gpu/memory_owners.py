"""Whose memory it is: what a GPU holds, told apart by owner."""

from __future__ import annotations

from dataclasses import dataclass

from core.gpu.idle_baseline import WORKING_BYTES, on_gpu
from core.gpu.reading import DeviceReading, Sample

USABLE = 0.97
"""The share of a GPU's memory that a job may count on; the rest belongs to the driver and to what others take meanwhile."""

# The programs of a model server as the kernel names them (cut to 15 characters there).
SERVER_NAMES = ("ollama", "llama-server", "ollama_llama_se", "llama-box")


@dataclass(frozen=True)
class Holding:
    """What one program of others holds. `since` is when it began, in Unix seconds."""

    pid: int
    name: str
    vram_bytes: int
    user: str | None = None
    since: float | None = None
    command: str | None = None

    @property
    def serves(self) -> bool:
        """True for a model server's process."""
        return self.name.startswith(SERVER_NAMES)


@dataclass(frozen=True)
class MemoryOwners:
    """A GPU's memory in bytes. `used = idle + ours + served + others + unowned`, as far as the driver attributes it.

    `idle_bytes` is the baseline with the small programs of a desktop; `served_bytes` a model server's; `others` are further
    programs, the largest first; `unowned_bytes` is what no living process accounts for: memory of a process that was killed,
    or that the driver does not attribute. `servers` are the processes of model servers; `unseen_bytes` is the part of
    `served_bytes` that a server tells of and no process shows, `home_served_bytes` the part that served models of this home
    hold (`served NAME` among `servers`): these make way for a job whatever the settings say of other servers.
    """

    total_bytes: int
    used_bytes: int
    idle_bytes: int
    ours_bytes: int
    served_bytes: int
    others: tuple[Holding, ...]
    unowned_bytes: int
    knows_idle: bool
    servers: tuple[Holding, ...] = ()
    unseen_bytes: int = 0
    home_served_bytes: int = 0

    @property
    def others_bytes(self) -> int:
        return sum(holding.vram_bytes for holding in self.others)


def memory_owners(
    sample: Sample, device: DeviceReading, idle_bytes: int | None, served_bytes: int = 0
) -> MemoryOwners | None:
    """Who holds the GPU, None where it does not say how much is used.

    `idle_bytes` is what was learnt of the GPU (`IdleBaseline`), None when nothing was: then all that no process owns counts
    as idle. `served_bytes` is what a model server says that it holds, for a driver that does not attribute memory.
    """
    if device.vram_total_bytes is None or device.vram_used_bytes is None:
        return None
    ours = small = of_home = 0
    servers: list[Holding] = []
    others: list[Holding] = []
    for process in on_gpu(sample, device):
        held = process.vram_bytes or 0
        name = f"served {process.served}" if process.served else process.name or "?"
        holding = Holding(process.pid, name, held, process.user, process.since, process.command or process.name)
        if process.ours:
            ours += held
        elif process.served:
            of_home += held
            servers.append(holding)
        elif holding.serves or (process.name is None and 0 < held <= served_bytes - _sum(servers)):
            servers.append(holding)
        elif held >= WORKING_BYTES:
            others.append(holding)
        else:
            small += held
    served = _sum(servers)
    beyond = max(0, device.vram_used_bytes - ours - small - served - _sum(others))
    idle = beyond if idle_bytes is None else min(beyond, idle_bytes)
    # What the server says and no process shows is the server's all the same. Where one is shown with its share, the driver
    # knows better: a model that did not fit lies in the host's memory, and the server counts it as if it did not.
    unseen = 0 if served else min(beyond - idle if idle_bytes is not None else beyond, served_bytes)
    beyond -= unseen
    idle = min(idle, beyond)
    return MemoryOwners(
        total_bytes=device.vram_total_bytes,
        used_bytes=device.vram_used_bytes,
        idle_bytes=idle + small,
        ours_bytes=ours,
        served_bytes=served + unseen,
        others=tuple(sorted(others, key=lambda holding: -holding.vram_bytes)),
        unowned_bytes=beyond - idle,
        knows_idle=idle_bytes is not None,
        servers=tuple(sorted(servers, key=lambda holding: -holding.vram_bytes)),
        unseen_bytes=unseen,
        home_served_bytes=of_home,
    )


def _sum(holdings: list[Holding]) -> int:
    return sum(holding.vram_bytes for holding in holdings)


def gpu_of(sample: Sample, pci: str | None) -> DeviceReading | None:
    """The reading of the GPU that jobs run on."""
    return next((device for device in sample.devices if device.pci == pci), None) if pci else None
