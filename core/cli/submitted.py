"""What every command that submits does afterwards: warn, say or wait, and leave one document with --json."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from core.attempt.launcher import launcher
from core.cli.common import job_json, job_line, opened
from core.cli.follow import exit_code, follow_to_the_end
from core.cli.output import print_json, say, say_block
from core.home import Home
from core.store.jobs import JobRow, get_job

Show = Callable[[sqlite3.Connection, JobRow], dict[str, Any] | str]
"""What a finished job came to: a document with --json, text otherwise."""


def warn_of_launcher(home: Home) -> None:
    """Say what endangers what was just submitted, such as a logout that would end it."""
    if warning := launcher(home).warning():
        say(f"▲ {warning}", error=True)


def submitted(home: Home, job: JobRow, *, wait: bool, as_json: bool, show: Show | None = None) -> None:
    """Say what was submitted; with `wait` follow it, and what it waits for, to its end and leave with its exit code.

    With --json there is one document on stdout: the job as it is now, or with `wait` as it ended, with what it came to.
    """
    warn_of_launcher(home)
    if not wait:
        print_json({"job": job_json(job)}) if as_json else say(job_line(job))
        return
    with opened(home) as connection:
        jobs = follow_to_the_end(home, connection, [job.id])
        code = 130 if jobs is None else exit_code(connection, jobs)
        ended = get_job(connection, job.id)
        came_to = show(connection, ended) if show is not None and ended.state == "done" else None
        if as_json:
            print_json({"job": job_json(ended), **(came_to if isinstance(came_to, dict) else {})})
        elif isinstance(came_to, str):
            say_block(came_to)
        sys.exit(code)
