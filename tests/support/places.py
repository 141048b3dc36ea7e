"""Places where a home can lie in a bad way, made with real file systems, users and limits: prefixes of a command.

A mount is made in a namespace of the command's own, so nothing has to be undone; a user without rights gets one through a user
namespace where the kernel allows that.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

NOBODY = 65_534
UNKNOWN = 54_321
"""A user without an entry in the user database, as containers have them."""


@cache
def mounts() -> tuple[str, ...] | None:
    """How a command gets a namespace in which it may mount; None where this machine allows none."""
    for prefix in (("unshare", "-m"), ("unshare", "-rm")):
        if shutil.which(prefix[0]):
            trial = [*prefix, "sh", "-c", "mount -t tmpfs none /mnt"]
            if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
                return prefix
    return None


def on_a_disk(home: Path, command: Sequence[str], *, size: str = "64m", then: str = "") -> list[str]:
    """A command with its home on a small disk of its own that holds what the home holds; `then` is done before it runs."""
    prefix = mounts()
    assert prefix is not None
    place, kept = shlex.quote(str(home)), shlex.quote(f"{home}.kept")
    script = [
        f"mkdir {kept} && cp -a {place}/. {kept}/",
        f"mount -t tmpfs -o size={size},mode=0700 none {place}",
        f"cp -a {kept}/. {place}/ && rm -r {kept}",
        *([then.format(home=place)] if then else []),
        f"exec {shlex.join(command)}",
    ]
    return [*prefix, "sh", "-c", " && ".join(script)]


def full(home: Path, command: Sequence[str]) -> list[str]:
    """No byte more goes onto the disk of the home."""
    fill = "{{ dd if=/dev/zero of={home}/filling bs=4k 2>/dev/null; dd if=/dev/zero bs=1 of={home}/rest 2>/dev/null; true; }}"
    return on_a_disk(home, command, size="4m", then=fill)


def read_only(home: Path, command: Sequence[str]) -> list[str]:
    return on_a_disk(home, command, then="mount -o remount,ro {home}")


def as_user(uid: int, command: Sequence[str]) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command]


def reachable(command: Sequence[str]) -> list[str]:
    """A command of root's for whose children every user can run this interpreter, wherever it is installed.

    Below a folder that is closed to others (`/root`) it is mounted again in a namespace of the command's own.
    """
    base = Path(sys.base_prefix).resolve()
    closed = next((folder for folder in reversed(base.parents) if not folder.stat().st_mode & stat.S_IXOTH), None)
    if closed is None:
        return list(command)
    place, root = shlex.quote(str(base)), shlex.quote(str(closed))
    script = [
        f"mount --bind {place} /mnt",
        f"mount -t tmpfs -o mode=0755 none {root}",
        f"mkdir -p {place}",
        f"mount --bind /mnt {place}",
        f"exec {shlex.join(command)}",
    ]
    return ["unshare", "-m", "sh", "-c", " && ".join(script)]


@cache
def users() -> bool:
    """Whether a command can be run as another user here, and that user can start this interpreter."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    again = "import subprocess, sys, core; subprocess.run([sys.executable, '-c', 'import core'], check=True)"
    trial = reachable(as_user(NOBODY, [sys.executable, "-c", again]))
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0
