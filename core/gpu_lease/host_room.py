"""The host's memory that served models give back to a job that they make way for: counted on before they go.

Else a job would wait for memory that only its own start frees. What is counted is less than what comes back, as a rule; where
it was too much all the same, the models come back, and the next try is later each time: they serve meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.clock import NEVER, Clock
from core.home import ServedDir
from core.served.state import written_state

SHARE = 0.9
"""Of what is a process's own now: others take memory meanwhile."""
LONGEST_PAUSE_SECONDS = 1800.0


class HostRoom:
    """`retry_seconds`: how long nothing is counted on after it was too much, twice as long each time."""

    def __init__(self, clock: Clock, retry_seconds: float) -> None:
        self.clock, self.retry_seconds = clock, retry_seconds
        self._job: int | None = None
        self._not_before = NEVER
        self._failures = 0

    def bytes_for(self, job_id: int, lacking_bytes: int, served: Iterable[ServedDir]) -> int:
        """What this job can count on beside what is available; nothing where that is not enough: nobody makes way for that."""
        if self.clock.monotonic() < self._not_before:
            return 0
        found = int(SHARE * sum(own_bytes(one) for one in served))
        if found < lacking_bytes:
            return 0
        self._job = job_id
        return found

    def started(self, job_id: int) -> None:
        if job_id == self._job:
            self._job, self._failures = None, 0

    def lacked(self, job_id: int) -> None:
        """It waits for memory: for the job that counted on some it was too much, now that they are gone."""
        if job_id == self._job:
            pause = min(self.retry_seconds * 2**self._failures, LONGEST_PAUSE_SECONDS)
            self._job, self._failures = None, min(self._failures + 1, 10)
            self._not_before = self.clock.monotonic() + pause


def available_bytes() -> int:
    """Of the host's memory."""
    import psutil

    return int(psutil.virtual_memory().available)


def own_bytes(folder: ServedDir) -> int:
    """What is free once its llama-server has ended: pages of the file can be had at any time."""
    import psutil

    state = written_state(folder)
    if state is None or state.server is None or not state.server.alive():
        return 0
    try:
        memory = psutil.Process(state.server.pid).memory_info()
    except psutil.Error:
        return 0
    return int(max(0, memory.rss - getattr(memory, "shared", 0)))
