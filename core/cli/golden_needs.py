"""`bakehouse golden needs`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.home import Home


@click.command("needs", epilog="Example: bakehouse golden needs judge --difference 0.1")
@click.argument("task")
@click.option(
    "--difference",
    type=click.FloatRange(0, 1, min_open=True),
    help="What is to be shown, from 0 to 1; by default the task's margin.",
)
@click.option("--candidates", nargs=2, metavar="A B", help="The two, else those that were measured last.")
@project_option
@json_option
def needs_command(
    task: str, difference: float | None, candidates: tuple[str, str] | None, project: Path | None, as_json: bool
) -> None:
    """How many more golden inputs TASK needs until a difference of two candidates can be shown: 80 % power at 5 %.

    Counted are inputs that stand for production: what was chosen because the two disagree is none.
    """
    from core.marking.overview import needs_of_task
    from core.wording.marking import counted_words, needs_words

    home, found = Home.find(), find_project(project)
    with opened(home) as connection:
        needs = needs_of_task(home, connection, found, found.task(task), candidates or None, difference)
    if as_json:
        print_json({"needs": needs.to_json(), "text": needs_words(needs)})
        return
    say(needs_words(needs))
    if needs.candidates != ("", ""):
        say(f"of {needs.candidates[0]} and {needs.candidates[1]}, {needs.part} score")
    say(counted_words(needs))
