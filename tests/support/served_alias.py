"""An alias that is a served model of a home, and candidates for it: their program is the stand-in of llama-server."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from core.aliases.places import NotNowError
from core.aliases.served_place import ServedPlace
from core.files import sha256_file
from core.home import Home
from core.process.ports import free_port
from core.runner.client import ensure_runner
from core.served.control import start
from core.served.record import ServedModelRecord, read_record, to_json, write_record
from core.served.state import read_state
from core.store.database import open_database, transaction
from core.store.fleet import (
    LLAMA_SERVER,
    Alias,
    AliasVersion,
    Target,
    get_alias,
    insert_alias,
    insert_version,
    set_current,
)
from core.store.fleet_changes import ChangeKind, FleetChange, finish_change, open_change
from tests.support.served_home import served_home
from tests.support.served_models import reached
from tests.support.standin_llama_server import command_of
from tests.support.waiting import wait_until

ALIAS, FORMER, CANDIDATE = "vault-judge", "seven", "four"
"""The alias, and the names of the models that it serves: their files are called so, and so they answer."""
PATIENCE = 120.0


@dataclass
class Counter:
    """A home whose alias serves `FORMER`."""

    home: Home
    folder: Path
    port: int
    has_runner: bool = False
    """Whether a runner lives: one that was killed a moment ago may have been taken for one that does."""

    @property
    def connection(self) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(open_database(self.home))

    @property
    def place(self) -> ServedPlace:
        return ServedPlace(self.home)

    def model(self, name: str, *words: str) -> Path:
        """A model's file; what its server does stands beside it, so that the file stays what was deployed."""
        file = self.folder / f"{name}.gguf"
        if not file.exists():
            file.write_text(f"weights of {name}")
        whole = file.with_suffix(".new")
        whole.write_text("\n".join(words))
        whole.rename(file.with_suffix(".words"))
        return file

    def serve(self, served: str, model: str, *words: str, port: int | None = None) -> ServedModelRecord:
        """A served model of its own, as a deployment leaves one."""
        file, port = self.model(model, *words), port or free_port()
        record = ServedModelRecord(
            served, file, f"sha256:{sha256_file(file)}", "t", model, 1, command_of(file, port, served), port, 512
        )
        write_record(self.home, record)
        start(self.home, served)
        reached(self.home, served, "serving")
        return record

    def asked(self, kind: ChangeKind, target: Target) -> FleetChange:
        """The move as it is stored before anything is done."""
        with self.connection as connection, transaction(connection):
            alias = self.alias()
            return open_change(
                connection,
                alias_id=alias.id,
                kind=kind,
                author="a person",
                target=target,
                from_version=alias.version_id,
            )

    def alias(self) -> Alias:
        with self.connection as connection:
            return get_alias(connection, 1)

    def ended(self, change: FleetChange, state: str) -> AliasVersion | None:
        """The store's side of the end of a move."""
        with self.connection as connection, transaction(connection):
            version = None
            if state == "done":
                version = insert_version(connection, change.alias_id, change.target, "promoted")
                set_current(connection, change.alias_id, version.id)
            finish_change(connection, change.id, "done" if state == "done" else "taken_back")
            return version

    def carried(self, change: FleetChange) -> list[str]:
        """Go on with a move until it is made, or raises; what it waited for on the way."""
        waited: list[str] = []
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                self.place.place(self.alias(), change.target)
                return waited
            except NotNowError as wait:
                if waited[-1:] != [wait.code]:
                    waited.append(wait.code)
                time.sleep(0.05)
        raise AssertionError(f"it still waits: {waited}")

    def answers(self, served: str = ALIAS) -> str:
        """Which model answers under a name, at the port of its record, once one does: who was killed is started again."""
        said: list[str] = []

        def answered() -> bool:
            if self.has_runner:
                ensure_runner(self.home)
            if read_state(self.home, served).phase == "serving":
                with contextlib.suppress(httpx.TransportError):
                    said.append(answer_at(read_record(self.home, served).port, served))
            return bool(said)

        wait_until(answered, what=lambda: f"an answer of {served}, {read_state(self.home, served)}")
        return said[0]

    def is_settled(self, model: str) -> None:
        """No two truths: what answers at the alias' port, what its record says, and nothing on its way."""
        assert self.answers() == model
        record = read_record(self.home, ALIAS)
        assert (record.file.stem, record.port, record.name) == (model, self.port, ALIAS)
        assert not self.home.served_dir(ALIAS).record_before.exists()


def answer_at(port: int, served: str) -> str:
    asked = {"model": served, "messages": [{"role": "user", "content": "Who is it?"}]}
    reply = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=asked, trust_env=False).json()
    return str(reply["choices"][0]["message"]["content"])


def target_of(home: Home, record: ServedModelRecord) -> Target:
    """A served model, as it is asked to become an alias."""
    return Target(record.name, record.weights, weights=record.weights, model=record.model, record=to_json(home, record))


@pytest.fixture
def counter(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    with served_home(machine, monkeypatch) as home:
        made = Counter(home, machine, free_port())
        with made.connection as connection, transaction(connection):
            insert_alias(connection, server=LLAMA_SERVER, url="", name=ALIAS, name_key=ALIAS)
        yield made


@pytest.fixture
def serving(counter: Counter) -> Counter:
    """The alias serves, and was adopted."""
    record = counter.serve(ALIAS, FORMER, port=counter.port)
    with counter.connection as connection, transaction(connection):
        version = insert_version(connection, 1, target_of(counter.home, record), "adopted")
        set_current(connection, 1, version.id)
    return counter
