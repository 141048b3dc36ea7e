"""What the newest stress test found, as the queue has it: with its day, and with what it is worth."""

from __future__ import annotations

import contextlib
import sqlite3

from core.doctor.machine import Machine
from core.doctor.results import Diagnostic, State
from core.format import moment
from core.store.database import open_database
from core.store.jobs import JobRow, get_job
from core.wording.jobs import reason_words

SUBJECT = "stress test"
NEWEST = (
    "SELECT id FROM jobs WHERE kind = 'stress' AND state IN ('done', 'failed', 'interrupted') ORDER BY id DESC LIMIT 1"
)


def stress_test(machine: Machine) -> list[Diagnostic]:
    """Its line; nothing where there was none."""
    job = newest(machine)
    if job is None:
        return []
    said = f"job {job.id}, {moment(job.ended_at)}: {reason_words(job.reason)}"
    if job.state == "done":
        return [line("ok", said)]
    if job.reason.code == "gpu_fault":
        return [line("fault", said, f"bakehouse queue retry {job.id} repeats it with what helps against page faults")]
    return [line("warning", said, f"bakehouse logs {job.id} tells more")]


def newest(machine: Machine) -> JobRow | None:
    """The newest one that ended by itself."""
    if not machine.home.database.is_file():
        return None
    with contextlib.closing(open_database(machine.home)) as connection:
        try:
            row = connection.execute(NEWEST).fetchone()
        except sqlite3.Error:
            return None
        return None if row is None else get_job(connection, row["id"])


def line(state: State, message: str, remedy: str = "") -> Diagnostic:
    return Diagnostic(SUBJECT, state, message, remedy, "probes")
