"""Served models of a test: none of them outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import httpx

from core.errors import BakehouseError
from core.home import Home
from core.served.control import stop
from core.served.record import read_records
from core.served.state import Phase, ServedState, read_state
from tests.support.waiting import wait_until


@contextlib.contextmanager
def all_ended(home: Home) -> Iterator[Home]:
    """End whatever serves in a home when the block ends."""
    try:
        yield home
    finally:
        records, unreadable = read_records(home)
        for name in [one.name for one in (*records, *unreadable)]:
            with contextlib.suppress(BakehouseError, OSError):
                stop(home, name)


def reached(home: Home, name: str, phase: Phase) -> ServedState:
    """The state of a served model once it is in this phase."""
    states: list[ServedState] = []

    def is_there() -> bool:
        states[:] = [read_state(home, name)]
        return states[0].phase == phase

    wait_until(is_there, what=lambda: f"{phase}, it is {states}")
    return states[0]


def kill(pid: int) -> None:
    """SIGKILL, as the kernel ends what takes too much memory."""
    os.kill(pid, signal.SIGKILL)


def models_at(url: str) -> list[str]:
    """What a server's API lists."""
    return [str(one["id"]) for one in httpx.get(f"{url}/models", trust_env=False).json()["data"]]
