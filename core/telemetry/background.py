"""The runner's sampling of the GPU and the machine, in a thread of its own."""

from __future__ import annotations

import threading

from core.gpu.reading import Sample
from core.home import Home
from core.telemetry.sampler import Sampler


class BackgroundSampler:
    """Samples once a second until it is closed; `news` gives each sample once, for the runner's thread."""

    def __init__(self, home: Home) -> None:
        self._sampler = Sampler(home)
        self._over = threading.Event()
        self._seen: Sample | None = None
        threading.Thread(target=self._sampler.run, args=(self._over,), name="sampler", daemon=True).start()

    def news(self) -> Sample | None:
        """The newest sample, None when it was given before."""
        sample = self._sampler.latest
        if sample is self._seen:
            return None
        self._seen = sample
        return sample

    def close(self) -> None:
        self._over.set()
