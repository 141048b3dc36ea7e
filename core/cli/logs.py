"""`bakehouse logs`."""

from __future__ import annotations

import sys
import time

import click

from core.cli.common import json_option, opened
from core.cli.output import print_json, say
from core.errors import NotFoundError
from core.home import AttemptDir, Home
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
        text, offset = tail(chosen, lines)
        if as_json:
            print_json({"job": job_id, "attempt": chosen.number, "lines": [log_line(line, tab=None) for line in text]})
            return
        if not chosen.log.exists():
            say(f"job {job_id} has printed nothing yet", error=True)
        for line in text:
            say(log_line(line, tab=None), tabs=True)
        while follow:
            ended = get_job(connection, job_id).state in ENDED
            new, offset = since(chosen, offset, whole_lines=not ended)
            for line in new:
                say(log_line(line, tab=None), tabs=True, file=sys.stdout)
            if ended and not new:
                return
            time.sleep(0.3)


def tail(attempt: AttemptDir, lines: int) -> tuple[list[str], int]:
    """The last lines of a log, read from its end, and the offset behind them."""
    try:
        with attempt.log.open("rb") as file:
            end = file.seek(0, 2)
            start, block = end, b""
            while start > 0 and block.count(b"\n") <= lines:
                step = min(65536, start)
                start -= step
                file.seek(start)
                block = file.read(step) + block
    except FileNotFoundError:
        return [], 0
    return block.decode(errors="replace").splitlines()[-lines:] if lines > 0 else [], end


def since(attempt: AttemptDir, offset: int, *, whole_lines: bool) -> tuple[list[str], int]:
    """The lines behind an offset, and the offset behind them; a last one without its newline only when nothing follows."""
    try:
        with attempt.log.open("rb") as file:
            file.seek(offset)
            block = file.read(1_000_000)
    except FileNotFoundError:
        return [], offset
    if whole_lines:
        block = block[: block.rfind(b"\n") + 1]
    return block.decode(errors="replace").splitlines(), offset + len(block)
