"""The GPU memory of each process from `/proc/PID/fdinfo`: all that hold a card open, those that only draw among them.

The keys are those of the kernel's `drm-usage-stats`, values in KiB or MiB. A client, told by (`drm-pdev`, `drm-client-id`),
is shown in every descriptor that shares it and is counted once.
"""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from core.gpu.sources.kernel_file import names, read_line, read_text

FULL_SCAN_SECONDS = 5.0
# A process counts as new in so many full scans; of an older one everything is looked at anew in every twelfth.
_NEW_SCANS = 6
_FORGET_SCANS = 12
_LINE = re.compile(r"^[ \t]*([a-z0-9-]+):[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_AMOUNT = re.compile(r"([0-9]{1,18})(?:[ \t]+([KMG]iB))?")
_UNITS = {None: 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_COMPUTE_DEVICE = "/dev/kfd"
# They open the card for others and pass the descriptor on.
_BROKERS = ("systemd", "systemd-logind", "elogind-daemon", "seatd")


@dataclass(frozen=True)
class Fdinfo:
    """One descriptor of a DRM device. What the file does not say is None."""

    driver: str | None
    pci: str | None
    client: int | None
    vram_bytes: int | None
    gtt_bytes: int | None
    pasid: int | None = None


@dataclass(frozen=True)
class Client:
    """What one process holds on one card. `compute`: it has `/dev/kfd` open, so it is a ROCm process."""

    pid: int
    pci: str
    vram_bytes: int | None
    gtt_bytes: int | None
    compute: bool = False
    pasids: frozenset[int] = frozenset()


def parse_fdinfo(text: str) -> Fdinfo:
    """What the text of an fdinfo file says; never raises.

    `drm-memory-REGION` is what is resident; kernels since 6.13 say it as `drm-resident-REGION`, too. `drm-total-REGION`, which
    counts what was evicted, stands in where neither is there.
    """
    fields: dict[str, str] = {}
    for key, value in _LINE.findall(text):
        fields.setdefault(key, value)
    pci = fields.get("drm-pdev", "").lower()
    return Fdinfo(
        driver=fields.get("drm-driver"),
        pci=pci if _PCI.fullmatch(pci) else None,
        client=_integer(fields.get("drm-client-id")),
        vram_bytes=_region(fields, "vram"),
        gtt_bytes=_region(fields, "gtt"),
        # 0 is no address space at all.
        pasid=_integer(fields.get("pasid")) or None,
    )


def _region(fields: dict[str, str], region: str) -> int | None:
    for kind in ("memory", "resident", "total"):
        if match := _AMOUNT.fullmatch(fields.get(f"drm-{kind}-{region}", "")):
            return int(match[1]) * _UNITS[match[2]]
    return None


def _integer(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) <= 20 else None


@dataclass(frozen=True)
class _Holder:
    """The descriptors of DRM devices that a process had when it was last looked through."""

    descriptors: tuple[str, ...]
    compute: bool


@dataclass
class _Bystander:
    """A process without a card: the descriptors that were something else, for how many scans, and the folder's state."""

    others: set[str]
    scans: int = 0
    state: tuple[int, int] | None = None


class FdinfoScanner:
    """Finds the processes with a card open, and reads what they hold.

    Looking through the descriptors of all processes is the dear part. It is done every five seconds at most, and what a
    descriptor was is remembered for a minute, but not of a process that is new: it may still open and close. Between, the
    processes found then are read, and those that the caller knows of.
    """

    def __init__(self, procfs: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.procfs = procfs
        self._clock = clock
        self._scanned = float("-inf")
        self._scans = 0
        self._holders: dict[int, _Holder] = {}
        self._bystanders: dict[int, _Bystander] = {}

    def read(self, known: Iterable[int] = ()) -> list[Client]:
        """What each process holds on each amdgpu card now, by pid. `known`: processes to look at although they are new."""
        now = self._clock()
        if now - self._scanned >= FULL_SCAN_SECONDS:
            self._scan()
            self._scanned = now
        for pid in known:
            if pid not in self._holders and (holder := self._look_through(pid, set())) is not None:
                self._holders[pid] = holder
        return self._clients()

    def _scan(self) -> None:
        former, self._bystanders, self._holders = self._bystanders, {}, {}
        self._scans += 1
        for name in names(self.procfs):
            if not name.isascii() or not name.isdigit() or len(name) > 10:
                continue
            pid = int(name)
            bystander = former.get(pid)
            # Of each twelfth part of the processes in turn nothing is remembered.
            if bystander is None or (bystander.scans >= _NEW_SCANS and (self._scans + pid) % _FORGET_SCANS == 0):
                # Of those that the first scan meets, most have long been there.
                met = _NEW_SCANS - 2 if self._scans == 1 else 0
                bystander = _Bystander(set(), met if bystander is None else bystander.scans)
            if bystander.scans < _NEW_SCANS:
                bystander.others.clear()
            state = _state(f"{self.procfs}/{name}/fd")
            if state is None or state != bystander.state or not bystander.others:
                if (holder := self._look_through(pid, bystander.others)) is not None:
                    self._holders[pid] = holder
                    continue
                bystander.state = state
            bystander.scans += 1
            self._bystanders[pid] = bystander

    def _look_through(self, pid: int, others: set[str]) -> _Holder | None:
        """The process's descriptors of DRM devices, told by the names they were opened by; None where there is none.

        Those in `others` are known to be something else; the ones that turn out so are added.
        """
        folder = f"{self.procfs}/{pid}/fd"
        try:
            entries = os.listdir(folder)  # noqa: PTH208 - names are wanted, not paths
        except FileNotFoundError:
            # No process any more, or a tree of files that has only what is read.
            entries = names(f"{self.procfs}/{pid}/fdinfo")
            return _Holder(tuple(entries), compute=False) if entries else None
        except OSError:
            # Another user's process, and we may not look.
            return None
        found, compute = [], False
        for entry in entries:
            if entry in others:
                continue
            try:
                target = os.readlink(f"{folder}/{entry}")  # noqa: PTH115 - called for every descriptor of the machine
            except OSError:
                continue
            if target.startswith("/dev/dri/"):
                found.append(entry)
            elif target == _COMPUTE_DEVICE:
                compute = True
            else:
                others.add(entry)
        return _Holder(tuple(found), compute) if found else None

    def _clients(self) -> list[Client]:
        # (card, client) → the processes that show it, each with what its descriptor says.
        shown: dict[tuple[str, int], dict[int, Fdinfo]] = defaultdict(dict)
        for pid, holder in list(self._holders.items()):
            read = False
            for descriptor in holder.descriptors:
                info = parse_fdinfo(read_text(f"{self.procfs}/{pid}/fdinfo/{descriptor}") or "")
                if info.driver != "amdgpu" or info.pci is None or info.client is None:
                    continue
                read = True
                shown[info.pci, info.client][pid] = info
            if not read:
                # It has ended, or closed the card; the next full scan may find it again.
                del self._holders[pid]
        held: dict[tuple[int, str], list[Fdinfo]] = defaultdict(list)
        for (pci, _), infos in shown.items():
            pid = self._owner(list(infos))
            held[pid, pci].append(infos[pid])
        return [
            Client(
                pid,
                pci,
                _sum(info.vram_bytes for info in infos),
                _sum(info.gtt_bytes for info in infos),
                pid in self._holders and self._holders[pid].compute,
                frozenset(info.pasid for info in infos if info.pasid is not None),
            )
            for (pid, pci), infos in sorted(held.items())
        ]

    def _owner(self, pids: list[int]) -> int:
        """Of processes that share a client the first one, which opened it and has children; but no broker of sessions."""
        if len(pids) == 1:
            return pids[0]
        using = [pid for pid in pids if read_line(f"{self.procfs}/{pid}/comm") not in _BROKERS]
        return min(using or pids)


def _state(folder: str) -> tuple[int, int] | None:
    """What changes with the number of a process's descriptors; None where it tells nothing (before Linux 6.2)."""
    try:
        state = os.stat(folder)  # noqa: PTH116 - called for every process of the machine
    except OSError:
        return None
    # The size is the number of descriptors; of a tree of plain files, the time shows what was added.
    return (state.st_size, state.st_mtime_ns) if state.st_size else None


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
