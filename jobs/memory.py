"""Memory: how much a job took at most, and whether an error says that there was too little."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from core.events import EventReader
from core.home import RunDir
from core.progress import fold_attempts

if TYPE_CHECKING:
    import torch

# What the allocators of torch, glibc and the GPU libraries say; only RuntimeErrors are looked at.
PHRASES = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """True when the memory of the device, or of the host, did not suffice."""
    # By name: this module does not import torch for a job that has no need of it.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in PHRASES)


def peak_of_steps(run: RunDir) -> int:
    """The largest peak that the steps of a run tell since its last rung of the ladder, in any of its attempts.

    A process that resumed near the end, or had nothing left to do, has seen less than the run took.
    """
    return fold_attempts(EventReader(attempt.events) for attempt in run.attempts()).peak_memory_bytes or 0


def peak_memory_bytes(device: torch.device) -> int:
    """Most bytes allocated on the GPU so far; without one, the largest resident size of this process.

    Read from /proc: `getrusage` would also count what the process was before it started itself again.
    """
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None  # proc(5): every process with a memory map has it
    return int(found[1]) * 1024
