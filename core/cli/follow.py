"""Following jobs to their end: what they print, each change of their state, and an exit code for scripts."""

from __future__ import annotations

import sqlite3
import sys
import time
from typing import TextIO

from core.cli.common import job_line
from core.cli.output import say
from core.files import AppendedLines
from core.format import duration
from core.home import Home
from core.runner.client import ensure_runner
from core.store.attempts import list_attempts
from core.store.jobs import ENDED, RETRYABLE, JobRow, get_job
from core.text import log_line

POLL_SECONDS = 0.2
QUIET_SECONDS = 15.0


class LogTail:
    """The lines a job has printed since it was last asked, over all its attempts, each with its number before it.

    A line that an attempt did not end (it was killed) stands by itself: nothing of the next attempt is joined to it.
    """

    def __init__(self, home: Home, job_id: int) -> None:
        self.run = home.run_dir(job_id)
        self.logs: dict[int, AppendedLines] = {}

    def lines(self, *, ended: bool = False) -> list[str]:
        """`ended`: nothing more will come of the newest attempt either."""
        found: list[str] = []
        attempts = self.run.attempts()
        for attempt in attempts:
            log = self.logs.get(attempt.number)
            if log is None:
                log = self.logs[attempt.number] = AppendedLines(attempt.log)
                found += [f"── attempt {attempt.number}"] if len(attempts) > 1 else []
            whole, _ = log.read()
            if log.rest and (ended or attempt is not attempts[-1]):
                whole, log.rest = [*whole, log.rest], b""
            found += [log_line(line.decode(errors="replace")) for line in whole]
        return found


def follow(home: Home, connection: sqlite3.Connection, job_ids: list[int], out: TextIO | None = None) -> list[JobRow]:
    """Print what happens to jobs until the last has ended, and return them. Ctrl+C leaves them running."""
    out = out or sys.stderr

    def show(job: JobRow) -> None:
        shown[job.id] = job_line(job)
        say(shown[job.id], file=out)

    tails = {job_id: LogTail(home, job_id) for job_id in job_ids}
    said: dict[int, str] = {}
    shown: dict[int, str] = {}
    spoken = time.monotonic()
    while True:
        jobs = [get_job(connection, job_id) for job_id in job_ids]
        for job in jobs:
            for line in tails[job.id].lines(ended=job.state in ENDED):
                say(f"{job.id:>4} │ {line}", file=out)
                spoken = time.monotonic()
            state = job.state if job.state in {"starting", "running"} else job_line(job)
            if said.get(job.id) != state:
                said[job.id] = state
                show(job)
                spoken = time.monotonic()
        if all(job.state in ENDED or stuck(job, jobs) for job in jobs):
            return jobs
        if time.monotonic() - spoken > QUIET_SECONDS:
            spoken = time.monotonic()
            # A runner that was killed is noticed by a shim, but a queue that only waits has none.
            ensure_runner(home)
            for job in jobs:
                if job.state in {"starting", "running"} and shown.get(job.id) != job_line(job):
                    show(job)
        time.sleep(POLL_SECONDS)


def stuck(job: JobRow, jobs: list[JobRow]) -> bool:
    """True for a job that waits, also by way of others, for one of these that did not end well: it would wait for ever.

    What it waits for to end, however, ends for it where that is stuck itself.
    """
    known = {other.id: other for other in jobs}

    def is_lost(need: int) -> bool:
        other = known.get(need)
        return other is not None and (other.state in RETRYABLE or stuck(other, jobs))

    return job.state == "waiting" and any(is_lost(need) for need in job.needs)


def exit_code(connection: sqlite3.Connection, jobs: list[JobRow]) -> int:
    """0 when all are done; else 2 for bad input, 3 for a gate, 1 for every other end of the first that did not end well."""
    bad = next((job for job in jobs if job.state != "done"), None)
    if bad is None:
        return 0
    attempts = list_attempts(connection, bad.id)
    code = attempts[-1].exit_code if attempts and bad.state == "failed" else None
    return code if code in {2, 3} else 1


def with_needs(connection: sqlite3.Connection, job_ids: list[int]) -> list[int]:
    """The jobs and every job they still wait for, directly or not, oldest first."""
    found: set[int] = set()
    ahead = list(job_ids)
    while ahead:
        job = get_job(connection, ahead.pop())
        if job.id not in found and (job.state != "done" or job.id in job_ids):
            found.add(job.id)
            ahead += job.behind
    return sorted(found)


def follow_to_the_end(home: Home, connection: sqlite3.Connection, job_ids: list[int]) -> list[JobRow] | None:
    """`--wait`: follow jobs and what they wait for. None when the waiting was interrupted; the jobs go on then."""
    started = time.monotonic()
    try:
        jobs = follow(home, connection, with_needs(connection, job_ids))
    except KeyboardInterrupt:
        say("left running: `bakehouse queue list` shows them", error=True)
        return None
    say(f"after {duration(time.monotonic() - started)}", error=True)
    return jobs
