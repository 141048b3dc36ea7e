"""`bakehouse fleet assign`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import by, find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.home import Home


@click.command(epilog="Example: bakehouse fleet assign judge vault-judge")
@click.argument("task")
@click.argument("alias", required=False)
@click.option("--none", "released", is_flag=True, help="The task has no alias any more.")
@project_option
@json_option
def assign(task: str, alias: str | None, released: bool, project: Path | None, as_json: bool) -> None:
    """Say which ALIAS of the fleet answers for TASK. An alias may do several tasks, a task has one; no model is touched."""
    from core.fleet.adopting import assign as ask
    from core.fleet.names import alias_named, reference_of
    from core.runner.commands import RefusedError
    from core.store.fleet import alias_of
    from core.wording.jobs import refused

    if (alias is None) != released:
        raise click.UsageError("Name the ALIAS, or say --none.")
    home, found = Home.find(), find_project(project)
    with opened(home) as connection:
        present = alias_of(connection, found.id, task)
        wanted = None if alias is None else alias_named(connection, alias)
    if wanted is not None:
        found.task(task)  # NotFoundError that lists them
    is_same = wanted is not None and present is not None and wanted.id == present.id
    if not is_same:
        try:
            ask(home, found, task, wanted, by=by())
        except RefusedError as error:
            raise refused(error) from None
    if as_json:
        former = None if present is None else present.name
        print_json({"task": task, "alias": None if wanted is None else wanted.name, "former": former})
    elif wanted is None:
        say(f"✓ {task} has no alias any more" + (f"; {present.name} is as it was" if present is not None else ""))
    else:
        before = f", in place of {present.name}" if present is not None and not is_same else ""
        say(f"✓ {wanted.name} answers for {task}{before}")
        say(f"A bake-off measures it: `bakehouse bakeoff {task} {reference_of(wanted)}`")
