"""A home whose aliases live on a played Ollama, and its runner's keeper of aliases, which can be killed at any point.

Points are each request to the server, before it is done and after, and each transaction of the store, before it ends and
once it is committed. Time passes as it is told to; nothing waits.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.aliases import keeper as keeper_module
from core.aliases.keeper import AliasKeeper
from core.aliases.ollama_place import OllamaPlace
from core.runner.commands import RefusedError, carry_out
from core.serving.replies import name_key
from core.store.commands import finish_command, get_command, insert_command
from core.store.database import open_database, transaction
from core.store.fleet import Alias, AliasVersion, Target, aliases, current_version, find_alias, versions
from core.store.fleet_changes import FleetChange, changes, open_changes
from core.store.store_error import StoreError
from tests.support.clock import FakeClock
from tests.support.played_ollama import URL, Fate, Killed, PlayedOllama, digest_of
from tests.support.stored import fresh

PROJECT = {"project_id": "p", "project_root": "/nowhere"}
PASS = {"outcome": "pass", "conditions": []}
ROUNDS = 400


class PlayedFleet:
    """`befall(point)` says what befalls a point; points are numbered over the whole life of the fleet."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = PlayedOllama()
        self.server.befall = self._at_request
        self.home, self.connection = fresh(folder)
        self.clock = FakeClock()
        self.point = 0
        self.points: list[str] = []
        self.befall: Callable[[int, str], Fate] = lambda number, what: "done"
        self.kills = 0
        monkeypatch.setattr(keeper_module, "transaction", self._transaction)
        self.keeper = self._keeper()

    def _keeper(self) -> AliasKeeper:
        return AliasKeeper(
            self.connection,
            lambda alias, roots, in_use: OllamaPlace(self.server.client(), in_use),
            clock=self.clock,
            begin=lambda work: work(),
        )

    # Points.

    def _next(self, what: str) -> Fate:
        self.point += 1
        self.points.append(what)
        return self.befall(self.point, what)

    def _at_request(self, what: str) -> Fate:
        return self._next(what)

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        fate = self._next("transaction")
        if fate == "disk_full":
            raise StoreError("The disk is full.", code="disk_full", file=self.home.database)
        with transaction(connection):
            yield
            if fate == "killed_before":
                raise Killed
        if fate == "killed_after":
            raise Killed

    # What a person asks.

    def ask(self, kind: str, **arguments: Any) -> None:
        """Raises `RefusedError`."""
        number = insert_command(self.connection, kind, None, arguments, "anna@box, console")
        command = get_command(self.connection, number)
        try:
            carry_out(self.home, self.connection, command)
        except RefusedError as refused:
            finish_command(self.connection, number, refused.reason)
            raise

    def place(self, name: str) -> dict[str, str]:
        return {"server": "ollama", "url": URL, "name": name, "name_key": name_key(name)}

    def adopt(self, name: str, task: str | None = None, **arguments: Any) -> None:
        model = self.server.model(name)
        assert model is not None
        target = Target(name, digest_of(model), model=model).to_json()
        expected = arguments.pop("expected_version", self.current_id(name))
        given = {} if task is None else {**PROJECT, "task": task}
        self.ask("fleet-adopt", **self.place(name), target=target, expected_version=expected, **given, **arguments)
        self.server.watched.add(name_key(name))

    def promote(self, name: str, source: str, task: str = "judge", **arguments: Any) -> None:
        model = self.server.model(source) or "gone"
        asked: dict[str, Any] = {
            **PROJECT,
            **self.place(name),
            "task": task,
            "target": Target(source, digest_of(model), model=model).to_json(),
            "expected_version": self.current_id(name),
            "gate": PASS,
            **arguments,
        }
        self.ask("fleet-promote", **asked)

    def rollback(self, name: str, **arguments: Any) -> None:
        alias = self.alias(name)
        expected = arguments.pop("expected_version", alias.version_id)
        self.ask("fleet-rollback", alias_id=alias.id, expected_version=expected, **arguments)

    # A runner's life.

    def settle(self) -> None:
        """Until nothing is under way, however often the runner is killed over it."""
        for _ in range(ROUNDS):
            try:
                self.keeper.tick()
                if not self.keeper.busy:
                    return
            except StoreError:
                pass  # told by the runner's log, and tried again
            except Killed:
                self.kills += 1
                self.connection.close()
                self.connection = open_database(self.home)
                self.keeper = self._keeper()
            self.clock.pass_time(1.0)
        raise AssertionError(f"nothing came to rest: {open_changes(self.connection)}")

    # What is so.

    def alias(self, name: str) -> Alias:
        found = find_alias(self.connection, "ollama", URL, name_key(name))
        assert found is not None
        return found

    def current(self, name: str) -> AliasVersion | None:
        found = find_alias(self.connection, "ollama", URL, name_key(name))
        return None if found is None else current_version(self.connection, found)

    def current_id(self, name: str) -> int | None:
        current = self.current(name)
        return None if current is None else current.id

    def versions(self, name: str) -> list[AliasVersion]:
        return versions(self.connection, self.alias(name).id)

    def last(self, name: str) -> FleetChange:
        return changes(self.connection, self.alias(name).id)[0]

    def check(self) -> None:
        """What has to hold whenever nothing is under way."""
        assert not open_changes(self.connection)
        for alias in aliases(self.connection):
            current, there = current_version(self.connection, alias), self.server.model(alias.name)
            if current is None:
                assert there is None or there == self.server.others.get(alias.name_key), "nothing half done is left"
                continue
            assert current.alias_id == alias.id
            if self.server.others.get(alias.name_key) is None and alias.name_key in self.server.watched:
                assert there is not None and digest_of(there) == current.digest, "the store and the server agree"
            if current.kept_as is not None and name_key(current.kept_as) not in self.server.others:
                kept = self.server.model(current.kept_as)
                assert kept is not None and digest_of(kept) == current.digest, "what keeps it has it"
        for name, model in self.server.others.items():
            assert self.server.model(name) == model, "somebody else's model stays"
