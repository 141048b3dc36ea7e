"""What the operating system refuses, told apart once: no room, a read-only place, missing rights, a limit, a failing disk.

A remedy here never does harm: nothing is moved away or removed that may be sound.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
from pathlib import Path

from core.errors import BakehouseError

PROBE_BYTES = 65_536
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
NO_RIGHT = {errno.EACCES, errno.EPERM}
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
"""In the words of a library or a tool, whose error has no number."""
OF_THE_DISK = NO_ROOM | NO_RIGHT | {errno.EROFS, errno.EFBIG, errno.EIO}
"""What a write that was begun can end with, whatever is written."""


def refusal_of(error: OSError, file: str | Path | None = None, *, of_home: bool = False) -> BakehouseError:
    """An error of the operating system in words: what was refused, where, and what to do. `of_home`: the home is refused."""
    elsewhere = ", or set BAKEHOUSE_HOME to a folder of your own" if of_home else ""
    where = file if file is not None else error.filename
    where = where if isinstance(where, str | Path) else None
    number = error.errno
    if where is not None and (target := leads_nowhere(Path(where))) is not None:
        return BakehouseError(
            f"This is a link to {target}, and nothing is there.",
            code="dangling_link",
            file=where,
            remedy=f"mount the disk that it leads to, or set the link anew{elsewhere}",
        )
    if number == errno.ENOSPC and where is not None and no_more_files(Path(where)):
        return BakehouseError(
            "This disk takes no more files: its inodes are used up, whatever space is left.",
            code="disk_full",
            file=where,
            remedy="remove files that nobody needs (`df -i` shows how many there are), then try again: what is stored is whole",
        )
    if number in NO_ROOM:
        quota = number == errno.EDQUOT
        message = "Your disk quota is used up." if quota else "No space is left on this disk."
        return BakehouseError(
            message,
            code="disk_full",
            file=where,
            remedy="free some space, then try again: what is stored is whole",
        )
    if number == errno.EROFS:
        return BakehouseError(
            "This file system is read-only.",
            code="read_only",
            file=where,
            remedy=f"make it writable{elsewhere}",
        )
    if number in NO_RIGHT:
        return BakehouseError(
            f"Permission denied for user {os.geteuid()}.",
            code="no_permission",
            file=where,
            remedy=f"give this user the right to it, or use the account that owns it{elsewhere}",
        )
    if number == errno.EFBIG:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        most = f" ({limit} bytes)" if limit != resource.RLIM_INFINITY else ""
        return BakehouseError(
            f"The file would exceed the limit on file sizes{most}.",
            code="file_size_limit",
            file=where,
            remedy="raise it with `ulimit -f unlimited`, then try again",
        )
    if number == errno.EIO:
        return BakehouseError(
            "The disk reported an error.",
            code="disk_error",
            file=where,
            remedy="copy the home to another disk before anything else; the kernel's log (dmesg) names the disk",
        )
    return BakehouseError(error.strerror or str(error), code="os_error", file=where)


def no_more_files(place: Path) -> bool:
    """Whether a disk has space and no inode left; False where that cannot be told, or its file system counts none."""
    with contextlib.suppress(OSError):
        found = os.statvfs(place if place.exists() else place.parent)
        return found.f_files > 0 and found.f_favail == 0 and found.f_bavail > 0
    return False


def leads_nowhere(path: Path) -> str | None:
    """Where a link leads that leads to nothing, as to a disk that is not mounted; None for all else."""
    try:
        return str(path.readlink()) if path.is_symlink() and not path.exists() else None
    except OSError:
        return None


def in_a_line(error: Exception) -> str:
    """An error as a person reads it: one of the operating system in words, any other as it says itself."""
    return str(refusal_of(error) if isinstance(error, OSError) else error)


_PROXY = re.compile(r"\b407\b|proxy auth", re.IGNORECASE)
_PASSWORD = re.compile(r"\b401\b|unauthori[sz]ed", re.IGNORECASE)


def download_remedy(said: str, usual: str) -> str:
    """What to do about a download that failed, by what a library said of it; `usual` where it was no missing password."""
    if _PROXY.search(said):
        return "the proxy asks for a user and a password: write them into HTTPS_PROXY as http://USER:PASSWORD@host:port"
    if _PASSWORD.search(said):
        return (
            "the server asks for a password or a token that counts there: see HF_TOKEN, and PIP_INDEX_URL for an index"
        )
    return usual


def write_refused(folder: Path) -> OSError | None:
    """Why nothing can be written into a folder, found by trying; None where a small file can be."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return error
    try:
        rest = bytes(PROBE_BYTES)
        while rest:  # a disk or a limit takes a part without an error, and refuses the rest
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError as error:
        return error
    else:
        return None
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)
