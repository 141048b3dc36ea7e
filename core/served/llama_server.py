"""A llama-server as its parent sees it, a job or a shim: the environment that it gets, and whether it has loaded.

Standard library only, for the shim's sake; the command is made in `core.served.command`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from core.process.ports import LOOPBACK, listens

HEALTH_SECONDS = 5.0
# What a server does by itself, by the environment, would be no part of what was asked.
SET_BY_ENVIRONMENT = ("LLAMA_ARG_", "LLAMA_API_KEY", "LLAMA_LOG_")


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without what llama-server would take as options."""
    return {name: value for name, value in environ.items() if not name.startswith(SET_BY_ENVIRONMENT)}


def has_loaded(pid: int, port: int) -> bool:
    """Whether `/health` says so, and not that of another server, which has the port."""
    return listens(pid, port) and is_healthy(port)


def is_healthy(port: int) -> bool:
    """Whether what listens at the port says that it has loaded."""
    request = f"GET /health HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((LOOPBACK, port), timeout=HEALTH_SECONDS) as connection:
            connection.sendall(request.encode())
            with connection.makefile("rb") as reply:
                return reply.readline(100).split()[1:2] == [b"200"]
    except OSError:
        return False
