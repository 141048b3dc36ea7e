"""A server's models made to go by a job that is about to load models of its own, while it shares the GPU with that server.

For jobs whose `GpuUse` is `serving`: the runner has noted what was loaded before them, and brings it back afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from core.serving.errors import ServerError
from core.serving.ollama import Ollama

SETTLE_SECONDS = 1.0
"""How long nothing must have been listed: what is being loaded is not listed, and no request keeps it from coming up."""
POLL_SECONDS = 0.1


def make_room(
    ollama: Ollama, *, seconds: float = 120.0, stopped: Callable[[], bool] = lambda: False
) -> tuple[str, ...]:
    """Have every model go that may hold memory of the GPU; the names of those that went, in the order in which they were seen.

    A model that answers a client goes once that answer has ended. A client that asks again has its model loaded again: what
    the GPU holds is to be looked at where that matters. Returns early once `stopped` says so. ServerError: `server_slow` for
    what is still there after so many seconds, and whatever a request meets; a server that is not there holds nothing.
    """
    deadline = time.monotonic() + seconds
    went: dict[str, None] = {}
    empty_since: float | None = None
    while not stopped():
        try:
            there = [one for one in ollama.ps() if one.size_vram_bytes != 0]
        except ServerError as error:
            if error.code == "server_down":
                break
            raise
        now = time.monotonic()
        if there:
            empty_since = None
            went.update(dict.fromkeys(one.name for one in there))
            for one in there:
                ollama.unload(one.name)
        else:
            empty_since = now if empty_since is None else empty_since
            if now - empty_since >= SETTLE_SECONDS:
                break
        if now > deadline:
            names = ", ".join(one.name for one in there) or "a model"
            raise ServerError(f"{names} is still loaded {seconds:g} s after it was asked to go", code="server_slow")
        time.sleep(POLL_SECONDS)
    return tuple(went)
