"""A call to a server made again after what it does wrong for a moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from core.serving.errors import ServerError
from core.serving.retry import pause_before_retry
from jobs.context import JobContext

SECONDS_BETWEEN_LOOKS = 0.2
"""How long a stop request may go unseen."""

T = TypeVar("T")


def patiently(context: JobContext, name: str, call: Callable[[], T], source: random.Random) -> T:
    """The result of a call to the server of this name. Raises the ServerError that stays."""
    tries = 0
    while True:
        tries += 1
        try:
            return call()
        except ServerError as error:
            pause = pause_before_retry(error, tries, source)
            if pause is None:
                raise
            context.say(f"{name}: {error.message}; asked again in {pause:.1f} s")
            until = time.monotonic() + pause
            while (left := until - time.monotonic()) > 0:
                context.check_stop()
                time.sleep(min(left, SECONDS_BETWEEN_LOOKS))
