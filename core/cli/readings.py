"""Where a command's readings of the GPU come from: the runner's ring while a runner lives, else a look of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from core.gpu.reading import Sample
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.state import LeaseState, read_lease_state
from core.home import Home
from core.store.database import runner_lives
from core.telemetry.ring import TelemetryRing
from core.telemetry.sampler import Sampler
from core.wording.gpu import gpu_words

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
    gpu_pci: str | None
    lease: dict[str, Any] | None
    state: LeaseState | None
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
            "gpu": self.gpu_pci,
            "lease": self.lease,
            "state": None if self.state is None else with_words(self.state),
            "runner_alive": self.runner_alive,
        }


def with_words(state: LeaseState) -> dict[str, Any]:
    """The state as JSON, each reason in words beside its code and values."""
    document = state.to_json()
    document["message"] = gpu_words(state.status)
    document["server_problem"] = gpu_words(state.server_fault) or None
    document["advice"] = gpu_words(state.remedy)
    document["notes"] = [{**note.to_json(), "message": gpu_words(note.reason)} for note in state.notes]
    return document


class Readings:
    """Looks at the GPU as often as asked. The runner is the only sampler: while it lives, nothing else asks the driver."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._ring = TelemetryRing(home.telemetry)
        self._sampler: Sampler | None = None
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
        # Of the runner's sample it is the GPU of the runner's choice, by which jobs are started.
        pci = sample.job_gpu.pci if sample.job_gpu is not None else None
        return Reading(
            sample=sample,
            taken_by=taken_by,
            age_seconds=sample.age_seconds(),
            gpu_pci=pci,
            lease=gpu_lock.holder(gpu_lock.lease_path(self.home, pci)),
            state=read_lease_state(self.home),
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
