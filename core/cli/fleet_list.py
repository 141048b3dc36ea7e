"""`bakehouse fleet list`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from core.cli.common import find_project, json_option, opened, project_option, told_if_slow
from core.cli.output import print_json, say
from core.home import Home


@click.command("list", epilog="Example: bakehouse fleet list --json")
@project_option
@json_option
def list_command(project: Path | None, as_json: bool) -> None:
    """Which model serves which task, since when, and what did before: score and size, old → new.

    Its servers are asked what they have now, for five seconds at most. With --project only the tasks of that project.
    """
    from core.aliases.observing import observe
    from core.cli.fleet_table import fleet_lines
    from core.cli.results_boards import terminal_width
    from core.config.settings import load_settings
    from core.errors import BakehouseError
    from core.fleet.rows import fleet_rows
    from core.jobfile.bakeoff import ServerUnderTest
    from core.jobfile.servers import known_servers
    from core.store.fleet import aliases

    home = Home.find()
    servers: dict[str, ServerUnderTest] = {}
    with contextlib.suppress(BakehouseError):  # an alias is asked at its own address then, without a key
        servers = known_servers(find_project(project).settings if project is not None else load_settings())
    project_id = None if project is None else find_project(project).id
    with opened(home) as connection, told_if_slow("asking the servers of the fleet …"):
        rows = fleet_rows(connection, project_id, observe(home, aliases(connection), servers))
    tasks, free = [row for row in rows if row.task is not None], [row for row in rows if row.task is None]
    if as_json:
        print_json({"fleet": [row.to_json() for row in tasks], "unassigned": [row.to_json() for row in free]})
        return
    if not rows:
        say("The fleet is empty. `bakehouse fleet adopt` shows what serves already and can be taken in.")
        return
    for line in fleet_lines(rows, terminal_width()):
        say(line)
    if free:
        say()
        say(f"No task is assigned to {', '.join(row.alias.name for row in free)}: `bakehouse fleet assign TASK ALIAS`")
