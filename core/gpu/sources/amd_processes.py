"""The processes on AMD cards as one list: ROCm's from KFD, and all that hold a card open from fdinfo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.gpu.reading import ProcessReading
from core.gpu.sources.fdinfo import Client
from core.gpu.sources.kernel_file import read_int, read_line


def merge(compute: list[ProcessReading], clients: list[Client], sysfs: Path, procfs: Path) -> list[ProcessReading]:
    """KFD's processes and those of fdinfo as one list, largest first, each process once a card.

    A ROCm process stands in both with the same memory: KFD's figure is taken where it is above 0, GTT is known to fdinfo
    alone. In a container KFD shows the host's pids; there the two are matched by their address space (`pasid`).
    """
    places = {(client.pid, client.pci): client for client in clients}
    aliases = _inner_pids(compute, clients, sysfs, procfs)
    rows: list[ProcessReading] = []
    for process in compute:
        pid = aliases.get(process.pid, process.pid)
        client = places.pop((pid, process.pci), None) if process.pci is not None else None
        if client is None and (process.pci is None or not process.vram_bytes):
            # KFD could not say which card it is, or has nothing on the one it named.
            mine = [place for place in places if place[0] == pid]
            client = places.pop(mine[0]) if len(mine) == 1 else None
        if client is not None:
            process = replace(
                process,
                pci=client.pci,
                vram_bytes=process.vram_bytes or client.vram_bytes or process.vram_bytes,
                gtt_bytes=client.gtt_bytes,
            )
        if pid != process.pid:
            process = replace(process, pid=pid, name=read_line(f"{procfs}/{pid}/comm"))
        rows.append(process)
    foreign = any(process.pid not in aliases and not (procfs / str(process.pid)).exists() for process in compute)
    seen = {row.pid for row in rows}
    for client in places.values():
        # With ROCm open and in none of KFD's rows that we could match, it is one of those with the host's pid.
        if foreign and client.compute and client.pid not in seen:
            continue
        # A desktop has dozens that only opened the card.
        if client.vram_bytes == 0 and not client.gtt_bytes:
            continue
        name = read_line(f"{procfs}/{client.pid}/comm")
        rows.append(ProcessReading(client.pid, name, client.vram_bytes, pci=client.pci, gtt_bytes=client.gtt_bytes))
    return sorted(rows, key=lambda row: (-(row.vram_bytes or 0), row.pid))


def _inner_pids(compute: list[ProcessReading], clients: list[Client], sysfs: Path, procfs: Path) -> dict[int, int]:
    """KFD's pids that mean nothing here (a container) → the pid of the same process as it is called here."""
    foreign = {process.pid for process in compute if not (procfs / str(process.pid)).exists()}
    if not foreign or not any(client.compute for client in clients):
        return {}
    inner = {pasid: client.pid for client in clients if client.compute for pasid in client.pasids}
    found = {}
    for pid in foreign:
        # 0 is no address space at all.
        pasid = read_int(f"{sysfs}/class/kfd/kfd/proc/{pid}/pasid", low=1)
        if pasid is not None and pasid in inner:
            found[pid] = inner[pasid]
    left = {client.pid for client in clients if client.compute} - set(found.values()) - {item.pid for item in compute}
    if len(left) == 1 and len(foreign - set(found)) == 1:
        found[(foreign - set(found)).pop()] = left.pop()
    return found
