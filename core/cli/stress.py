"""`bakehouse doctor --stress`: a training of some minutes as a job of the queue, followed to its end; ctrl+c cancels it."""

from __future__ import annotations

import sqlite3
import sys

from core.cli.common import by, job_json, opened
from core.cli.follow import exit_code, follow
from core.cli.output import print_json, say
from core.cli.submitted import warn_of_launcher
from core.config.project import shipped
from core.events import EventReader
from core.home import Home
from core.runner.client import request
from core.runner.commands import RefusedError
from core.store.jobs import ENDED, JobRow, get_job
from core.submission.stress import submit_stress
from core.wording.jobs import reason_words

INTERRUPTED = 130


def run_stress(home: Home, minutes: float, *, as_json: bool) -> None:
    """Queue the test, show how it goes, and leave with its exit code: 0 without a fault, 1 with one, 130 when cancelled."""
    job = submit_stress(home, shipped(), minutes, author=by())
    warn_of_launcher(home)
    say("Ctrl+C cancels the test.", error=True)
    with opened(home) as connection:
        ended, cancelled = to_the_end(home, connection, job.id)
        code = INTERRUPTED if cancelled else exit_code(connection, [ended])
    if as_json:
        print_json({"stress": {**job_json(ended), "layout": last_layout(home, ended)}})
    else:
        say(conclusion(home, ended))
    sys.exit(code)


def to_the_end(home: Home, connection: sqlite3.Connection, job_id: int) -> tuple[JobRow, bool]:
    """The job as it ended, or as it stands after a second ctrl+c; and whether it was cancelled here."""
    cancelled = False
    while True:
        try:
            if cancelled:
                cancel(home, job_id)
            (ended,) = follow(home, connection, [job_id])
            return ended, cancelled and ended.state == "cancelled"
        except KeyboardInterrupt:
            if cancelled:
                return get_job(connection, job_id), True
            cancelled = True
            say("Cancelling the test; ctrl+c again leaves it to the queue.", error=True)


def cancel(home: Home, job_id: int) -> None:
    try:
        request(home, "cancel", job_id, by=by())
    except RefusedError:
        return  # it has ended meanwhile


def conclusion(home: Home, job: JobRow) -> str:
    """What came of the test, and with what it is worth."""
    if job.state not in ENDED:
        return f"left to the queue: job {job.id}"
    if job.state == "done":
        return f"✓ {reason_words(job.reason)}"
    layout = last_layout(home, job)
    return f"✗ {reason_words(job.reason)}" + (f" (layout: {layout})" if layout and job.state == "failed" else "")


def last_layout(home: Home, job: JobRow) -> str | None:
    """The layout that was trained last, in words; None where none was begun."""
    attempts = home.run_dir(job.id).attempts()
    phases = [event for event in EventReader(attempts[-1].events) if event["kind"] == "phase"] if attempts else []
    named = [event.get("detail") for event in phases if str(event.get("name")).startswith("layout ")]
    return str(named[-1]) if named else None
