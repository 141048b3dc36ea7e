"""Page faults of the GPU: whose they are, told by the kernel's log and by the job's own last words.

On AMD the runtime ends a process whose access faulted, and says so in the process's log before: also where the kernel's log
cannot be read. A fault is a job's where the kernel names a pid of its process group, or where its own log says so, and in no
other case.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable

from core.attempt.launcher import STOPPED_AT_A_STEP, Launcher, Observation
from core.files import read_lines, tail
from core.gpu_lease.gpu_fault import GpuFault
from core.home import AttemptDir
from core.text import printable
from core.watchdog.kernel_messages import TEXT_CHARACTERS, KernelMessage
from core.watchdog.run_watch import GPU_FAULT

LOG_BYTES = 65_536
# ROCr's last words before it aborts, and HIP's error where it returns one.
_SAID = re.compile(
    rb"^(?:Memory access fault by GPU node-\d.*|.*\bHIP error: (?:an )?illegal (?:memory access|address)\b.*)$",
    re.MULTILINE,
)
_ASKED_TO_END = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_ENDS_OF_ITS_OWN = frozenset({0, 2, 3, 4, STOPPED_AT_A_STEP})
"""Exit codes by which a job says how it ended (jobs/__main__.py)."""


def may_be_a_fault(seen: Observation) -> bool:
    """Whether an end can come of a fault: not one that the job, or who asked it to end, accounts for."""
    if seen.condition not in ("ended", "gone", "restarted"):
        return False
    return seen.signal not in _ASKED_TO_END and seen.exit_code not in _ENDS_OF_ITS_OWN


def told_before(attempt: AttemptDir) -> str | None:
    """The fault that a runner has found in this attempt; None where none has."""
    return next(
        (str(line.get("message")) for line, _ in read_lines(attempt.watch) if line.get("code") == GPU_FAULT), None
    )


def said_by_job(attempt: AttemptDir) -> str | None:
    """What the attempt's log says of a fault of its own; None where it says nothing."""
    found = _SAID.findall(tail(attempt.log, LOG_BYTES))
    return printable(found[0].decode(errors="replace"), limit=TEXT_CHARACTERS, instead="?") if found else None


def owner(
    message: KernelMessage, attempts: Iterable[AttemptDir], launcher: Launcher, *, names_our_pids: bool
) -> tuple[AttemptDir | None, bool]:
    """The attempt whose process faulted, if it is one of these; and whether the process is known to be none of theirs."""
    if message.pid is None or not names_our_pids:
        return None, False
    found = next((attempt for attempt in attempts if launcher.owns(attempt, message.pid)), None)
    return found, found is None


def job_of(attempt: AttemptDir) -> int:
    return int(attempt.path.parent.name)


def fault_of(
    message: KernelMessage, attempt: AttemptDir | None, elsewhere: bool, time: float, boot_id: str
) -> GpuFault:
    """The kernel's message as the lease has it."""
    job_id = None if attempt is None else job_of(attempt)
    return GpuFault(message.text, time, boot_id, job_id, message.pid, message.process, elsewhere)
