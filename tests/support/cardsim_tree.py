"""The folders of the stand-in of a card: what its driver and KFD show in `/sys`, and the processes that use it in `/proc`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.support.cardsim_files import (
    Figures,
    changing_files,
    fdinfo,
    identity_files,
    kfd_files,
    node_files,
)

GIB = 2**30
FIRST_GPU_ID = 51_200
GENERATIONS = 8


@dataclass
class SimGpu:
    """One card: what it is, and what it does now. The attributes may be set at any time; `pinned_busy` fixes the load."""

    pci: str = "0000:2b:00.0"
    total_bytes: int = 16 * GIB
    idle_bytes: int = 268_435_456
    idle_gtt_bytes: int = 41_943_040
    gtt_total_bytes: int = 32 * GIB
    name: str | None = "AMD Radeon Stand-in"
    integrated: bool = False
    power_limit_watts: float = 304.0
    unowned_bytes: int = 0
    pinned_busy: int | None = None
    throttling: tuple[str, ...] = ()
    runtime_status: str = "active"
    power_watts: float = 19.0
    edge_c: float = 38.0


@dataclass
class Holding:
    """What one process asks of one card. `ticks` tells it from a later process with the same pid."""

    pid: int
    ticks: int
    card: int
    vram_bytes: int
    gtt_bytes: int = 0
    busy_percent: int = 0
    kind: Literal["compute", "graphics"] = "compute"
    leaks: bool = False
    lingers_seconds: float = 0.0
    name: str | None = None
    user_id: int | None = None
    client: int = 0


@dataclass(frozen=True)
class Placed:
    """A holding with what it really has: what the card has no room for lies in the host's memory."""

    holding: Holding
    vram_bytes: int
    gtt_bytes: int


