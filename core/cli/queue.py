"""`bakehouse queue`: what runs, what waits and why, and every command of the queue."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from core.cli.chains import chain_json, chain_lines
from core.cli.common import by, job_json, job_line, json_option, opened
from core.cli.output import print_json, say
from core.cli.several import each_of, show_outcomes
from core.errors import InputError
from core.home import Home
from core.runner.client import request
from core.runner.commands import COMMANDS, QueueCommand, RefusedError, jobs_of_chain
from core.store.jobs import JobRow, get_job
from core.text import printable
from core.wording.jobs import refused


@click.group(help=f"What runs, what waits and why; {', '.join(COMMANDS)}.")
def queue() -> None:
    pass


@queue.command("list", epilog="Example: bakehouse queue list --all --json")
@click.option("--all", "everything", is_flag=True, help="Include every ended job.")
@json_option
def list_(everything: bool, as_json: bool) -> None:
    """The active jobs, the waiting ones in their order, and the last that ended."""
    from core.runner.status import runner_status
    from core.store.chains import list_chains
    from core.store.jobs import ACTIVE, QUEUED, list_jobs, queue_state
    from core.store.results import run_scores
    from core.wording.runs import differences, label_width

    home = Home.find()
    with opened(home) as connection:
        jobs = list_jobs(connection, limit=-1 if everything else 40)
        state = queue_state(connection)
        scores = run_scores(connection)
        listed = {job.id for job in jobs}
        chains = [
            chain
            for chain in list_chains(connection, limit=-1 if everything else 40)
            if any(link.job.id in listed for link in chain.links)
        ]
    apart = differences(jobs)
    alive = runner_status(home).alive
    if as_json:

        def run_json(job: JobRow) -> dict[str, Any]:
            differs = list(apart[job.id].words) if job.id in apart else []
            return {**job_json(job), "differs": differs, "score": scores.get(job.id)}

        paused = {"paused": state.paused, "reason": state.reason, "author": state.author}
        told = {"jobs": [run_json(job) for job in jobs], "chains": [chain_json(chain) for chain in chains]}
        print_json({"queue": paused, "runner_alive": alive, **told})
        return
    if state.paused:
        say(f"‖ paused by {state.author}" + (f": {state.reason}" if state.reason else ""))
    if not alive and any(job.state in ACTIVE for job in jobs):
        say("▲ The runner is not running: the active jobs are not followed. Start it with `bakehouse runner start`.")
    elif not alive and any(job.state in QUEUED and not job.held for job in jobs):
        say("▲ The runner is not running: no job starts. Start it with `bakehouse runner start`.")
    # Where nobody watches, nothing is cut.
    room = shutil.get_terminal_size((120, 40)).columns if sys.stdout.isatty() else 10_000
    width = max(40, min(room * 45 // 100, max((label_width(job, apart.get(job.id)) for job in jobs), default=0)))
    in_chains = {link.job.id: chain for chain in reversed(chains) for link in chain.own or chain.links}
    shown = set[int]()
    for job in jobs:
        chain = in_chains.get(job.id)
        if chain is None:
            say(job_line(job, apart.get(job.id), scores.get(job.id), width))
        elif chain.id not in shown:
            shown.add(chain.id)
            for line in chain_lines(chain, width, apart, scores):
                say(line)
    if not jobs:
        say("No jobs yet: `bakehouse demo` or `bakehouse train` queues some.")


class JobOrChain(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A job's number, or `chain:3` for the jobs that were queued with a chain."""

    name = "job"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if isinstance(value, str) and re.fullmatch(rf"{CHAIN}\d+", value):
            return value
        number: int = click.INT.convert(value, param, ctx)
        return number


CHAIN = "chain:"


