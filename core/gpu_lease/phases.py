"""What the runner does with the GPU: six phases, and every way from one to another with the causes that lead there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from core.clock import Clock, Moment

Phase = Literal["free", "clearing", "held", "verifying", "restoring", "blocked"]
Cause = Literal[
    "job_wanted",  # a job may have the GPU, and something is in its way that can go
    "gpu_clear",  # a job may have the GPU, and nothing is in its way
    "server_asked",  # a job that asks the model server may have the GPU: the served models stay, and are noted
    "gpu_unread",  # a job may have the GPU, and no reading says yet how the GPU stands
    "job_hindered",  # a job may have the GPU, and something is in its way that no unloading removes
    "job_started",  # the job that was given the lease runs
    "job_found",  # a job runs that was not given the lease here: a former runner's
    "job_ended",
    "clearing_failed",  # what was to go did not go in its time
    "models_evicted",  # models are away, and nothing keeps them from coming back
    "gpu_faulted",  # the GPU had a page fault, and nobody has released it since
    "nothing_to_do",
]

_IDLE: frozenset[Cause] = frozenset(("gpu_clear", "server_asked", "gpu_unread", "nothing_to_do"))
_FOUND: frozenset[Cause] = frozenset(("job_found",))
_WANTED: frozenset[Cause] = frozenset(("job_wanted",))
_EVICTED: frozenset[Cause] = frozenset(("models_evicted",))
_HINDERED: frozenset[Cause] = frozenset(("job_hindered", "gpu_faulted"))

WAYS: Mapping[tuple[Phase, Phase], frozenset[Cause]] = {
    # From a phase to itself: for another job.
    ("free", "free"): _IDLE,
    ("free", "clearing"): _WANTED,
    ("free", "held"): frozenset(("job_started", "job_found")),
    ("free", "restoring"): _EVICTED,
    ("free", "blocked"): _HINDERED,
    ("clearing", "clearing"): _WANTED,
    ("clearing", "free"): _IDLE | {"clearing_failed"},
    ("clearing", "held"): _FOUND,
    ("clearing", "restoring"): _EVICTED,
    ("clearing", "blocked"): _HINDERED,
    ("held", "held"): _FOUND,
    ("held", "verifying"): frozenset(("job_ended",)),
    ("verifying", "free"): _IDLE,
    ("verifying", "clearing"): _WANTED,
    ("verifying", "held"): _FOUND,
    ("verifying", "restoring"): _EVICTED,
    ("verifying", "blocked"): _HINDERED,
    ("restoring", "free"): _IDLE,
    ("restoring", "clearing"): _WANTED,
    ("restoring", "held"): _FOUND,
    ("restoring", "blocked"): _HINDERED,
    ("blocked", "free"): _IDLE,
    ("blocked", "clearing"): _WANTED,
    ("blocked", "held"): _FOUND,
    ("blocked", "restoring"): _EVICTED,
    ("blocked", "blocked"): _HINDERED,
}


class PhaseError(Exception):
    """A change of phase that `WAYS` does not have."""


class LeasePhase:
    """The phase that the GPU is in, for which job, since when and why. It changes by `enter` alone."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.phase: Phase = "free"
        self.job_id: int | None = None
        self.cause: Cause = "nothing_to_do"
        self.since: Moment | None = None

    def __call__(self, phase: Phase, job_id: int | None) -> bool:
        """Whether this is the phase, and for this job."""
        return (self.phase, self.job_id) == (phase, job_id)

    def enter(self, phase: Phase, job_id: int | None, cause: Cause) -> None:
        """Raises PhaseError, and changes nothing, where no such way leads there."""
        if cause not in WAYS.get((self.phase, phase), ()):
            raise PhaseError(f"{self.phase} to {phase} because of {cause} (job {job_id})")
        self.phase, self.job_id, self.cause = phase, job_id, cause
        self.since = Moment.now(self.clock)

    @property
    def seconds(self) -> float:
        """How long it has been so; 0 for the phase that a runner begins in."""
        return 0.0 if self.since is None else self.clock.monotonic() - self.since.monotonic
