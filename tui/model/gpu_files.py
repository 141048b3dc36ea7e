"""What the runner writes of the GPU and of the runs on it, as the feed reads it: cheap when nothing was written."""

from __future__ import annotations

from collections.abc import Iterable

from core.events import EventReader
from core.gpu_lease.state import LeaseState, read_lease_state
from core.home import AttemptDir, Home
from core.store.jobs import ACTIVE, JobRow
from core.telemetry.run_record import Summary, read_summary
from tui.model.snapshot import RunFinding

KEPT_FINDINGS = 100


def read_finding(event: dict[str, object]) -> RunFinding:
    """A finding from a line of `watch.jsonl`. Raises KeyError, TypeError or ValueError for one of another version."""
    moment = event["time"]
    if not isinstance(moment, int | float):
        raise TypeError("a time is a number")
    code, message = str(event.get("code") or ""), str(event.get("message") or event["code"])
    return RunFinding(float(moment), code, message, bool(event.get("stop")))


class Findings:
    """Follows the `watch.jsonl` of one attempt."""

    def __init__(self, attempt: AttemptDir) -> None:
        self.events = EventReader(attempt.watch)
        self.found: tuple[RunFinding, ...] = ()

    def read(self) -> bool:
        """Take in what was written since; True when there was anything."""
        former = self.found
        for event in self.events:
            try:
                self.found = (*self.found, read_finding(event))[-KEPT_FINDINGS:]
            except (KeyError, TypeError, ValueError):
                continue  # of another version: what it says is in its file
        return former is not self.found


class GpuFiles:
    """Follows `gpu_lease.json` and the telemetry and findings of the jobs that run. Used by the feed's thread alone."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._state: LeaseState | None = None
        self._state_seen: tuple[int, int, int] | None = None
        self._findings: dict[tuple[int, int], Findings] = {}
        self._summary: tuple[tuple[int, int, int], Summary | None] | None = None

    def state(self) -> LeaseState | None:
        """What the runner tells of the GPU."""
        try:
            status = self.home.lease_state.stat()
        except OSError:
            self._state = self._state_seen = None
            return None
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._state_seen:
            self._state, self._state_seen = read_lease_state(self.home), seen
        return self._state

    def findings(self, jobs: Iterable[JobRow]) -> dict[int, tuple[RunFinding, ...]]:
        """By job: what was noticed about its present attempt, of those that run and gave cause."""
        running = {(job.id, job.attempt) for job in jobs if job.state in ACTIVE and job.attempt}
        self._findings = {key: one for key, one in self._findings.items() if key in running}
        for job_id, attempt in running:
            if (job_id, attempt) not in self._findings:
                self._findings[job_id, attempt] = Findings(self.home.run_dir(job_id).attempt(attempt))
        for one in self._findings.values():
            one.read()
        return {job_id: one.found for (job_id, _), one in self._findings.items() if one.found}

    def summary(self, job: JobRow | None) -> Summary | None:
        """What the present attempt of a job has done to the GPU so far."""
        if job is None or not job.attempt:
            return None
        attempt = self.home.run_dir(job.id).attempt(job.attempt)
        try:
            key = (job.id, job.attempt, attempt.telemetry.stat().st_size)
        except OSError:
            return None
        if self._summary is None or self._summary[0] != key:
            self._summary = key, read_summary(attempt)
        return self._summary[1]
