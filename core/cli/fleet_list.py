"""`bakehouse fleet list`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.cli.common import asked_project, find_project, json_option, opened, project_option, told_if_slow
from core.cli.output import print_json, say
from core.errors import BakehouseError
from core.format import listed
from core.home import Home

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow


@click.command("list", epilog="Example: bakehouse fleet list --json")
@project_option
@json_option
def list_command(project: Path | None, as_json: bool) -> None:
    """Which model serves which task, since when, and what did before: score and size, old → new.

    The servers are asked what they have now, for five seconds at most. Scores are of 5; memory is what a model holds of the GPU
    (● it is loaded, ○ it is not, ? nobody knows). With --project only the tasks of that project.
    """
    from core.aliases.observing import all_servers, observe
    from core.cli.fleet_table import fleet_lines, is_unknown
    from core.cli.results_boards import terminal_width
    from core.cli.text_grid import wrap
    from core.fleet.rows import fleet_rows
    from core.store.fleet import aliases, fleet_tasks

    home, only = Home.find(), None
    if asked_project(project) is not None:
        only = find_project(project).id
    with opened(home) as connection, told_if_slow("asking the servers of the fleet …"):
        servers = all_servers(dict.fromkeys(one.project_root for one in fleet_tasks(connection)))
        rows = fleet_rows(home, connection, only, observe(home, aliases(connection), servers))
    tasks, free = [row for row in rows if row.task is not None], [row for row in rows if row.task is None]
    unserved = _without_alias(project, tasks)
    if as_json:
        documents = {name: [row.to_json() for row in part] for name, part in (("fleet", tasks), ("unassigned", free))}
        print_json({**documents, "without_alias": unserved})
        return
    if not rows:
        say("The fleet is empty. `bakehouse fleet adopt` shows what serves already and can be taken in.")
        return
    for line in fleet_lines(rows, terminal_width()):
        say(line)
    below = []
    if unknown := list(dict.fromkeys(row.alias.name for row in tasks if is_unknown(row))):
        below.append(
            f"Nothing is on record of {listed(unknown)}: no job of this home made what serves, and no bake-off has measured it."
        )
    if free:
        below.append(
            f"No task is assigned to {listed([row.alias.name for row in free])}: `bakehouse fleet assign TASK ALIAS`"
        )
    if unserved:
        below.append(f"No alias answers for {listed(unserved)}")
    for said in ["", *below] if below else []:
        for line in wrap(said, terminal_width()):
            say(line)


def _without_alias(project: Path | None, rows: Sequence[FleetRow]) -> list[str]:
    """The tasks of the project in which the command is called that no alias answers for; none where there is no project."""
    with contextlib.suppress(BakehouseError):
        found = find_project(project)
        served = {row.task for row in rows if row.project_id == found.id}
        return [] if found.is_shipped else [name for name in found.own_task_names() if name not in served]
    return []
