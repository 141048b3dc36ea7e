"""A move of an alias that is asked of the runner, and what became of it: who asks waits for the change and not only for the
command."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Any

from core.home import Home
from core.runner.client import ensure_runner, request
from core.store.database import open_database
from core.store.fleet import Alias, find_alias
from core.store.fleet_changes import FleetChange, changes, get_change

LOOK_SECONDS = 0.1
RUNNER_SECONDS = 2.0
Heard = Callable[[FleetChange], None]


def asked_change(home: Home, kind: str, arguments: dict[str, Any], alias: Alias, by: str, heard: Heard) -> FleetChange:
    """Have the runner carry out the command `kind`, and wait until its change has ended; `heard` is told it while it is open.

    It is still open where somebody stopped the runner meanwhile. Raises as `core.runner.client.request`.
    """
    connection = open_database(home)
    try:
        newest = max((one.id for one in changes(connection, alias.id or None, limit=1)), default=0)
        request(home, kind, arguments=arguments, by=by)
        there = find_alias(connection, alias.server, alias.url, alias.name_key)
        assert there is not None  # the command was carried out
        mine = [
            one
            for one in changes(connection, there.id)
            if one.id > newest and is_what_was_asked(one, kind, arguments, by)
        ]
        return _ended(home, connection, mine[-1], heard)
    finally:
        connection.close()


def is_what_was_asked(change: FleetChange, kind: str, arguments: Mapping[str, Any], by: str) -> bool:
    """Whether a change is what was asked: another console of the same person may ask at the same moment. Of two that ask for
    just the same one is refused by the runner, or both for the same reason."""
    if change.author != by or f"fleet-{change.kind}" != kind:
        return False
    if kind == "fleet-rollback":
        return True
    gate, reason = arguments["gate"], (arguments["override_reason"] or "").strip() or None
    kept = None if gate["outcome"] == "pass" else reason
    return change.target.digest == arguments["target"]["digest"] and change.override_reason == kept


def _ended(home: Home, connection: sqlite3.Connection, change: FleetChange, heard: Heard) -> FleetChange:
    look_again = time.monotonic() + RUNNER_SECONDS
    while change.state == "open":
        heard(change)
        time.sleep(LOOK_SECONDS)
        if time.monotonic() > look_again:
            look_again = time.monotonic() + RUNNER_SECONDS
            if home.runner_stopped.exists():
                return change
            ensure_runner(home)  # one that finds the change open finishes it, or takes it back
        change = get_change(connection, change.id)
    return change
