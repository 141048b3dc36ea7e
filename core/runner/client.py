"""Asking the runner for something: the console and the commands write a row and see that a runner is there to read it."""

from __future__ import annotations

import socket
import sqlite3
import time
from typing import Any

from core.errors import BakehouseError
from core.home import Home
from core.process.start_runner import start_runner
from core.process.user import user_name
from core.runner.commands import RefusedError
from core.store.commands import get_command, insert_command
from core.store.database import open_database, runner_lives
from core.store.jobs import get_job

ANSWER_SECONDS = 10.0
RESTART_SECONDS = 1.0
POLL_SECONDS = 0.05


def author(where: str) -> str:
    """Who asks, as it stands in the history: `anna@gpubox, console`."""
    return f"{user_name()}@{socket.gethostname()}, {where}"


def ensure_runner(home: Home) -> None:
    """Start a runner where none lives; on a person's act, so a former `runner stop` is lifted."""
    home.runner_stopped.unlink(missing_ok=True)
    if not runner_lives(home):
        start_runner(home, by_person=True)


def request(
    home: Home, kind: str, job_id: int | None = None, arguments: dict[str, Any] | None = None, *, by: str
) -> None:
    """Ask for a command and wait until the runner has carried it out.

    Raises `NotFoundError` for an unknown job, `RefusedError` with the runner's reason, and `BakehouseError` when no
    runner answers.
    """
    connection = open_database(home)
    try:
        if job_id is not None:
            get_job(connection, job_id)
        command_id = insert_command(connection, kind, job_id, arguments or {}, by)
        ensure_runner(home)
        wait_for(home, connection, command_id)
    finally:
        connection.close()


def stop_runner(home: Home) -> None:
    """End the runner, and see that none starts until a person asks for something. Returns when it is gone.

    A file asks, not a row: an older runner has to be stopped before the database is migrated. Raises `BakehouseError` when it
    does not go.
    """
    home.create()
    home.runner_stopped.touch()
    deadline = time.monotonic() + ANSWER_SECONDS
    while runner_lives(home):
        if time.monotonic() > deadline:
            raise BakehouseError(
                f"The runner has not stopped within {ANSWER_SECONDS:.0f} s.",
                code="runner_lives",
                file=home.runner_log,
                remedy="`bakehouse runner status` shows its pid",
            )
        time.sleep(POLL_SECONDS)


def wait_for(home: Home, connection: sqlite3.Connection, command_id: int) -> None:
    """Wait until a command is carried out. Raises `RefusedError`, and `BakehouseError` when nobody took it."""
    deadline = time.monotonic() + ANSWER_SECONDS
    look_again = time.monotonic() + RESTART_SECONDS
    while time.monotonic() < deadline:
        if time.monotonic() > look_again:
            # The runner that lived when the command was written may have been about to leave.
            look_again += RESTART_SECONDS
            ensure_runner(home)
        command = get_command(connection, command_id)
        if command.refusal is not None:
            raise RefusedError(command.refusal)
        if command.done_at is not None:
            return
        time.sleep(POLL_SECONDS)
    raise no_answer()


def no_answer() -> BakehouseError:
    return BakehouseError(
        f"No runner has taken the command within {ANSWER_SECONDS:.0f} s. The command stays queued.",
        code="no_runner",
        remedy="see `bakehouse runner status`, and runner.log in the home",
    )
