"""`bakehouse fleet drift`."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import find_project, job_json, job_line, json_option, opened, project_option
from core.cli.follow import exit_code, follow_to_the_end
from core.cli.output import print_json, say
from core.cli.submitted import warn_of_launcher
from core.errors import BakehouseError, InputError, NotFoundError
from core.format import listed, moment
from core.home import Home
from core.runner.client import author
from core.store.jobs import get_job
from core.wording.drift import DRIFTED, drift_words, due_words, outcome_words

if TYPE_CHECKING:
    from core.aliases.drift_due import DriftDue
    from core.submission.drift import AskedDrift

TOLD_EXIT_CODE = 3
"""Of `--wait`, as of a gate: a loss, or prompts that are not those of training."""


@click.command("drift", epilog="Example: bakehouse fleet drift judge --wait")
@click.argument("tasks", nargs=-1, metavar="[TASK|ALIAS]...")
@click.option("--stale", is_flag=True, help="Every task that is due: no check yet, or the server or the model changed.")
@click.option("--all", "every", is_flag=True, help="Every task of the fleet.")
@click.option("--full", is_flag=True, help="Ask all golden inputs, also where the few greedy answers are as before.")
@click.option(
    "--wait",
    is_flag=True,
    help="Follow the checks to their end: exit code 3 for a loss, or prompts that are not those of training.",
)
@click.option(
    "--by", "asker", type=click.Choice(["timer", "runner"]), hidden=True, help="Who asks, where no person does."
)
@project_option
@json_option
def drift(
    tasks: tuple[str, ...],
    stale: bool,
    every: bool,
    full: bool,
    wait: bool,
    asker: str | None,
    project: Path | None,
    as_json: bool,
) -> None:
    """Check that what serves still answers as it did: prompts, a few greedy answers, and on any difference all golden inputs.

    The first check of a version stores its greedy answers, and later ones are held to them. Where one differs, all golden
    inputs are asked and scored, and held to the scores of the bake-off that measured the version. A loss is told when a second
    run shows it, too. A check waits until the GPU is free of trainings. Without a task or an option, what is due is listed; a
    check that failed is not started again by itself.
    """
    from core.aliases.drift_due import drift_states
    from core.submission.drift import submit_drift

    if bool(tasks) + stale + every > 1:
        raise InputError(
            "tasks, --stale and --all are three ways of saying which tasks are checked",
            code="several_choices",
            remedy="give one of them",
        )
    home = Home.find()
    if asker is not None and home.runner_stopped.exists():
        # A submission starts the runner, which a person has stopped.
        say("Nothing is checked: the runner was stopped on request.", error=True)
        return
    with opened(home) as connection:
        states = drift_states(connection)
    if not (tasks or stale or every):
        if wait or full:
            raise InputError(
                "which tasks are to be checked?", code="no_task", remedy="name them, or give --stale or --all"
            )
        _show_states(states, as_json=as_json)
        return
    if stale:
        wanted = [one for one in states if (one.starts_by_itself if asker == "runner" else one.reasons)]
    else:
        wanted = states if every else _named(states, tasks, project)
    found = submit_drift(home, wanted, full=full, author=author(asker or "command"), by_person=asker is None)
    if any(one.is_new for one in found):
        warn_of_launcher(home)
    _show_asked(home, found, wait=wait, as_json=as_json)


def _named(states: Sequence[DriftDue], names: Sequence[str], named_project: Path | None) -> list[DriftDue]:
    """The tasks of these names, of the present project where several projects have one; of an alias all that it does. Raises
    `BakehouseError`."""
    present: str | None = None
    with contextlib.suppress(BakehouseError):
        present = find_project(named_project).id
    found = []
    for name in dict.fromkeys(names):
        matching = [one for one in states if one.task.task == name]
        if not matching and (of_alias := [one for one in states if one.alias.name == name]):
            found += of_alias
            continue
        of_project = [one for one in matching if one.task.project_id == present]
        if len(matching) > 1 and not of_project:
            raise InputError(
                f"{len(matching)} projects have the task `{name}`: {listed([one.task.project_id for one in matching])}",
                code="ambiguous",
                key=name,
                remedy="name the project with --project",
            )
        if not matching:
            raise NotFoundError(
                f"no alias with a known version, and in no move, answers for the task `{name}`",
                code="task_not_found",
                key=name,
                remedy="`bakehouse fleet list` shows which tasks there are",
            )
        found.append((of_project or matching)[0])
    return list({one.task: one for one in found}.values())


def _show_states(states: Sequence[DriftDue], *, as_json: bool) -> None:
    if as_json:
        print_json({"drift": [_state_json(one) for one in states]})
        return
    if not states:
        say("No task of the fleet has a version that could be checked.")
    for one in states:
        say(_state_line(one))
    if any(one.reasons for one in states):
        say("`bakehouse fleet drift --stale` checks what is due.")


def _state_line(one: DriftDue) -> str:
    place = f"{one.task.task}  {one.alias.name} version {one.version.number}"
    parts = []
    if one.reasons:
        parts.append("due: " + listed([due_words(reason.code) for reason in one.reasons]))
    if one.pending is not None:
        parts.append(f"job {one.pending.job.id} is in the queue")
    elif one.reasons and one.tried is not None:
        tried = one.tried.job
        parts.append(f"job {tried.id} ended without a result ({tried.state}) and is not started again by itself")
    if one.newest is not None and one.newest.outcome is not None:
        parts.append(f"{outcome_words(one.newest.outcome)} {moment(one.newest.job.ended_at)}, job {one.newest.job.id}")
    drifted = one.newest is not None and one.newest.outcome in DRIFTED
    return f"{'▲' if one.reasons or drifted else '✓'} {' · '.join([place, *parts])}"


def _state_json(one: DriftDue) -> dict[str, Any]:
    newest = one.newest
    return {
        "project": one.task.project_id,
        "task": one.task.task,
        "alias": one.alias.name,
        "server": one.alias.server,
        "version": one.version.number,
        "due": [reason.to_json() for reason in one.reasons],
        "pending": None if one.pending is None else one.pending.job.id,
        "tried": None if one.tried is None else one.tried.job.id,
        "newest": None if newest is None else {"job": newest.job.id, "time": newest.job.ended_at, **newest.summary},
    }


def _show_asked(home: Home, found: Sequence[AskedDrift], *, wait: bool, as_json: bool) -> None:
    refused = [one for one in found if one.error is not None]
    jobs = [one.job.id for one in found if one.job is not None]
    if len(found) == 1:
        for one in refused:
            assert one.error is not None
            raise one.error
    with opened(home) as connection:
        followed = follow_to_the_end(home, connection, jobs) if wait and jobs else None
        rows = [get_job(connection, job_id) for job_id in jobs]
        code = _exit_code(connection, found, interrupted=wait and bool(jobs) and followed is None, wait=wait)
    if as_json:
        of_job = {row.id: row for row in rows}
        print_json(
            {
                "checks": [
                    {
                        "task": one.due.task.task,
                        "alias": one.due.alias.name,
                        "new": one.is_new,
                        "job": None if one.job is None else job_json(of_job[one.job.id]),
                        "error": None if one.error is None else one.error.to_json(),
                    }
                    for one in found
                ]
            }
        )
    else:
        if not found:
            say("✓ Nothing is due.")
        for row in rows:
            summary = (row.result or {}).get("summary") if row.state == "done" else None
            say(f"{row.task}  {drift_words(summary)}" if wait and isinstance(summary, dict) else job_line(row))
        for one in refused:
            say(f"✗ {one.due.task.task}: {one.error}", error=True)
    if code:
        sys.exit(code)


def _exit_code(connection: sqlite3.Connection, found: Sequence[AskedDrift], *, interrupted: bool, wait: bool) -> int:
    if interrupted:
        return 130
    rows = [get_job(connection, one.job.id) for one in found if one.job is not None] if wait else []
    outcomes = {((row.result or {}).get("summary") or {}).get("outcome") for row in rows if row.state == "done"}
    if outcomes & DRIFTED:
        return TOLD_EXIT_CODE
    return next((one.error.exit_code for one in found if one.error is not None), 0) or exit_code(connection, rows)
