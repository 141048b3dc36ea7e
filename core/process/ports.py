"""Ports of loopback: which are free, and who listens there. Standard library only, for the shims' sake."""

from __future__ import annotations

import contextlib
import socket

from core.process.stat import PROC

LOOPBACK = "127.0.0.1"
LISTENING = "0A"
"""The state in a line of `/proc/net/tcp`."""


def free_port() -> int:
    """A port of loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether nobody listens at a port now. One that would let another in counts as well (`SO_REUSEPORT`): each would
    get a part of the questions."""
    with socket.socket() as probe:
        # What former connections leave behind for a minute is no server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
        return True


def listens(pid: int, port: int) -> bool:
    """Whether it is this process that listens at a port of IPv4; False where that cannot be told."""
    sockets = set()
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{words[9]}]")
    if not sockets:
        return False
    with contextlib.suppress(OSError):
        for link in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()) in sockets:
                    return True
    return False
