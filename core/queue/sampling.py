"""The runner's sampling of the card and the machine, in a thread of its own."""

from __future__ import annotations

import threading

from core.gpu.sampler import Sampler
from core.home import Home


def start_sampling(home: Home, stop: threading.Event) -> None:
    """Begin to sample, until the event is set."""
    threading.Thread(target=Sampler(home).run, args=(stop,), name="sampler", daemon=True).start()
