"""Folders that are written under a temporary name and renamed: what a kill leaves of them is told from what is being written.

Their names say who writes: pid and start. A pid alone is given out again, after a restart of the machine to a daemon that lives
for months, and what was left under its name would stay as long: these are gigabytes.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from core.process.identity import start_ticks

PREFIX = ".tmp"


def temporary_name(label: str) -> str:
    """`.tmp-PID-START-LABEL`: a name for what this process writes, and nothing else has."""
    return f"{PREFIX}-{os.getpid()}-{start_ticks(os.getpid())}-{label}"


def take_place(temporary: Path, place: Path) -> None:
    """Rename a folder to its place, unless another process has written the same there meanwhile. Raises OSError."""
    try:
        temporary.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def leftovers(folder: Path) -> list[Path]:
    """What processes that are gone have left half written in a folder."""
    return [place for place in folder.glob(f"{PREFIX}-*") if not _is_written(place.name)]


def sweep(folder: Path) -> None:
    """Remove that."""
    for leftover in leftovers(folder):
        shutil.rmtree(leftover, ignore_errors=True)


def _is_written(name: str) -> bool:
    """Whether the process that a name tells of lives."""
    pid, start, *_ = [*name.split("-")[1:], ""]
    ticks = start_ticks(int(pid)) if pid.isdecimal() else None
    # A name of before tells the pid alone.
    return ticks is not None and (not start.isdecimal() or int(start) == ticks)
