"""Looking whether somebody holds an flock on a file. The kernel releases one at its holder's end, so it is a proof of life.

The look takes the lock for a moment: who wants it for good asks more than once. Standard library only, for the shim's sake.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def held(path: Path, *, shared: bool = False) -> bool:
    """True while a process holds an exclusive lock on the file; with `shared`, a shared one counts, too."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
