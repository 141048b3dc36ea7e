"""`bakehouse fleet adopt`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.cli.common import by, find_project, json_option, opened, project_option, told_if_slow
from core.cli.output import print_json, say
from core.home import Home
from core.reasons import Reason

if TYPE_CHECKING:
    from core.config.project import Project
    from core.fleet.adoptable import Adoptable, WhatServes
    from core.fleet.adopting import Adoption


@click.command(epilog="Example: bakehouse fleet adopt vault-judge --task judge")
@click.argument("names", metavar="[NAME]…", nargs=-1)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All that the fleet does not have, and aliases that somebody else changed.",
)
@click.option("--task", metavar="TASK", help="The task that the one NAME answers for.")
@click.option("--assign-proposed", is_flag=True, help="Give each of them the task that is proposed for it, if any.")
@project_option
@json_option
def adopt(
    names: tuple[str, ...],
    everything: bool,
    task: str | None,
    assign_proposed: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Take models that serve already into the fleet, with what can be known of them; without a NAME list what there is.

    NAME is a model of an Ollama of the settings (`vault-judge`, `SERVER:NAME`) or a served model (`served:NAME`). What serves
    under a name is not changed. Where somebody else changed an alias, what is there now becomes its next version. A task is
    only proposed, by the name: say it with --task, or later by `bakehouse fleet assign`.
    """
    from core.fleet.adopting import Adoption, adopt, chosen

    if everything and names:
        raise click.UsageError("Name models or say --all, not both.")
    if task is not None and len(names) != 1:
        raise click.UsageError("--task goes with one NAME.")
    if assign_proposed and (task is not None or not (names or everything)):
        raise click.UsageError("--assign-proposed goes with several NAMEs or --all, and without --task.")
    home, found_project = Home.find(), find_project(project)
    if task is not None:
        found_project.task(task)  # NotFoundError that lists them
    found = _look(home, found_project)
    if not names and not everything:
        _show_list(found, as_json)
        return
    wanted = chosen(found.found, names) if names else [one for one in found.found if not one.is_current]
    asked = [Adoption(one, task or (one.proposed_task if assign_proposed else None)) for one in _once_a_task(wanted)]
    with told_if_slow("asking the runner …"):
        done = adopt(home, found_project, asked, by=by())
    after = _look(home, found_project)
    _show_outcome(done, after, as_json)
    refused = [one for one in done if one.refused is not None]
    if refused:
        sys.exit(1)


def _look(home: Home, project: Project) -> WhatServes:
    from core.fleet.adoptable import what_serves

    with opened(home) as connection, told_if_slow("asking the servers …"):
        return what_serves(home, connection, project.settings, project.id, project.task_names())


def _once_a_task(wanted: Sequence[Adoptable]) -> list[Adoptable]:
    """The same without a proposal that another one has, too: which of them is meant is a person's to say."""
    from dataclasses import replace

    proposed = [one.proposed_task for one in wanted]
    return [replace(one, proposed_task=None) if proposed.count(one.proposed_task) > 1 else one for one in wanted]


def _show_list(found: WhatServes, as_json: bool) -> None:
    from core.cli.fleet_adopt_table import adoptable_lines, sign_lines
    from core.cli.results_boards import terminal_width

    if as_json:
        silent = {name: why.to_json() for name, why in found.silent.items()}
        print_json({"adoptable": [one.to_json() for one in found.found], "silent": silent})
        return
    if found.found:
        for line in adoptable_lines(found.found, terminal_width()):
            say(line)
        for line in sign_lines(found.found):
            say(line)
    _say_silent(found.silent)
    left = [one for one in found.found if not one.is_current]
    say()
    if not found.found:
        say("Nothing serves: no Ollama of the settings has a model, and this home serves none.")
    elif left:
        say(f"{len(left)} of {len(found.found)} can be taken in: `bakehouse fleet adopt --all`, or by name.")
    else:
        say("All of them are in the fleet as they are.")


def _show_outcome(done: Sequence[Adoption], after: WhatServes, as_json: bool) -> None:
    from core.cli.results_boards import terminal_width
    from core.cli.text_grid import wrap
    from core.format import listed
    from core.wording.jobs import reason_words

    now = {one.key: one for one in after.found}
    taken = [now.get(one.model.key, one.model) for one in done if one.refused is None and not one.is_needless]
    if as_json:
        print_json(
            {
                "adopted": [one.to_json() for one in taken],
                "already": [one.model.to_json() for one in done if one.is_needless],
                "refused": [
                    {"name": one.model.reference, "reason": one.refused.to_json()}
                    for one in done
                    if one.refused is not None
                ],
                "silent": {name: why.to_json() for name, why in after.silent.items()},
                "next": list(_next_commands(taken)),
            }
        )
        return
    for one in done:
        name = one.model.reference
        if one.refused is not None:
            say(f"✗ {name}  {reason_words(one.refused)}", error=True)
        elif one.is_needless:
            say(f"● {name} is in the fleet as it is")
        else:
            known = now.get(one.model.key, one.model)
            say(f"✓ {name}  {_known_words(known)}")
    unknown = [one.reference for one in taken if one.lineage.deploy_job is None]
    if unknown:
        for line in wrap(f"No job of this home made {listed(unknown)}: recipe and data are unknown.", terminal_width()):
            say(line)
    _say_silent(after.silent)
    if not done:
        say("Nothing to take in: all that serve are in the fleet as they are.")
    commands = list(_next_commands(taken))
    if commands:
        say()
        say("Next, as you see fit; a task is a guess by the name, and a bake-off says what a model is worth:")
        for command in commands:
            say(f"  {command}")


def _next_commands(taken: Sequence[Adoptable]) -> Iterator[str]:
    """Tasks that are proposed, then a bake-off of what does a task."""
    for one in _once_a_task(taken):
        if one.proposed_task is not None:
            yield f"bakehouse fleet assign {one.proposed_task} {one.reference}"
    by_task: dict[str, list[str]] = {}
    for one in taken:
        for task in one.tasks or ((one.proposed_task,) if one.proposed_task else ()):
            by_task.setdefault(task, []).append(one.reference)
    for task, references in by_task.items():
        yield f"bakehouse bakeoff {task} {' '.join(references)}"


def _known_words(one: Adoptable) -> str:
    """What is known of a model that was taken in."""
    from core.cli.fleet_adopt_table import facts_words

    tasks = f", does {', '.join(one.tasks)}" if one.tasks else ""
    return f"{facts_words(one)}{tasks}"


def _say_silent(silent: Mapping[str, Reason]) -> None:
    from core.wording.fleet_rows import silent_words

    for name, why in silent.items():
        say(f"▲ {name}: {silent_words(why)}", error=True)
