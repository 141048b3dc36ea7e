"""`bakehouse challenge`."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from core.cli import submitted
from core.cli.common import by, find_project, json_option, opened, project_option, told_if_slow
from core.cli.follow import exit_code, follow_to_the_end
from core.cli.output import print_json, say
from core.cli.results_boards import terminal_width
from core.cli.text_grid import grid, wrap
from core.config.project import Project
from core.format import listed, moment
from core.home import Home
from core.jobfile.quantize import Quantization
from core.store.challenges import Challenge, chain_of_task, list_challenges, newest_challenge

if TYPE_CHECKING:
    from core.fleet.challenge import ChallengedTask
    from core.submission.challenge import ChallengePlan, WantedChallenge


def recipes(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`R` under an empty name, `TASK=R` under that of its task."""
    found: dict[str, str] = {}
    for value in values:
        task, equals, recipe = value.rpartition("=")
        if (equals and not task) or not recipe or task in found:
            raise click.BadParameter("give one recipe, and one TASK=RECIPE a task")
        found[task] = recipe
    return found


@click.command(epilog="Example: bakehouse challenge Qwen3-4B --dry-run")
@click.argument("model", required=False)
@click.option(
    "--task", "tasks", metavar="TASK", multiple=True, help="Only this task; give it again for several.  [default: all]"
)
@click.option(
    "--recipe",
    "named",
    metavar="[TASK=]RECIPE",
    multiple=True,
    callback=recipes,
    help="How to train the tasks of which no training is on record; with TASK= that task in any case.",
)
@click.option(
    "--quantize",
    type=click.Choice(get_args(Quantization), case_sensitive=False),
    help="What the GGUF files become.  [default: as what serves]",
)
@click.option("--again", is_flag=True, help="Queue the tasks whose chains have ended once more.")
@click.option("--dry-run", is_flag=True, help="Show what would be queued, and queue nothing.")
@click.option("--wait", is_flag=True, help="Follow all chains to their ends, then show the table.")
@project_option
@json_option
def challenge(
    model: str | None,
    tasks: tuple[str, ...],
    named: dict[str, str],
    quantize: Quantization | None,
    again: bool,
    dry_run: bool,
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Train a new base model for every task of the fleet, and hold it against what serves.

    Each task is a chain of its own: training, merge, conversion, quantisation, deployment beside what serves, bake-off; the
    task with the most to gain goes first, and a link that fails stops its own task alone. Each is trained and made as what
    serves was, where that is on record. Asked again, it shows how far all is and, task by task, what a switch would gain in
    score, size and speed, what the gate says, and the command that promotes. Without MODEL it lists the challenges.
    """
    from core.submission.challenge import WantedChallenge, plan_challenge, submit_challenge

    home, found = Home.find(), find_project(project)
    if model is None:
        if tasks or named or quantize or again or dry_run or wait:
            raise click.UsageError("Missing argument 'MODEL'.")
        _list(home, found, as_json=as_json)
        return
    by_task = {task: recipe for task, recipe in named.items() if task}
    wanted = WantedChallenge(model, tasks, named.get(""), by_task, quantize, again)
    plan = None
    if dry_run or _is_to_queue(home, found, wanted):
        with told_if_slow("looking at each task: its data, its recipe, the memory that it takes …"):
            plan = plan_challenge(home, found, wanted)
        if not dry_run and plan.tasks:
            _, plan = submit_challenge(home, found, plan, author=by())
    with opened(home) as connection:
        known = newest_challenge(connection, model, found.id)
        code = 0
        if wait and known is not None and not dry_run:
            code = _follow(home, connection, known)
        shown = None if known is None or dry_run else (known, _standing(home, connection, found, known))
        added = [] if known is None or plan is not None else _added(connection, found, known)
    if plan is not None and not dry_run:
        submitted.warn_of_launcher(home)
    if as_json:
        print_json(
            {
                "plan": None if plan is None else _plan_json(plan),
                "challenge": None if shown is None else _challenge_json(*shown),
                "added_to_fleet": added,
            }
        )
        sys.exit(code)
    if plan is not None:
        for line in _plan_lines(plan, queued=not dry_run):
            say(line)
    if shown is not None and (plan is None or wait):
        for line in _lines(*shown, width=terminal_width()):
            say(line)
    if added:
        command = " ".join([model, *(f"--task {name}" for name in added)])
        say(f"not in this challenge: {listed(added)}; `bakehouse challenge {command}` queues what is missing")
    sys.exit(code)


def _is_to_queue(home: Home, project: Project, wanted: WantedChallenge) -> bool:
    """Whether something is asked for that is not there: a first challenge, a named task that it has not, or all anew. Raises
    `InputError` where how it is to be made is said of what is there."""
    from core.submission.challenge import new_tasks, require_options_used

    with opened(home) as connection:
        known = newest_challenge(connection, wanted.model, project.id)
        if known is None:
            return True
        chosen = new_tasks(connection, project, wanted) if wanted.again or wanted.tasks else []
        require_options_used(wanted, [one.task for one in chosen])
        return bool(chosen)


def _added(connection: sqlite3.Connection, project: Project, known: Challenge) -> list[str]:
    """The tasks that came to the fleet after a challenge was queued, or were left out of it."""
    from core.store.fleet import fleet_tasks

    return [one.task for one in fleet_tasks(connection, project.id) if known.task(one.task) is None]


def _standing(home: Home, connection: sqlite3.Connection, project: Project, known: Challenge) -> list[ChallengedTask]:
    from core.fleet.challenge import challenged_tasks
    from core.fleet.promotion import judge_of

    with told_if_slow("asking the gate about each task …"):
        return challenged_tasks(home, connection, known, judge_of(home, connection, project))


def _follow(home: Home, connection: sqlite3.Connection, known: Challenge) -> int:
    chains = [chain_of_task(connection, one) for one in known.tasks]
    jobs = follow_to_the_end(home, connection, [chain.links[-1].job.id for chain in chains if chain is not None])
    return 130 if jobs is None else exit_code(connection, jobs)


def _list(home: Home, project: Project, *, as_json: bool) -> None:
    from core.fleet.challenge import challenged_tasks
    from core.wording.challenge import headline

    with opened(home) as connection:
        found = [(one, challenged_tasks(home, connection, one)) for one in list_challenges(connection, project.id)]
    if as_json:
        print_json({"challenges": [_challenge_json(*one) for one in found]})
        return
    if not found:
        say("no challenge yet: `bakehouse challenge MODEL` holds a new base model against all that serves")
    for one, tasks in found:
        say(f"{headline(one.model, tasks)} · asked for {moment(one.created_at)} by {one.author}")


def _plan_lines(plan: ChallengePlan, *, queued: bool) -> Iterator[str]:
    from core.wording.challenge import left_out_words, plan_headline, planned_words

    yield plan_headline(plan, queued=queued)
    for number, one in enumerate(plan.tasks, 1):
        yield f"{number:>3}. {planned_words(one)}"
        yield from (f"     {remark}" for remark in one.remarks)
    yield from (f"  ✗ {left_out_words(left)}" for left in plan.left_out)


def _lines(known: Challenge, tasks: list[ChallengedTask], *, width: int) -> Iterator[str]:
    from core.wording.challenge import HEAD, headline, promote_command, table_row, way_words, why_lines

    yield f"{headline(known.model, tasks)} · asked for {moment(known.created_at)} by {known.author}"
    measured = [one for one in tasks if one.is_measured]
    if measured:
        yield ""
        yield from grid([HEAD, *(table_row(one) for one in measured)], width, left=2)
    on_its_way = [one for one in tasks if not one.is_measured]
    if on_its_way:
        yield ""
        yield from (f"{one.task}: {way_words(one)}" for one in on_its_way)
    why = [(one.task, line) for one in measured for line in why_lines(one)]
    if why:
        yield ""
        for task, line in why:
            yield from wrap(f"{task}: {line}", width)
    switches = [command for one in measured if one.advised and (command := promote_command(one)) is not None]
    if switches:
        yield ""
        yield "To switch:"
        yield from (f"  {command}" for command in switches)


def _challenge_json(known: Challenge, tasks: list[ChallengedTask]) -> dict[str, Any]:
    from core.wording.challenge import promote_command

    return {
        "id": known.id,
        "model": known.model,
        "project_id": known.project_id,
        "author": known.author,
        "created_at": known.created_at,
        "tasks": [{**one.to_json(), "command": promote_command(one)} for one in tasks],
    }


def _plan_json(plan: ChallengePlan) -> dict[str, Any]:
    return {
        "model": plan.wanted.model,
        "tasks": [
            {
                "task": one.task,
                "alias": one.alias.name,
                "server": one.alias.server,
                "incumbent": one.incumbent,
                "score": one.score,
                "could_gain": one.gain,
                "recipe": one.recipe,
                "recipe_source": one.recipe_source,
                "quantization": one.quantization,
                "remarks": list(one.remarks),
            }
            for one in plan.tasks
        ],
        "left_out": [{"task": one.task, "error": one.error.to_json()} for one in plan.left_out],
    }
