"""`bakehouse fleet history`."""

from __future__ import annotations

import click

from core.cli.common import json_option, opened
from core.cli.output import print_json, say
from core.home import Home


@click.command(epilog="Example: bakehouse fleet history judge")
@click.argument("name", metavar="[TASK|ALIAS]", required=False)
@click.option("--limit", "-n", type=click.IntRange(1), help="How many of the newest.  [default: 40, with --json all]")
@json_option
def history(name: str | None, limit: int | None, as_json: bool) -> None:
    """What became of aliases, and why: who asked for what, how that ended, and what was noticed; the newest last.

    In the order in which it happened, whatever the clock said meanwhile.
    """
    from core.cli.results_boards import terminal_width
    from core.cli.text_grid import wrap
    from core.fleet.history import fleet_history
    from core.format import moment
    from core.wording.fleet_history import entry_words

    with opened(Home.find()) as connection:
        entries = fleet_history(connection, name, limit or (-1 if as_json else 40))
    if as_json:
        print_json({"history": [entry.to_json() for entry in entries]})
        return
    if not entries:
        say("Nothing has happened in the fleet yet. `bakehouse fleet adopt` shows what serves and can be taken in.")
    for entry in entries:
        first, *rest = wrap(f"{moment(entry.time):>12}  {entry_words(entry)}", terminal_width(), indent=14)
        say(first)
        for line in rest:
            say(line)
