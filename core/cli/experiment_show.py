"""`bakehouse experiment show`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.cli.results_boards import terminal_width
from core.home import Home

# Here, so that the help imports no table.
TABLE_NAMES = ("base-scores", "before-after", "training", "inputs", "sizes")


@click.command(epilog="Example: bakehouse experiment show precision-rank --json")
@click.argument("name")
@click.option("--task", help="Only this task of the experiment.")
@click.option("--table", type=click.Choice(TABLE_NAMES), help="Only this table.")
@click.option("--of", "named", multiple=True, help="With --table inputs: only this arm or model; may be repeated.")
@project_option
@json_option
def show(
    name: str, task: str | None, table: str | None, named: tuple[str, ...], project: Path | None, as_json: bool
) -> None:
    """How far an experiment is, and what it answers so far: arms, differences with intervals, the answer in words.

    An answer is provisional until the bake-off over all seeds is done.
    """
    from core.cli.experiment_text import experiment_text, tables_text
    from core.experiments.shown import shown_experiment
    from core.experiments.tables import TABLES, table_source

    if named and table != "inputs":
        raise click.UsageError("--of chooses columns of one table: give --table inputs with it")
    home, found = Home.find(), find_project(project)
    with opened(home) as connection:
        shown = shown_experiment(home, connection, found, name, task)
        source = None if table is None else table_source(home, connection, shown, named)
    if source is not None and table is not None:
        tables = TABLES[table](source)
        if as_json:
            print_json({"schema": 1, "name": name, "tables": [one.to_json() for one in tables]})
        else:
            for line in tables_text(tables, terminal_width()):
                say(line)
        return
    if as_json:
        print_json(shown.to_json())
        return
    for line in experiment_text(shown, terminal_width()):
        say(line)
