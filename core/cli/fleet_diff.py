"""`bakehouse fleet diff`."""

from __future__ import annotations

import click

from core.cli.common import json_option, opened, told_if_slow
from core.cli.output import print_json, say
from core.home import Home


@click.command(epilog="Example: bakehouse fleet diff judge 1 2")
@click.argument("name", metavar="TASK|ALIAS")
@click.argument("first", type=click.IntRange(1), required=False)
@click.argument("second", type=click.IntRange(1), required=False)
@json_option
def diff(name: str, first: int | None, second: int | None, as_json: bool) -> None:
    """What two versions of an alias differ in: data, recipe, scores, chat template, parameters, sizes, server.

    FIRST and SECOND are numbers of versions; without them it is what the alias was before, and what it is. Templates and
    parameters are read where the versions are kept.
    """
    from core.aliases.observing import all_servers
    from core.cli.fleet_diff_text import diff_lines
    from core.cli.results_boards import terminal_width
    from core.fleet.names import the_alias
    from core.fleet.version_diff import the_two, version_diff
    from core.fleet.version_texts import version_texts
    from core.store.fleet import tasks_of

    home = Home.find()
    with opened(home) as connection, told_if_slow("asking the server of the alias …"):
        alias = the_alias(connection, name)
        pair = the_two(connection, alias, first, second)
        servers = all_servers(one.project_root for one in tasks_of(connection, alias.id))
        found = version_diff(home, connection, alias, pair, version_texts(home, alias, pair, servers))
    if as_json:
        print_json({"diff": found.to_json()})
        return
    for line in diff_lines(found, terminal_width()):
        say(line)
