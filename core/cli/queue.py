"""`bakehouse queue`: what runs, what waits and why, and every act on it."""

from __future__ import annotations

import sys
from typing import Any

import click

from core.cli.common import by, job_line, json_option, opened
from core.cli.output import print_json, say
from core.home import Home
from core.runner.client import request
from core.store.commands import CommandKind


@click.group()
def queue() -> None:
    """What runs, what waits and why; cancel, retry, hold, release, move, kill, pause, resume."""


@queue.command("list", epilog="Example: bakehouse queue list --all --json")
@click.option("--all", "everything", is_flag=True, help="Every ended job, too.")
@json_option
def list_(everything: bool, as_json: bool) -> None:
    """The active jobs, the waiting ones in their order, and the last that ended."""
    from core.runner.status import runner_status
    from core.store.jobs import ACTIVE, QUEUED, list_jobs, queue_state

    home = Home.find()
    with opened(home) as connection:
        jobs = list_jobs(connection, limit=-1 if everything else 40)
        state = queue_state(connection)
    alive = runner_status(home).alive
    if as_json:
        paused = {"paused": state.paused, "reason": state.reason, "author": state.author}
        print_json({"queue": paused, "runner_alive": alive, "jobs": [job.to_json() for job in jobs]})
        return
    if state.paused:
        say(f"‖ paused by {state.author}" + (f": {state.reason}" if state.reason else ""))
    if not alive and any(job.state in ACTIVE for job in jobs):
        say(
            "▲ no runner lives: what became of the active jobs is seen, and the rest started, by `bakehouse runner start`"
        )
    elif not alive and any(job.state in QUEUED and not job.held for job in jobs):
        say("▲ no runner lives: nothing starts until `bakehouse runner start`")
    for job in jobs:
        say(job_line(job))
    if not jobs:
        say("no jobs yet: `bakehouse demo` or `bakehouse train` makes some")


def act(kind: CommandKind, job_ids: tuple[int, ...], as_json: bool, arguments: dict[str, Any] | None = None) -> None:
    """Ask for the same of several jobs and show what became of each."""
    from core.store.jobs import get_job

    home = Home.find()
    for job_id in job_ids:
        request(home, kind, job_id, arguments, by=by())
    with opened(home) as connection:
        jobs = [get_job(connection, job_id) for job_id in job_ids]
    if as_json:
        print_json({"jobs": [job.to_json() for job in jobs]})
    else:
        for job in jobs:
            say(job_line(job))


JOBS = click.argument("job_ids", metavar="JOB...", type=int, nargs=-1, required=True)


@queue.command(epilog="Example: bakehouse queue cancel 12")
@JOBS
@json_option
def cancel(job_ids: tuple[int, ...], as_json: bool) -> None:
    """End jobs: a running one stops at its next step, with a checkpoint."""
    act("cancel", job_ids, as_json)


@queue.command(epilog="Example: bakehouse queue kill 12 --yes")
@click.argument("job_id", metavar="JOB", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def kill(job_id: int, yes: bool, as_json: bool) -> None:
    """End by force (SIGKILL) a job that was cancelled and does not stop: the last means.

    On an AMD GPU a process that is killed inside the driver can leave memory that nothing frees but a restart, and can take
    the machine down.
    """
    from core.errors import InputError

    if not yes:
        if not sys.stdin.isatty():
            raise InputError("killing a job has to be confirmed", code="not_confirmed", remedy="say --yes")
        question = f"End job {job_id} with SIGKILL? On an AMD GPU this can cost its memory until a restart"
        if not click.confirm(question, default=False, err=True):
            return
    act("kill", (job_id,), as_json)


@queue.command(epilog="Example: bakehouse queue retry 12")
@JOBS
@json_option
def retry(job_ids: tuple[int, ...], as_json: bool) -> None:
    """Queue jobs again that failed, were cancelled, interrupted or lost; they go on from their last checkpoint."""
    act("retry", job_ids, as_json)


@queue.command(epilog='Example: bakehouse queue hold 12 --reason "data not ready"')
@JOBS
@click.option("--reason", help="Shown beside the job.")
@json_option
def hold(job_ids: tuple[int, ...], reason: str | None, as_json: bool) -> None:
    """Keep jobs from starting; a running one stops at its next step and waits."""
    act("hold", job_ids, as_json, {"reason": reason})


@queue.command(epilog="Example: bakehouse queue release 12")
@JOBS
@json_option
def release(job_ids: tuple[int, ...], as_json: bool) -> None:
    """Let held jobs go on."""
    act("release", job_ids, as_json)


@queue.command(epilog="Example: bakehouse queue move 12 first")
@click.argument("job_id", metavar="JOB", type=int)
@click.argument("to", type=click.Choice(["first", "last", "up", "down"]))
@json_option
def move(job_id: int, to: str, as_json: bool) -> None:
    """Change a waiting job's place."""
    act("move", (job_id,), as_json, {"to": to})


@queue.command(epilog='Example: bakehouse queue pause --reason "gaming tonight"')
@click.option("--reason", help="Shown beside the waiting jobs.")
@json_option
def pause(reason: str | None, as_json: bool) -> None:
    """Start nothing more; what runs goes on."""
    request(Home.find(), "pause", arguments={"reason": reason}, by=by())
    print_json({"queue": {"paused": True, "reason": reason}}) if as_json else say("‖ paused: what runs goes on")


@queue.command(epilog="Example: bakehouse queue resume")
@json_option
def resume(as_json: bool) -> None:
    """Start jobs again."""
    request(Home.find(), "resume", by=by())
    print_json({"queue": {"paused": False}}) if as_json else say("▶ resumed")
