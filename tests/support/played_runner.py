"""A runner that carries out commands in the test's own process, at the moment at which somebody sees that one is there."""

from __future__ import annotations

import contextlib

import pytest

from core.home import Home
from core.runner.commands import RefusedError, carry_out
from core.store.commands import finish_command, open_commands
from core.store.database import open_database


def carry_out_all(home: Home) -> None:
    """What a runner does with the commands of a round."""
    with contextlib.closing(open_database(home)) as connection:
        for command in open_commands(connection):
            try:
                carry_out(home, connection, command)
            except RefusedError as error:
                finish_command(connection, command.id, error.reason)


def play_runner(monkeypatch: pytest.MonkeyPatch, *users: str) -> None:
    """`users` are the modules that look for a runner; the client of all is among them."""
    for module in ("core.runner.client", *users):
        monkeypatch.setattr(f"{module}.ensure_runner", carry_out_all)
