"""`bakehouse fleet rollback`."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path

import click

from core.cli.common import by, find_project, json_option, opened, project_option
from core.cli.fleet_changed import asked_of_fleet, change_json, show_change, tell_phases
from core.cli.output import print_json, say
from core.errors import BakehouseError
from core.home import Home
from core.store.fleet import Alias


@click.command("rollback", epilog="Example: bakehouse fleet rollback judge")
@click.argument("name", metavar="TASK|ALIAS")
@click.option(
    "--to", "number", type=click.IntRange(1), metavar="VERSION", help="Its number; else what the alias was before."
)
@project_option
@json_option
def rollback(name: str, number: int | None, project: Path | None, as_json: bool) -> None:
    """Have the production name of TASK, or ALIAS itself, be again what it was before; nothing is built anew.

    Where somebody else changed or removed it, what was recorded comes back; a model of theirs is kept as a version first.
    """
    from core.fleet.names import version_numbered
    from core.fleet.promotion import foreign_change
    from core.fleet.promotion import rollback as move
    from core.store.fleet import versions

    home = Home.find()
    with opened(home) as connection:
        alias, of_project = _meant(connection, name, project)
        wanted = None if number is None else version_numbered(connection, alias, number)
        foreign = foreign_change(home, connection, alias)
    if foreign.model is not None and not as_json:
        say(f"▲ Somebody else changed {alias.name}; what is there now is kept as a version of it.")
    if foreign.is_missing and not as_json:
        say(f"▲ Somebody else removed {alias.name} from its server.")
    change = asked_of_fleet(
        lambda: move(
            home,
            alias,
            by=by(),
            to_version=None if wanted is None else wanted.id,
            foreign=foreign,
            task=name if of_project is not None else None,
            project_id=of_project,
            heard=tell_phases(quiet=as_json),
        )
    )
    if as_json:
        print_json({"change": change_json(change)})
    else:
        with opened(home) as connection:
            now = next((one for one in versions(connection, alias.id) if one.id == change.to_version), None)
        model = f" ({now.model})" if now is not None and now.model else ""
        what = "what it was before" if now is None else f"version {now.number} again{model}"
        show_change(change, alias.name, what)
    sys.exit(0 if change.state == "done" else 1)


def _meant(connection: sqlite3.Connection, name: str, named_project: Path | None) -> tuple[Alias, str | None]:
    """The alias, and the project where its task was named; the task of the present project goes first."""
    from core.fleet.names import the_alias
    from core.store.fleet import alias_of

    with contextlib.suppress(BakehouseError):
        project = find_project(named_project)
        found = alias_of(connection, project.id, name)
        if found is not None:
            return found, project.id
    return the_alias(connection, name), None
