"""`bakehouse experiment show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.cli.results_boards import terminal_width
from core.home import Home


@click.command(epilog="Example: bakehouse experiment show precision-rank --json")
@click.argument("name")
@click.option("--task", help="Only this task of the experiment.")
@project_option
@json_option
def show(name: str, task: str | None, project: Path | None, as_json: bool) -> None:
    """How far an experiment is, and what it answers so far: arms, differences with intervals, the answer in words.

    An answer is provisional until the bake-off over all seeds is done.
    """
    from core.cli.experiment_text import experiment_text
    from core.experiments.shown import shown_experiment

    home, found = Home.find(), find_project(project)
    with opened(home) as connection:
        shown = shown_experiment(home, connection, found, name, task)
    if as_json:
        print_json(shown.to_json())
        return
    document: Any = experiment_text(shown, terminal_width())
    for line in document:
        say(line)
