"""Carrying out what people asked for: one function a command, each in one transaction with its reason and author."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable

from core.attempt.launcher import launcher
from core.attempt.stopping import ask_to_stop
from core.errors import BakehouseError
from core.home import Home
from core.store.commands import CommandRow, finish_command
from core.store.database import transaction
from core.store.jobs import ACTIVE, QUEUED, RETRYABLE, JobRow, change_state, get_job, set_held, set_reason


class RefusedError(BakehouseError):
    """The command does not fit the job's state."""


def refuse(job: JobRow, what: str, remedy: str | None = None) -> RefusedError:
    return RefusedError(f"job {job.id} is {job.state}: it cannot be {what}", code="wrong_state", remedy=remedy)


def stop(home: Home, connection: sqlite3.Connection, job: JobRow, why: str, reason: str, author: str) -> None:
    """Ask an active job to stop; asking again with another intent replaces the former."""
    asked_at = job.stop_asked_at or time.time()
    change_state(connection, job.id, "stopping", reason, author, stop_reason=why, stop_asked_at=asked_at)
    ask_to_stop(home.run_dir(job.id).attempt(job.attempt), why, reason)


def cancel(home: Home, connection: sqlite3.Connection, job: JobRow, command: CommandRow) -> None:
    if job.state in QUEUED:
        change_state(connection, job.id, "cancelled", "cancelled before it began", command.author, held=0)
    elif job.state in ACTIVE:
        stop(home, connection, job, "cancel", "stopping at the next step", command.author)
    else:
        raise refuse(job, "cancelled")


def retry(home: Home, connection: sqlite3.Connection, job: JobRow, command: CommandRow) -> None:
    if job.state not in RETRYABLE:
        raise refuse(job, "retried", "only a job that failed, was cancelled, interrupted or lost can be")
    change_state(connection, job.id, "waiting", "retried", command.author, held=0)


def kill(home: Home, connection: sqlite3.Connection, job: JobRow, command: CommandRow) -> None:
    """End by force a job that was asked to stop and does not: on a GPU the runner leaves that to a person."""
    if job.state != "stopping":
        raise refuse(job, "killed", "cancel it first: a job that is asked ends in order, with a checkpoint")
    if not launcher(home).signal(home.run_dir(job.id).attempt(job.attempt), signal.SIGKILL, command.author):
        raise RefusedError(f"no process of job {job.id} lives any more", code="wrong_state")
    set_reason(connection, job.id, f"killed by {command.author}")


def hold(home: Home, connection: sqlite3.Connection, job: JobRow, command: CommandRow) -> None:
    """Keep a queued job from starting; a running one stops at a checkpoint and waits."""
    note = command.arguments.get("reason")
    reason = f"held by you: {note}" if note else "held by you"
    if job.state in QUEUED:
        if job.state == "ready":
            change_state(connection, job.id, "waiting", reason, command.author)
        set_held(connection, job.id, True, reason, command.author)
    elif job.state in ACTIVE and job.stop_reason != "cancel":
        stop(home, connection, job, "pause", "stopping at the next step, to be held", command.author)
    else:
        raise refuse(job, "held")


def release(home: Home, connection: sqlite3.Connection, job: JobRow, command: CommandRow) -> None:
    if not job.held:
        raise RefusedError(f"job {job.id} is not held", code="wrong_state")
    set_held(connection, job.id, False, "released", command.author)


def move(home: Home, connection: sqlite3.Connection, job: JobRow, command: CommandRow) -> None:
    """Change a queued job's place: `to` is `first`, `last`, `up` or `down`."""
    if job.state not in QUEUED:
        raise refuse(job, "moved", "only waiting jobs have a place in the queue")
    rows = connection.execute(
        "SELECT id, position FROM jobs WHERE state IN ('waiting', 'ready') ORDER BY position, id"
    ).fetchall()
    order = [row["id"] for row in rows]
    index = order.index(job.id)
    order.pop(index)
    places = {"first": 0, "last": len(order), "up": max(0, index - 1), "down": min(len(order), index + 1)}
    to = command.arguments.get("to")
    if to not in places:
        raise RefusedError(f"a job is moved to {', '.join(places)}, not to {to}", code="wrong_place")
    order.insert(places[to], job.id)
    # The same positions are dealt out anew, so nothing outside the queued jobs moves.
    for row, job_id in zip(rows, order, strict=True):
        connection.execute("UPDATE jobs SET position = ? WHERE id = ?", [row["position"], job_id])


ACTS: dict[str, Callable[[Home, sqlite3.Connection, JobRow, CommandRow], None]] = {
    "cancel": cancel,
    "retry": retry,
    "hold": hold,
    "release": release,
    "move": move,
    "kill": kill,
}


def carry_out(home: Home, connection: sqlite3.Connection, command: CommandRow) -> None:
    """Do what a command asks and note it as done, both or neither: a runner that is killed here does nothing twice.

    Raises `BakehouseError` when it does not fit; nothing has changed then.
    """
    with transaction(connection):
        if command.kind == "pause":
            connection.execute(
                "UPDATE queue SET paused = 1, reason = ?, author = ?",
                [command.arguments.get("reason") or "", command.author],
            )
        elif command.kind == "resume":
            connection.execute("UPDATE queue SET paused = 0, reason = '', author = ?", [command.author])
        elif command.kind in ACTS and command.job_id is not None:
            ACTS[command.kind](home, connection, get_job(connection, command.job_id), command)
        else:
            raise RefusedError(f"this runner does not know the command {command.kind}", code="unknown_command")
        finish_command(connection, command.id)
