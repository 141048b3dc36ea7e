"""What the dashboard's keys ask for. Each request runs in a thread of its own and ends in one line."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.message import Message

from core.errors import BakehouseError
from core.home import Home
from core.runner.commands import RefusedError
from core.store.jobs import RETRYABLE, JobRow
from core.wording.jobs import reason_words
from tui.format import safe

if TYPE_CHECKING:
    from tui.app import ConsoleApp
    from tui.screens.start_bakeoff import BakeoffPlan

AUTHOR = "console"


class Outcome(Message):
    """What came of a request."""

    def __init__(self, text: str, failed: bool = False, job_ids: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.text = text
        self.failed = failed
        self.job_ids = job_ids
        """The jobs that were queued."""


def in_background(app: ConsoleApp, act: Callable[[], Outcome]) -> None:
    """Run `act` beside the console and post its line. A daemon thread: leaving the console never waits for an answer."""

    def work() -> None:
        try:
            outcome = act()
        except RefusedError as error:
            outcome = Outcome(reason_words(error.reason), failed=True)
        except (BakehouseError, OSError, sqlite3.Error) as error:
            outcome = Outcome(str(error), failed=True)
        if app.is_running:
            app.post_message(outcome)
            app.feed.wake()

    threading.Thread(target=work, name="request", daemon=True).start()


def ask(app: ConsoleApp, kind: str, job: JobRow | None, said: str, arguments: dict[str, Any] | None = None) -> None:
    """Send a command to the runner; `said` is the line that tells that it was carried out."""

    def act() -> Outcome:
        from core.runner.client import author, request

        request(app.home, kind, None if job is None else job.id, arguments, by=author(AUTHOR))
        return Outcome(said)

    in_background(app, act)


def submit(app: ConsoleApp, make: Callable[[Home, Any, str], list[JobRow]]) -> None:
    """Queue jobs: `make(home, project, author)` returns their rows."""

    def act() -> Outcome:
        from core.attempt.launcher import launcher
        from core.runner.client import author

        rows = make(app.home, app.find_project(), author(AUTHOR))
        said = "queued " + ", ".join(f"{row.id} {safe(row.title)}" for row in rows)
        warning = launcher(app.home).warning()
        return Outcome(f"{said}; {warning}" if warning else said, job_ids=tuple(row.id for row in rows))

    in_background(app, act)


def can_bake_off(job: JobRow | None) -> bool:
    """A training run that is done, or will be: a bake-off waits for it."""
    return job is not None and job.kind == "train" and job.task is not None and job.state not in RETRYABLE


def bake_off(app: ConsoleApp, plan: BakeoffPlan) -> None:
    """Queue a bake-off of training runs against the base model that the first of them started from."""

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.submit import submit_bakeoff

        return [submit_bakeoff(home, project, plan.task, list(plan.candidates), incumbent=plan.base, author=author)]

    submit(app, make)


def can_merge(job: JobRow | None) -> bool:
    """A training run that is done, or will be."""
    return can_bake_off(job)


def merge(app: ConsoleApp, job: JobRow) -> None:
    """Queue the merging of a training run's adapter into its base."""

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.submit import submit_merge

        return [submit_merge(home, project, job.id, author=author)]

    submit(app, make)


def rescore(app: ConsoleApp, job_id: int) -> None:
    """Score the stored answers of a bake-off with the checks that its task has now; no model is run."""

    def act() -> Outcome:
        from core.bakeoff.load import rescore as score_anew
        from core.store.database import open_database

        with contextlib.closing(open_database(app.home)) as connection:
            task = score_anew(app.home, connection, job_id)
        app.slow.rescored(job_id, task)
        return Outcome(f"the answers of bake-off {job_id} are scored anew")

    in_background(app, act)


def start_demo(app: ConsoleApp) -> None:
    """Queue the demo: the shipped task, the shipped small model, and their bake-off."""

    def make(home: Home, _: Any, author: str) -> list[JobRow]:
        from core.config.project import shipped
        from core.submission.submit import submit_demo

        return submit_demo(home, shipped(), author=author)

    submit(app, make)
