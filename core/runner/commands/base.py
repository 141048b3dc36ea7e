"""What a queue command is: its rule, its act, and what the command line and the console need to offer it.

A command is carried out by the runner alone, in one transaction. Who asks uses the same object to see whether it applies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import BakehouseError
from core.home import Home
from core.reasons import Reason
from core.store.job_reasons import refusal
from core.store.jobs import JobRow, QueueState, State


class RefusedError(BakehouseError):
    """A command does not apply. `reason` says why, by its code; whoever shows it makes the words."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"{reason.code} {dict(reason.values)}", code=reason.code)
        self.reason = reason


@dataclass(frozen=True)
class Request:
    """What a command is carried out with, inside the runner's transaction."""

    home: Home
    connection: sqlite3.Connection
    author: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Argument:
    """An argument beside the job. With `choices` it is required and stands behind the job, else it is an option `--name`."""

    name: str
    help: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """A key of the console that asks for a command.

    `keys` are Textual's names, separated by commas; `shown` is how the key is written. `rank`: 0 is never shown in the last
    line, else the higher, the sooner the key gives way where there is no room.
    """

    keys: str
    shown: str
    label: str
    help: str
    rank: int = 2
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Confirmation:
    """The question before a command. `explain(job, vendor of the GPU)` says what will happen; job is None for the whole queue.

    Placeholders: `{job}` is the job's id, `{name}` its id and title. `on_command_line`: asked there as well, unless `--yes`.
    """

    question: str
    yes: str
    no: str
    explain: Callable[[Any, str | None], str]
    on_command_line: bool = False


def nothing_hinders(job: JobRow) -> Reason | None:
    return None


def never_needless(subject: Any) -> bool:
    return False


def as_named(arguments: Mapping[str, Any]) -> Callable[[Sequence[int]], Sequence[int]]:
    return lambda job_ids: job_ids


@dataclass(frozen=True)
class QueueCommand:
    """One thing that a person can ask of the queue: of a job (`on_job`) or of the whole queue (`on_queue`), one of the two.

    `refusal` is the rule: why the command does not apply to a job, None when it does. `job_is_needless` and
    `queue_is_needless` say that it would change nothing; it is carried out then, but not offered. `done(job, arguments)` is the
    line that tells that it was carried out (`job` as it was before, None for a command of the whole queue).
    """

    name: str
    help: str
    example: str
    done: Callable[[JobRow | None, Mapping[str, Any]], str]
    on_job: Callable[[Request, JobRow], None] | None = None
    on_queue: Callable[[Request], None] | None = None
    refusal: Callable[[JobRow], Reason | None] = nothing_hinders
    job_is_needless: Callable[[JobRow], bool] = never_needless
    queue_is_needless: Callable[[QueueState], bool] = never_needless
    arguments: tuple[Argument, ...] = ()
    order: Callable[[Mapping[str, Any]], Callable[[Sequence[int]], Sequence[int]]] = as_named
    """Given the arguments: in which order several jobs are taken, so that they end up as they were named."""
    from_the_end: bool = False
    """Asked of a chain's jobs from the last to the first."""
    keys: tuple[Key, ...] = ()
    confirmation: Confirmation | None = None

    def offered_for(self, job: JobRow | None) -> bool:
        """Whether the console offers it for the selected job."""
        return job is not None and self.refusal(job) is None and not self.job_is_needless(job)


def applies_to(name: str, *states: State) -> Callable[[JobRow], Reason | None]:
    """The rule of a command that depends on nothing but the job's state."""

    def rule(job: JobRow) -> Reason | None:
        if job.state in states:
            return None
        return refusal(
            "wrong_state", command=name, job=job.id, state=job.state, states=[str(state) for state in states]
        )

    return rule
