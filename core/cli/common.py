"""What the commands share: the home, the project, `--json`, and a job in a line."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from core.cli.output import say
from core.config.project import Project
from core.format import moment, of_five, percent, plural
from core.home import Home
from core.own_paths import located_result
from core.runner.client import author
from core.store.database import open_database
from core.store.jobs import JobRow
from core.text import cell_width, printable
from core.wording.jobs import outcome_words, phase_words, reason_words
from core.wording.runs import Difference, run_label

F = TypeVar("F", bound=Callable[..., Any])

SIGNS = {
    "waiting": "◷",
    "ready": "◷",
    "starting": "▶",
    "running": "▶",
    "stopping": "▶",
    "done": "✓",
    "failed": "✗",
    "cancelled": "■",
    "interrupted": "▲",
    "lost": "▲",
}


def json_option(function: F) -> F:
    """`--json`: one document on stdout and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")(function)


def project_option(function: F) -> F:
    return click.option(
        "--project", type=click.Path(path_type=Path), help="Project folder, else the nearest one upwards."
    )(function)


@contextlib.contextmanager
def told_if_slow(text: str, seconds: float = 1.5) -> Iterator[None]:
    """Say on stderr what is being done when it takes longer than this."""
    timer = threading.Timer(seconds, say, (text,), {"error": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def find_project(named: Path | None) -> Project:
    """The project a command works on: `--project` before or behind the command's name, else the nearest upwards."""
    return Project.find(explicit=asked_project(named))


def asked_project(named: Path | None) -> Path | None:
    """The project that was asked for by `--project`, before or behind the command's name; None where none was."""
    context = click.get_current_context(silent=True)
    above = (context.find_root().obj or {}).get("project") if context else None
    return named or above


@contextlib.contextmanager
def opened(home: Home) -> Iterator[sqlite3.Connection]:
    """The database for the time of a command: on a full or read-only disk it can still be read, so that room can be made."""
    connection = open_database(home, briefly=True)
    try:
        yield connection
    finally:
        connection.close()


def by() -> str:
    """The author of what a command asks for."""
    return author("command")


def state_in_words(job: JobRow) -> str:
    """A job's state with its reason or its progress: never a bare word."""
    progress = job.progress
    if job.state in {"starting", "running", "stopping"}:
        parts = []
        if progress is not None and progress.fraction is not None:
            parts.append(percent(progress.fraction))
            if progress.left:
                parts.append(f"{progress.left} left")
            if progress.tokens_coming:
                parts.append(f"{plural(progress.tokens_coming, 'token')} of the next answer")
        elif progress is not None and progress.phase:
            parts.append(phase_words(progress.phase))
        parts += [words for words in (reason_words(job.reason),) if words]
        if job.orphaned:
            parts.append("running without its shim, which died")
        return ", ".join(parts) or job.state
    if job.state in {"waiting", "ready"}:
        return reason_words(job.reason)
    return " ".join(part for part in (moment(job.ended_at), ending_in_words(job)) if part)


def ending_in_words(job: JobRow) -> str:
    """How a job ended and why. The words for every end but a failure name the state."""
    words = outcome_words(job)
    return f"failed: {words}" if job.state == "failed" else words


def job_json(job: JobRow) -> dict[str, Any]:
    """A job for `--json`: `reason` in words, beside `reason_code` and `reason_values`; paths as they are now."""
    result = None if job.result is None else located_result(Home.find(), job.result)
    return {**job.to_json(), "result": result, "reason": reason_words(job.reason)}


def job_line(job: JobRow, difference: Difference | None = None, score: float | None = None, width: int = 40) -> str:
    """A job in a line: its title with how it differs from its like in `width` cells, its score, its state."""
    sign = "‖" if job.held else SIGNS[job.state]
    title, told = run_label(job, difference, width) if difference is not None else (printable(job.title), "")
    label = f"{title}  {told}" if told else title
    made = f"{of_five(score)}  " if score is not None and job.state == "done" else ""
    return printable(f"{sign} {job.id:>4}  {label}{' ' * (width - cell_width(label))} {made}{state_in_words(job)}")
