"""`bakehouse experiment`: which model deserves to be trained; each command stands in a file of its own."""

from __future__ import annotations

import click

from core.cli.lazy_group import LazyGroup

# name: (module:command, help). The help stands here so that `--help` imports none of them.
COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("core.cli.experiment_list:list_command", "The experiments of the project, and how far each is."),
    "show": (
        "core.cli.experiment_show:show",
        "How far one is, and what it answers: arms, differences, what to run next.",
    ),
    "report": ("core.cli.experiment_report:report", "A report to read, print or publish, as HTML or Markdown."),
    "run": ("core.cli.experiment_run:run", "Queue what is missing of an experiment."),
}


@click.group(cls=LazyGroup, entries=lambda: COMMANDS)
def experiment() -> None:
    """Trainings that are compared: which of them, and what makes the difference."""
