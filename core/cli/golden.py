"""`bakehouse golden`: making golden inputs from production inputs; each command stands in a file of its own."""

from __future__ import annotations

import click

from core.cli.lazy_group import LazyGroup

# name: (module:command, help). The help stands here so that `--help` imports none of them.
COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("core.cli.golden_list:list_command", "The golden inputs of a task, and what can be marked."),
    "draft": ("core.cli.golden_draft:draft", "Have two candidates answer production inputs, to be marked."),
    "mark": ("core.cli.golden_mark:mark", "Say which of two answers is right: it becomes a golden input."),
    "add": ("core.cli.golden_add:add", "Add one golden input: a text, or what a bake-off asked or answered."),
    "needs": ("core.cli.golden_needs:needs_command", "How many more inputs show a difference of two candidates."),
}


@click.group(cls=LazyGroup, entries=lambda: COMMANDS)
def golden() -> None:
    """Golden inputs from production inputs: draft, mark, and count what is missing."""
