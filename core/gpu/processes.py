"""Who the processes on a GPU are: their user, their command and when they began."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from core.gpu.reading import ProcessReading
from core.gpu.sources.kernel_file import NAME_CHARACTERS, read_bytes, read_text
from core.process.stat import parse_stat
from core.text import printable

COMMAND_CHARACTERS = 80
_UID = re.compile(r"^Uid:\s+([0-9]{1,10})", re.MULTILINE)
_BOOTED = re.compile(rb"^btime ([0-9]{1,12})$", re.MULTILINE)
# The counters of all interrupts stand before the line that is wanted.
_STAT_LIMIT_BYTES = 4_194_304
_MOST_KNOWN = 4096


@dataclass(frozen=True)
class _Known:
    ticks: int
    name: str
    user: str | None
    command: str | None
    since: float | None


# Keyed by the tree, too: a test's pids are not this machine's.
_known: dict[tuple[str, int], _Known] = {}


def describe(processes: Iterable[ProcessReading], procfs: Path) -> tuple[ProcessReading, ...]:
    """The processes with `user`, `command` and `since` (and a `name`, should they have none) from `procfs`.

    What a source said stays where the process cannot be looked at. Each process is read once; afterwards only its `stat`
    is, by whose start time another process with the same pid is told, and by whose name an exec.
    """
    return tuple(_described(process, procfs) for process in processes)


def _described(process: ProcessReading, procfs: Path) -> ProcessReading:
    folder = f"{procfs}/{process.pid}"
    found = _stat(folder)
    if found is None:
        return process
    name, ticks = found
    key = (str(procfs), process.pid)
    known = _known.get(key)
    if known is None or (known.ticks, known.name) != (ticks, name) or known.command is None:
        known = _look_at(folder, name, ticks, booted(procfs))
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = known
    return replace(
        process,
        name=process.name or known.name or None,
        user=known.user or process.user,
        command=known.command or process.command,
        since=process.since if known.since is None else known.since,
    )


def _look_at(folder: str, name: str, ticks: int, boot: int | None) -> _Known:
    words = (read_bytes(f"{folder}/cmdline", 4096) or b"").decode("utf-8", errors="replace").replace("\0", " ").split()
    command = " ".join(words)
    return _Known(
        ticks=ticks,
        name=name,
        user=_user(folder),
        command=printable(command, limit=COMMAND_CHARACTERS, instead="?") or None,
        since=None if boot is None else boot + round(ticks / os.sysconf("SC_CLK_TCK"), 2),
    )


def _stat(folder: str) -> tuple[str, int] | None:
    """The name, as text that can be shown, and the start in ticks since boot."""
    found = parse_stat(read_text(f"{folder}/stat") or "")
    if found is None or found.start_ticks < 0:
        return None
    return printable(found.name, limit=NAME_CHARACTERS, instead="?"), found.start_ticks


def _user(folder: str) -> str | None:
    """The real user's name, its number where this machine has no name for it."""
    match = _UID.search(read_text(f"{folder}/status") or "")
    return None if match is None else _user_name(int(match[1]))


@lru_cache(maxsize=256)
def _user_name(uid: int) -> str:
    import pwd

    try:
        return printable(pwd.getpwuid(uid).pw_name, limit=32, instead="?")
    except (KeyError, OverflowError):
        return str(uid)


@lru_cache(maxsize=16)
def booted(procfs: Path) -> int | None:
    """When the machine started, in Unix seconds (`btime` of `stat`)."""
    match = _BOOTED.search(_read_whole(procfs / "stat"))
    return int(match[1]) if match else None


def _read_whole(path: Path) -> bytes:
    """A kernel file gives a page or so at each read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    parts: list[bytes] = []
    try:
        while sum(map(len, parts)) < _STAT_LIMIT_BYTES and (part := os.read(descriptor, 65_536)):
            parts.append(part)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return b"".join(parts)