@dataclass
class Tree:
    """`sys` and `proc` below a folder. A file is replaced in one move, so that no reader sees a piece of it."""

    folder: Path
    _written: dict[Path, str | bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sysfs, self.procfs = self.folder / "sys", self.folder / "proc"
        self.kfd = self.sysfs / "class/kfd/kfd"
        self._staging = self.folder / ".staging"
        for folder in (self._staging, self.kfd / "proc", self.procfs):
            folder.mkdir(parents=True, exist_ok=True)
        for file in ("stat", "uptime", "meminfo", "loadavg", "sys"):
            if not (self.procfs / file).is_symlink():
                (self.procfs / file).symlink_to(f"/proc/{file}")
        self.put_all(self.kfd / "topology/nodes/0", node_files(0, None))

    def device(self, number: int) -> Path:
        return self.sysfs / f"class/drm/card{number}/device"

    def add_card(self, number: int, card: SimGpu) -> None:
        files = identity_files(
            card.pci, card.name, integrated=card.integrated, power_limit_watts=card.power_limit_watts
        )
        self.put_all(self.device(number), files)
        uevent = f"MAJOR=226\nMINOR={number}\nDEVNAME=dri/card{number}\nDEVTYPE=drm_minor"
        self.put_all(self.device(number).parent, {"uevent": uevent, "dev": f"226:{number}"})
        self.put_all(self.kfd / f"topology/nodes/{number + 1}", node_files(FIRST_GPU_ID + number, card.pci))

    def show_card(self, number: int, card: SimGpu, figures: Figures) -> None:
        self.put(self.device(number) / "power/runtime_status", card.runtime_status)
        self.put_all(self.device(number), changing_files(figures, integrated=card.integrated))

    def show_processes(self, cards: list[SimGpu], placed: Iterable[Placed]) -> None:
        """The processes that use a card, and none beside them but their ancestors."""
        wanted: dict[Path, str | bytes] = {}
        entries: set[Path] = set()
        for item in placed:
            pid = str(item.holding.pid)
            entries.add(self.procfs / pid)
            for shown in (pid, *ancestors(pid)):
                entries.add(self.procfs / shown)
                link_process(self.procfs / shown)
            wanted |= self._process_files(cards[item.holding.card], item)
            if item.holding.kind == "compute":
                entries.add(self.kfd / "proc" / pid)
        for file, content in wanted.items():
            self.put(file, content)
        for folder in (self.procfs, self.kfd / "proc"):
            for entry in [Path(found.path) for found in os.scandir(folder) if found.name.isdigit()]:
                if entry not in entries:
                    self._remove(entry)
        # What a process no longer has, though it lives on.
        for file in [file for file in self._written if self._of_a_process(file) and file not in wanted]:
            file.unlink(missing_ok=True)
            del self._written[file]

    def put_all(self, folder: Path, files: dict[str, str] | dict[str, str | bytes]) -> None:
        for name, content in files.items():
            self.put(folder / name, content)

    def put(self, file: Path, content: str | bytes) -> None:
        """Write what has changed."""
        if self._written.get(file) == content:
            return
        new = self._staging / "new"
        new.write_bytes(content if isinstance(content, bytes) else content.encode() + b"\n")
        file.parent.mkdir(parents=True, exist_ok=True)
        new.rename(file)
        self._written[file] = content

    def _process_files(self, card: SimGpu, item: Placed) -> dict[Path, str | bytes]:
        holding, number = item.holding, item.holding.card
        pasid, entry = 32_768 + holding.client, self.procfs / str(holding.pid)
        compute = holding.kind == "compute"
        links = {str(20 + number): f"/dev/dri/renderD{128 + number}"} | ({"19": "/dev/kfd"} if compute else {})
        for name, target in links.items():
            if not (entry / "fd" / name).is_symlink():
                (entry / "fd" / name).symlink_to(target)
        text = fdinfo(card.pci, holding.client, pasid, item.vram_bytes, item.gtt_bytes, compute=compute)
        files: dict[Path, str | bytes] = {entry / "fdinfo" / str(20 + number): text}
        if holding.name is not None:
            files |= {entry / "comm": holding.name[:15], entry / "cmdline": f"{holding.name}\0".encode()}
        if holding.user_id is not None:
            files[entry / "status"] = status_of(holding.pid, holding.user_id)
        if compute:
            kfd = kfd_files(FIRST_GPU_ID + number, item.vram_bytes, pasid)
            files |= {self.kfd / "proc" / str(holding.pid) / name: content for name, content in kfd.items()}
        return files

    def _of_a_process(self, file: Path) -> bool:
        return file.is_relative_to(self.procfs) or file.is_relative_to(self.kfd / "proc")

    def _remove(self, entry: Path) -> None:
        """Take a process's folder away in one move."""
        away = self._staging / f"gone-{entry.name}"
        entry.rename(away)
        shutil.rmtree(away)
        self._written = {file: content for file, content in self._written.items() if not file.is_relative_to(entry)}


def link_process(entry: Path) -> None:
    """An entry of `/proc` whose files are the real process's own, except those of the driver."""
    if not entry.is_dir():
        for folder in ("fdinfo", "fd"):
            (entry / folder).mkdir(parents=True)
        for file in ("comm", "cmdline", "stat", "status"):
            (entry / file).symlink_to(f"/proc/{entry.name}/{file}")


def ancestors(pid: str) -> list[str]:
    """The processes above one, of which the kernel's files are needed to tell whose child it is."""
    found: list[str] = []
    while len(found) < GENERATIONS:
        try:
            stat = Path(f"/proc/{found[-1] if found else pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            break
        parent = stat.rpartition(")")[2].split()[1]
        if int(parent) <= 1:
            break
        found.append(parent)
    return found


def status_of(pid: int, user_id: int) -> str:
    """`/proc/PID/status` of a living process as it would be under another user."""
    owner = "\t".join([str(user_id)] * 4)
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        lines = ["Uid:"]
    return "\n".join(f"Uid:\t{owner}" if line.startswith("Uid:") else line for line in lines)
