"""Where a command's readings of the card come from: the runner's ring while a runner lives, else a look of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from core.gpu.cards import Card, find_card
from core.gpu.reading import Sample
from core.gpu.ring import TelemetryRing
from core.gpu.sampler import Sampler
from core.home import Home
from core.queue import lease
from core.queue.cardstate import CardState, read_card_state
from core.store.database import runner_lives

STALE_SECONDS = 5.0
# A runner that has only just begun writes its first sample within this time.
PATIENCE_SECONDS = 2.5
# The CPU's share is measured over at least this time.
SPAN_SECONDS = 0.2
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Reading:
    """What is known at one moment. `taken_by` tells who took the sample; `state` is what a runner wrote last."""

    sample: Sample
    taken_by: Literal["runner", "command"]
    age_seconds: float
    card_pci: str | None
    lease: dict[str, Any] | None
    state: CardState | None
    runner_alive: bool

    @property
    def stale(self) -> bool:
        """True when the runner lives, but has not written for too long to be believed."""
        return self.age_seconds > STALE_SECONDS

    def to_json(self) -> dict[str, Any]:
        return {
            "sample": self.sample.to_json(),
            "taken_by": self.taken_by,
            "age_seconds": round(self.age_seconds, 3),
            "stale": self.stale,
            "card": self.card_pci,
            "lease": self.lease,
            "state": None if self.state is None else self.state.to_json(),
            "runner_alive": self.runner_alive,
        }


class Readings:
    """Looks at the card as often as asked. The runner is the only sampler: while it lives, nothing else asks the driver."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._ring = TelemetryRing(home.telemetry)
        self._sampler: Sampler | None = None
        self._card: Card | None = None
        self._waited = False

    def read(self, after: float | None = None) -> Reading:
        """The newest reading; a newer one than of the time `after`, if such a one comes within a second."""
        alive = runner_lives(self.home)
        sample = self._of_runner(after) if alive else None
        taken_by: Literal["runner", "command"] = "command" if sample is None else "runner"
        if sample is None:
            sample = self._own()
        elif self._sampler is not None:
            self._sampler.close()
            self._sampler = None
        if self._card is None:
            self._card = find_card()
        pci = self._card.pci if self._card else None
        return Reading(
            sample=sample,
            taken_by=taken_by,
            age_seconds=sample.age_seconds(),
            card_pci=pci,
            lease=lease.holder(lease.lease_path(self.home, pci)),
            state=read_card_state(self.home),
            runner_alive=alive,
        )

    def close(self) -> None:
        if self._sampler is not None:
            self._sampler.close()

    def _of_runner(self, after: float | None) -> Sample | None:
        """What the runner wrote last, however old; None when it has written nothing that can be read."""
        deadline = time.monotonic() + (1.0 if self._waited else PATIENCE_SECONDS)
        self._waited = True
        while True:
            sample = self._ring.latest()
            if sample is not None and sample.age_seconds() <= STALE_SECONDS and (after is None or sample.time > after):
                return sample
            if time.monotonic() >= deadline:
                return sample
            time.sleep(_POLL_SECONDS)

    def _own(self) -> Sample:
        if self._sampler is None:
            self._sampler = Sampler(self.home)
            self._sampler.warm_up()
            time.sleep(SPAN_SECONDS)
        return self._sampler.read()