def jobs_of(command: QueueCommand, named: Sequence[int | str]) -> list[int]:
    """The jobs that are meant, each once; of a chain those that the command can be asked of. Raises `BakehouseError`."""
    found: list[int] = []
    for one in named:
        if isinstance(one, int):
            found.append(one)
            continue
        from core.store.chains import get_chain

        with opened(Home.find()) as connection:
            chain = get_chain(connection, int(one.removeprefix(CHAIN)))
        try:
            found += [job.id for job in jobs_of_chain(command, chain)]
        except RefusedError as error:
            raise refused(error) from None
    return list(dict.fromkeys(found))


def ask(home: Home, command: QueueCommand, job_id: int | None, arguments: dict[str, Any]) -> None:
    """Have a command carried out. Raises `BakehouseError` with the words when it is refused."""
    try:
        request(home, command.name, job_id, arguments, by=by())
    except RefusedError as error:
        raise refused(error) from None


def ask_of_jobs(command: QueueCommand, job_ids: Sequence[int], arguments: dict[str, Any], as_json: bool) -> None:
    """Ask for the same of several jobs, of each whatever became of the others, and show what became of each.

    Leaves with an exit code when one was refused.
    """
    home = Home.find()
    outcomes = each_of(job_ids, lambda job_id: ask(home, command, job_id, arguments), command.order(arguments))
    with opened(home) as connection:
        show_outcomes(outcomes, lambda job_id: get_job(connection, job_id), as_json)


def ask_of_queue(command: QueueCommand, arguments: dict[str, Any], as_json: bool) -> None:
    from core.store.jobs import queue_state

    home = Home.find()
    ask(home, command, None, arguments)
    if as_json:
        with opened(home) as connection:
            state = queue_state(connection)
        print_json({"queue": {"paused": state.paused, "reason": state.reason, "author": state.author}})
    else:
        say(command.done(None, arguments))


def confirmed(command: QueueCommand, job_ids: Sequence[int]) -> bool:
    """The person's answer at a terminal. Raises `InputError` where nobody can be asked."""
    assert command.confirmation is not None
    if not sys.stdin.isatty():
        raise InputError(f"`queue {command.name}` has to be confirmed.", code="not_confirmed", remedy="add --yes")
    from core.telemetry.newest import jobs_vendor

    with opened(Home.find()) as connection:
        jobs = [get_job(connection, job_id) for job_id in job_ids]
    vendor = jobs_vendor(Home.find())
    for job in jobs:
        say(command.confirmation.explain(job, vendor), error=True)
    name = ", ".join(f"{job.id}, {job.title}" for job in jobs)
    question = command.confirmation.question.format(job=name, name=name)
    return click.confirm(printable(question.removesuffix("?")), default=False, prompt_suffix="? ", err=True)


def click_command(command: QueueCommand) -> click.Command:
    """`bakehouse queue NAME`, with the job, the arguments and the options that the command declares."""
    asks = command.confirmation is not None and command.confirmation.on_command_line

    def carry_out(as_json: bool, jobs: tuple[int | str, ...] = (), yes: bool = False, **given: Any) -> None:
        if command.on_job is None:
            ask_of_queue(command, given, as_json)
            return
        job_ids = jobs_of(command, jobs)
        if not asks or yes or confirmed(command, job_ids):
            ask_of_jobs(command, job_ids, given, as_json)

    params: list[click.Parameter] = []
    if command.on_job is not None:
        params.append(click.Argument(["jobs"], metavar="JOB|chain:ID...", type=JobOrChain(), nargs=-1, required=True))
    for argument in command.arguments:
        if argument.choices:
            params.append(click.Argument([argument.name], type=click.Choice(argument.choices)))
        else:
            params.append(click.Option([f"--{argument.name}"], help=argument.help))
    if asks:
        params.append(click.Option(["--yes"], is_flag=True, help="Do not ask."))
    params.append(click.Option(["--json", "as_json"], is_flag=True, help="One JSON document on stdout, nothing else."))
    epilog = f"Example: {command.example}"
    return click.Command(command.name, params=params, callback=carry_out, help=command.help, epilog=epilog)


for _command in COMMANDS.values():
    queue.add_command(click_command(_command))
