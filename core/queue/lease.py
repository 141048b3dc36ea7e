"""The right to the card: an flock that is inherited by the shim and the job, so that it lasts as long as any of them.

One lock for each card of a host, by PCI id, whoever's home asks; without a GPU the CPU is the one slot and its lock lies in
the home. The kernel keeps the lock, so a runner that is killed loses nothing and two runners never start two jobs on a card.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.home import Home


def lease_path(home: Home, pci: str | None) -> Path:
    """The lock file of a card, or of the CPU when `pci` is None."""
    if pci is None:
        return home.root / "cpu.lock"
    if named := os.environ.get("BAKEHOUSE_LEASE_DIR"):
        folder = Path(named)
    else:
        folder = next((path for path in (Path("/run/lock"), Path("/tmp")) if os.access(path, os.W_OK)), home.root)
    return folder / f"bakehouse-{pci}"


@dataclass(frozen=True)
class Lease:
    """A lock that this process holds through an open descriptor."""

    path: Path
    descriptor: int

    def note_holder(self, home: Home, job_id: int) -> None:
        """Write down who holds it, for those who ask."""
        holder = {"home": str(home.root), "job": job_id, "since": time.time()}
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps(holder).encode(), 0)

    def release(self) -> None:
        """Give up this process's share; the lock stays while a process that inherited it lives."""
        os.close(self.descriptor)


def acquire(path: Path) -> Lease | None:
    """The lease, or None when somebody has it."""
    descriptor = open_shared(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Lease(path, descriptor)


def open_shared(path: Path) -> int:
    """The lock file, open for every user of the machine: the card is one, whoever asks.

    It is created by itself, because Linux forbids opening another's file in a sticky folder with O_CREAT.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    os.fchmod(descriptor, 0o666)
    return descriptor


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lease ({home, job, since}; empty when it is held but not said by whom); None when it is free."""
    lease = acquire(path) if path.exists() else None
    if lease is not None or not path.exists():
        if lease is not None:
            lease.release()
        return None
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
