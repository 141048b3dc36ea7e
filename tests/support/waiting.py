"""Waiting for what is to happen. How long that takes is the machine's business: only what never happens fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 120.0
"""Far longer than anything takes on a machine that is slow and laden. Nothing is proved by it."""

PAUSE_SECONDS = 0.03

T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = PATIENCE_SECONDS, what: str | Callable[[], str] = "") -> T:
    """Poll until something is true and return it; fails with what was waited for. It is asked once more at the end."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {(what() if callable(what) else what) or condition}")
        time.sleep(PAUSE_SECONDS)
    return value
