"""`bakehouse fleet`: what serves now, why it deserves to, and the way back; each command stands in a file of its own."""

from __future__ import annotations

import click

from core.jobfile.kinds import load

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


class FleetCommands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        command: click.Command = load(found[0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=FleetCommands)
def fleet() -> None:
    """What serves now, why it deserves to, and the way back."""
