"""A group of commands each of which is imported when it is called: `--help` is fast however many there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from core.jobfile.kinds import load


class LazyGroup(click.Group):
    """`entries` gives by name where a command stands (`module:command`) and its help, in the order of `--help`."""

    def __init__(self, *args: Any, entries: Callable[[], Mapping[str, tuple[str, str]]], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._entries().get(cmd_name)
        if found is None:
            return None
        command: click.Command = load(found[0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._entries().items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command is answered with the one that was meant."""
        name = args[0]
        if name not in self._entries() and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, self._entries(), n=1)
            ctx.fail(f"no command `{name}`" + (f"; did you mean `{near[0]}`?" if near else ""))
        return super().resolve_command(ctx, args)
