"""Which process it is. A pid alone proves nothing: pids are given out again, and a restart begins anew."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

from core.process.stat import PROC, read_stat


def current_boot_id() -> str:
    """The kernel's id of this boot; `BAKEHOUSE_BOOT_ID` stands for it in tests of a restart."""
    return (
        os.environ.get("BAKEHOUSE_BOOT_ID") or (PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    )


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is none or only a zombie is left."""
    found = read_stat(pid)
    return None if found is None or found.ended else found.start_ticks


@dataclass(frozen=True)
class ProcessIdentity:
    """(boot id, pid, start ticks): what tells a process from every other one on this machine."""

    boot_id: str
    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The identity of a living process."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(current_boot_id(), pid, ticks)

    @classmethod
    def from_json(cls, document: dict[str, Any] | None) -> ProcessIdentity | None:
        if not document:
            return None
        return cls(str(document["boot_id"]), int(document["pid"]), int(document["start_ticks"]))

    def to_json(self) -> dict[str, Any]:
        return {"boot_id": self.boot_id, "pid": self.pid, "start_ticks": self.start_ticks}

    def alive(self) -> bool:
        return self.boot_id == current_boot_id() and start_ticks(self.pid) == self.start_ticks

    def signal_group(self, number: signal.Signals) -> bool:
        """Send a signal to the process group that this process leads; False when it is gone.

        A pidfd is held meanwhile, so that the pid cannot come to mean another process between the check and the signal.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive():
                return False
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def find_by_environment(name: str, value: str) -> ProcessIdentity | None:
    """The group leader among the processes of this user that carry `name=value` in their environment.

    The last means to find a job whose shim was killed before it could write down which process it had started.
    """
    wanted = f"{name}={value}".encode()
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0") and os.getpgid(int(folder.name)) == int(
                folder.name
            ):
                return ProcessIdentity.of(int(folder.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return None
