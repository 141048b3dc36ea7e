"""The right to the GPU: an flock that is inherited by the shim and the job, so that it lasts as long as any of them.

One lock for each GPU of a host, by PCI id, whoever's home asks; without a GPU the CPU is the one slot and its lock lies in
the home. The kernel keeps the lock, so a runner that is killed loses nothing and two runners never start two jobs on a GPU.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BakehouseError
from core.home import Home
from core.reasons import Reason
from core.text import printable

HOLDER_LIMIT_BYTES = 8192


class LockFileError(BakehouseError):
    """The file of a lock is none that can be used."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message, code="bad_lease")
        self.reason = reason


def lease_path(home: Home, pci: str | None) -> Path:
    """The lock file of a GPU, or of the CPU when `pci` is None."""
    if pci is None:
        return home.root / "cpu.lock"
    if named := os.environ.get("BAKEHOUSE_LEASE_DIR"):
        folder = Path(named)
    else:
        folder = next((path for path in (Path("/run/lock"), Path("/tmp")) if open_to_all(path)), home.root)
    return folder / f"bakehouse-{pci}"


def open_to_all(folder: Path) -> bool:
    """Whether every user can make a file there; where only root can, root must meet the others elsewhere."""
    try:
        return bool(folder.stat().st_mode & stat.S_IWOTH) and os.access(folder, os.W_OK)
    except OSError:
        return False


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
    """The lease, or None when somebody has it or its file cannot be trusted (`holder` says which)."""
    try:
        return take(path)
    except LockFileError:
        return None


def take(path: Path) -> Lease | None:
    """The lease, None when somebody has it. Raises `LockFileError` for a file that is no lock of ours."""
    descriptor = open_shared(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Lease(path, descriptor)


def open_shared(path: Path) -> int:
    """The lock file, open for every user of the machine: the GPU is one, whoever asks.

    It is created by itself, because Linux forbids opening another's file in a sticky folder with O_CREAT. Anybody can put
    something else in its place there, and the holder is written into it: so a link, symbolic or hard, is never followed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except FileExistsError:
        return open_existing(path)
    os.fchmod(descriptor, 0o666)
    return descriptor


def open_existing(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):  # a symbolic link, a folder
            raise not_regular(path) from error
        reason = Reason("lock_not_opened", {"path": str(path), "error": error.strerror})
        raise LockFileError(f"GPU lock file {path} cannot be opened: {error.strerror}", reason) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise not_regular(path)
    return descriptor


def not_regular(path: Path) -> LockFileError:
    reason = Reason("lock_not_regular", {"path": str(path)})
    return LockFileError(f"GPU lock file {path} is not a regular file", reason)


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock: {home, job, since}, empty when nobody has said; None when it is free.

    {problem, reason} when its file cannot be used: the reason as JSON, and its words.
    """
    if not os.path.lexists(path):
        return None
    try:
        lease = take(path)
    except LockFileError as error:
        return {"problem": error.message, "reason": error.reason.to_json()}
    if lease is not None:
        lease.release()
        return None
    return read_holder(path)


def held_by(path: Path, home: Home) -> Reason | None:
    """Who holds the lock, as the reason of a job of `home` that waits for it; None when it is free."""
    found = holder(path)
    if found is None:
        return None
    if "reason" in found:
        return Reason.from_json(found["reason"])
    # 0 is no job: its runner has the lock to bring models back.
    values = {"job_id": found.get("job") or None}
    if found.get("home") == str(home.root):
        return Reason("held_by_own_process", values)
    return Reason("held_by_other_home", {**values, "home": found.get("home")})


def read_holder(path: Path) -> dict[str, Any]:
    """What the holder wrote. Every user can write there: nothing but the three values is taken, and only in their types."""
    try:
        descriptor = open_existing(path)
        try:
            document = json.loads(os.pread(descriptor, HOLDER_LIMIT_BYTES, 0))
        finally:
            os.close(descriptor)
    except (LockFileError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    kinds: dict[str, type | tuple[type, ...]] = {"home": str, "job": int, "since": (int, float)}
    said = {key: document[key] for key, kind in kinds.items() if isinstance(document.get(key), kind)}
    if "home" in said:
        said["home"] = printable(said["home"], instead="?")
    return said
