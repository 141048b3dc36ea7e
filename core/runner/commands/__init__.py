"""The commands of the queue: one object each, used by the runner, the command line and the console."""

from __future__ import annotations

import sqlite3

from core.home import Home
from core.runner.commands.base import QueueCommand, RefusedError, Request
from core.runner.commands.of_chains import jobs_of_chain
from core.runner.commands.of_fleet import FLEET_COMMANDS
from core.runner.commands.of_jobs import JOB_COMMANDS, stop
from core.runner.commands.of_queue import QUEUE_COMMANDS, UNNAMED_COMMANDS
from core.store.commands import CommandRow, finish_command
from core.store.database import transaction
from core.store.job_reasons import refusal
from core.store.jobs import get_job

__all__ = ["COMMANDS", "QueueCommand", "RefusedError", "Request", "carry_out", "jobs_of_chain", "stop"]

COMMANDS: dict[str, QueueCommand] = {command.name: command for command in (*JOB_COMMANDS, *QUEUE_COMMANDS)}
UNNAMED = {**FLEET_COMMANDS, **UNNAMED_COMMANDS}
"""What programs ask for, on nobody's command line."""

UNREADABLE = (KeyError, TypeError, ValueError, sqlite3.IntegrityError)
"""What arguments of another version raise. A runner that died of them would die again at each start."""


def carry_out(home: Home, connection: sqlite3.Connection, asked: CommandRow) -> None:
    """Do what a stored request asks and note it as done, both or neither: a runner that is killed here does nothing twice.

    Raises `RefusedError` when it does not apply, or its arguments are not as this version has them; nothing has changed then.
    """
    try:
        with transaction(connection):
            command = COMMANDS.get(asked.kind)
            request = Request(home, connection, asked.author, asked.arguments)
            if (unnamed := UNNAMED.get(asked.kind)) is not None:
                unnamed(request)
            elif command is not None and command.on_queue is not None:
                command.on_queue(request)
            elif command is not None and command.on_job is not None and asked.job_id is not None:
                job = get_job(connection, asked.job_id)
                if (reason := command.refusal(job)) is not None:
                    raise RefusedError(reason)
                command.on_job(request, job)
            else:
                raise RefusedError(refusal("unknown_command", command=asked.kind))
            finish_command(connection, asked.id)
    except UNREADABLE as error:
        raise RefusedError(refusal("command_failed", message=repr(error))) from error
