"""`bakehouse logs`."""

from __future__ import annotations

import sys
import time

import click

from core.cli.common import json_option, opened
from core.cli.output import print_json, say
from core.errors import NotFoundError
from core.files import AppendedLines, last_lines
from core.home import Home
from core.store.jobs import ENDED, get_job
from core.text import log_line


@click.command(epilog="Example: bakehouse logs 2 --follow")
@click.argument("job_id", metavar="JOB", type=int)
@click.option("--attempt", type=int, help="Which attempt, else the newest.")
@click.option("--lines", "-n", type=int, default=200, show_default=True, help="How many lines from its end.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@json_option
def logs(job_id: int, attempt: int | None, lines: int, follow: bool, as_json: bool) -> None:
    """What a job printed, as text: no escape sequence of its reaches the terminal."""
    home = Home.find()
    with opened(home) as connection:
        job = get_job(connection, job_id)
        if attempt is not None and not 1 <= attempt <= job.attempt:
            raise NotFoundError(
                f"job {job_id} has no attempt {attempt}", code="no_attempt", remedy=f"it had {job.attempt}"
            )
        chosen = home.run_dir(job_id).attempt(attempt or max(1, job.attempt))
        newest, offset = last_lines(chosen.log, lines)
        if as_json:
            print_json({"job": job_id, "attempt": chosen.number, "lines": [as_text(line) for line in newest]})
            return
        if not chosen.log.exists():
            say(f"job {job_id} has printed nothing yet", error=True)
        for line in newest:
            say(as_text(line), tabs=True)
        log = AppendedLines(chosen.log, offset)
        while follow:
            ended = get_job(connection, job_id).state in ENDED
            new, _ = log.read()
            if ended and not new and log.rest:
                new, log.rest = [log.rest], b""
            for line in new:
                say(as_text(line), tabs=True, file=sys.stdout)
            if ended and not new:
                return
            time.sleep(0.3)


def as_text(line: bytes) -> str:
    return log_line(line.decode(errors="replace"), tab=None)
