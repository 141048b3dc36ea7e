"""`bakehouse fleet list`."""

from __future__ import annotations

import click

from core.cli.common import json_option, opened
from core.cli.output import print_json, say
from core.format import data_size, moment
from core.home import Home
from core.wording.fleet import origin_words


@click.command("list", epilog="Example: bakehouse fleet list --json")
@json_option
def list_command(as_json: bool) -> None:
    """Which model serves which task, since when, and what did before."""
    from core.fleet.rows import FleetRow, fleet_rows

    with opened(Home.find()) as connection:
        rows = fleet_rows(connection)
    if as_json:
        print_json({"fleet": [row.to_json() for row in rows]})
        return
    if not rows:
        say("The fleet is empty.")

    def line(row: FleetRow) -> str:
        version = row.version
        if version is None:
            return f"{row.task or '—'}  {row.alias.name} on {row.alias.server}: nothing serves yet"
        parts = [f"{row.task or '—'}  {row.alias.name} on {row.alias.server}", f"version {version.number}"]
        parts += [version.model or "model unknown", origin_words(version.origin)]
        parts += [] if row.alias.since is None else [f"since {moment(row.alias.since)}"]
        parts += [] if version.size_bytes is None else [data_size(version.size_bytes)]
        return " · ".join(parts)

    for row in rows:
        say(line(row))
