"""`bakehouse experiment list`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.cli.results_boards import terminal_width
from core.cli.text_grid import wrap
from core.home import Home


@click.command("list", epilog="Example: bakehouse experiment list --project ~/notes")
@project_option
@json_option
def list_command(project: Path | None, as_json: bool) -> None:
    """The experiments of the project: those that were run, the last one first, then files that were not.

    An experiment is a file, configs/experiments/NAME.yaml; a tournament is one without a file.
    """
    from core.experiments.overview import experiment_rows
    from core.wording.experiment_plan import listed_words

    found = find_project(project)
    with opened(Home.find()) as connection:
        rows = experiment_rows(connection, found)
    if as_json:
        print_json({"experiments": rows})
        return
    if not rows:
        say("no experiment yet: write configs/experiments/NAME.yaml, or start a tournament")
    for row in rows:
        for line in wrap(listed_words(row), terminal_width()):
            say(line)
