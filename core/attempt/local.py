"""Attempts as processes of this machine: each under a shim and in a process group of its own, told from files and locks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping

from core.attempt.launch import start_attempt
from core.attempt.launcher import Activity, Observation
from core.attempt.logout_protection import choose_protection
from core.attempt.observe import job_process, observe, written_process
from core.files import append_line
from core.gpu.devices import Gpu
from core.gpu_lease.lock import Lease
from core.home import AttemptDir, Home
from core.process.identity import ProcessIdentity, current_boot_id
from core.process.stat import PROC, read_stat


class LocalLauncher:
    """Runs the attempts of a home on this machine; see `core.attempt.launcher.Launcher`."""

    name = "local"

    def __init__(self, home: Home, gpu: Gpu | None) -> None:
        self.home = home
        self.gpu = gpu

    def warning(self) -> str | None:
        """That a logout would end a job started now."""
        return choose_protection().warning

    def start(self, attempt: AttemptDir, python: str, lease: Lease | None, remedies: Mapping[str, str]) -> str:
        """Start the shim of an attempt, which inherits the lease; returns what protects the attempt from a logout."""
        return start_attempt(self.home, attempt, python, choose_protection(), lease, self.gpu, remedies).kind

    def observe(self, attempt: AttemptDir, boot_id: str) -> Observation:
        return observe(attempt, boot_id, current_boot_id())

    def activity(self, attempt: AttemptDir) -> Activity | None:
        process = job_process(attempt)
        return None if process is None else activity_of(process)

    def owns(self, attempt: AttemptDir, pid: int) -> bool:
        """By the group that the job's process leads, while the process lives; by what was written down afterwards."""
        _, job = written_process(attempt)
        if job is None or job.boot_id != current_boot_id():
            return False
        try:
            found = read_stat(pid)
        except OSError:
            found = None
        return pid == job.pid or (found is not None and found.group == job.pid)

    def signal(self, attempt: AttemptDir, number: signal.Signals, by: str) -> bool:
        process = job_process(attempt)
        if process is None or not process.signal_group(number):
            return False
        with contextlib.suppress(OSError):  # a full disk must not keep a job from being ended
            append_line(attempt.signals, {"time": time.time(), "signal": number.name, "by": by}, durable=False)
        return True


def activity_of(process: ProcessIdentity) -> Activity | None:
    """The state of a living process, and the CPU time of all processes in the group that it leads."""
    own = read_stat(process.pid)
    if own is None or own.start_ticks != process.start_ticks:
        return None
    pids = (int(folder.name) for folder in PROC.iterdir() if folder.name.isdigit())
    group = (found for found in map(read_stat, pids) if found is not None and found.group == process.pid)
    ticks = sum(member.cpu_ticks for member in group)
    return Activity(own.state, ticks / os.sysconf("SC_CLK_TCK"))
