"""`bakehouse fleet`: what serves now, why it deserves to, and the way back; each command stands in a file of its own."""

from __future__ import annotations

import click

from core.cli.lazy_group import LazyGroup

# name: (module:command, help). The help stands here so that `--help` imports none of them.
COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("core.cli.fleet_list:list_command", "Which model serves which task, since when, and what did before."),
    "adopt": ("core.cli.fleet_adopt:adopt", "Take models that serve already into the fleet."),
    "assign": ("core.cli.fleet_assign:assign", "Say which alias answers for a task."),
    "history": ("core.cli.fleet_history:history", "What became of aliases, and why."),
    "diff": ("core.cli.fleet_diff:diff", "What two versions of an alias differ in."),
    "drift": ("core.cli.fleet_drift:drift", "Check that what serves still answers as it did."),
    "promote": ("core.cli.fleet_promote:promote", "Have a model serve under a production name, if its evidence holds."),
    "rollback": ("core.cli.fleet_rollback:rollback", "Have a production name be again what it was before."),
}


@click.group(cls=LazyGroup, entries=lambda: COMMANDS)
def fleet() -> None:
    """What serves now, why it deserves to, and the way back."""
