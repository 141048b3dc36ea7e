"""A fleet of real processes: a home with its runner, and a stand-in of Ollama that watches over what serves.

What has to hold at every request is looked at by the server itself, before it answers and after.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.aliases.digests import is_same
from core.runner import client as requests
from core.serving.ollama import Ollama
from core.serving.ollama_runners import tag_of
from core.serving.replies import full_name, name_key
from core.store.commands import insert_command
from core.store.fleet import Alias, AliasVersion, Target, current_version, find_alias, versions
from core.store.fleet_changes import FleetChange, changes, open_changes
from tests.support.ollama_requests import Asked
from tests.support.ollama_standin import OllamaStandin
from tests.support.queueing import AUTHOR, Queue, alive
from tests.support.waiting import wait_until

PROJECT = {"project_id": "kitchen", "project_root": "/nowhere"}
PASS = {"outcome": "pass", "conditions": []}


class RealFleet:
    """`task` is served by the alias of its name, with `-NAME` behind for candidates."""

    def __init__(self, queue: Queue, server: OllamaStandin) -> None:
        self.queue, self.server = queue, server
        self.home = queue.home
        self.client = Ollama(server.url)
        self.watched: set[str] = set()
        self.violations: list[str] = []
        self.held: threading.Event | None = None
        self.counting = threading.Lock()
        self.at_request: Callable[[Asked], None] = lambda asked: None
        server.on_request = self._look

    def _look(self, asked: Asked) -> None:
        self.at_request(asked)
        gone = [name for name in self.watched if full_name(name) not in self.server.models]
        self.violations += [f"{name} is gone before {asked.method} {asked.path}" for name in gone]

    # What is asked.

    def target(self, source: str) -> Target:
        tag = tag_of(self.client, source)
        assert tag is not None
        return Target(source, tag.digest, model=source)

    def place(self, name: str) -> dict[str, str]:
        return {"server": "ollama", "url": self.client.url, "name": name, "name_key": name_key(name)}

    def adopt(self, name: str, task: str) -> None:
        target = self.target(name).to_json()
        given = {**PROJECT, **self.place(name), "task": task, "target": target, "expected_version": None}
        requests.request(self.home, "fleet-adopt", None, given, by=AUTHOR)
        self.watched.add(name)

    def promotion(self, name: str, source: str, task: str) -> dict[str, Any]:
        current = self.current(name)
        return {
            **PROJECT,
            **self.place(name),
            "task": task,
            "target": self.target(source).to_json(),
            "expected_version": None if current is None else current.id,
            "gate": PASS,
        }

    def rollback(self, name: str, to: AliasVersion) -> dict[str, Any]:
        alias = self.alias(name)
        return {"alias_id": alias.id, "expected_version": alias.version_id, "to_version": to.id}

    def write(self, kind: str, arguments: dict[str, Any]) -> int:
        """Ask without waiting for anybody."""
        with self.queue.database() as connection:
            return insert_command(connection, kind, None, arguments, AUTHOR)

    # What is so.

    def alias(self, name: str) -> Alias:
        with self.queue.database() as connection:
            found = find_alias(connection, "ollama", self.client.url, name_key(name))
        assert found is not None
        return found

    def current(self, name: str) -> AliasVersion | None:
        with self.queue.database() as connection:
            found = find_alias(connection, "ollama", self.client.url, name_key(name))
            return None if found is None else current_version(connection, found)

    def versions(self, name: str) -> list[AliasVersion]:
        with self.queue.database() as connection:
            return versions(connection, self.alias(name).id)

    def changes(self) -> list[FleetChange]:
        """Newest first."""
        with self.queue.database() as connection:
            return changes(connection)

    def at_rest(self) -> bool:
        with self.queue.database() as connection:
            asked = connection.execute("SELECT count(*) FROM commands WHERE done_at IS NULL").fetchone()[0]
            return asked == 0 and not open_changes(connection)

    def goes_on(self) -> bool:
        """See that there is a runner; whether all that was asked has ended."""
        self.queue.start_runner()  # at each look: the lock of one that was killed can be held for a moment longer
        return self.at_rest()

    def settle(self) -> None:
        wait_until(self.goes_on, what=lambda: str(self.changes()[:1]))

    def check(self, name: str) -> None:
        """One truth: what the store says of the alias is what is there, and each version that was is kept."""
        assert self.violations == []
        current, tag = self.current(name), tag_of(self.client, name)
        assert current is not None and tag is not None and is_same(current.digest, tag.digest)
        for version in self.versions(name):
            if version.kept_as is not None:
                kept = tag_of(self.client, version.kept_as)
                assert kept is not None and is_same(kept.digest, version.digest), version

    # What befalls it.

    def kill_at(self, requests_from_now: int) -> threading.Event:
        """SIGKILL for the runner when so many requests have come, before the last is answered; set once that is so."""
        left, killed = [requests_from_now], threading.Event()

        def count(asked: Asked) -> None:
            with self.counting:
                if self.at_request is not count:
                    return  # it has been called off
                left[0] -= 1
                if left[0] == 0:
                    self._kill(killed)

        self.at_request = count
        return killed

    def call_off(self) -> None:
        """No kill by requests any more: none that is under way would hit the next runner."""
        with self.counting:
            self.at_request = lambda asked: None

    def kill_after(self, seconds: float) -> threading.Event:
        """SIGKILL for the runner at a moment of the clock."""
        killed = threading.Event()
        threading.Timer(seconds, self._kill, [killed]).start()
        return killed

    def _kill(self, killed: threading.Event) -> None:
        from core.runner.status import runner_status

        status = runner_status(self.home)
        if status.pid is not None and status.alive and alive(status.pid):
            os.kill(status.pid, signal.SIGKILL)
            wait_until(lambda: not alive(status.pid or 0), what="the runner's end")
        killed.set()


@contextmanager
def real_fleet(queue: Queue, machine: Path) -> Iterator[RealFleet]:
    """`judge` with two candidates, and the settings that name the server."""
    with OllamaStandin("0.33.0-rc2") as server:
        (machine / "config/bakehouse/settings.yaml").write_text(f"ollama: {{url: '{server.url}'}}\n")
        for name in ("judge", "judge-4b", "judge-8b"):
            server.add_model(name)
        fleet = RealFleet(queue, server)
        yield fleet
        fleet.client.close()


def one_seed(fleet: RealFleet, seed: int, name: str, task: str) -> int:
    """A random promotion or rollback, over which the runner is killed once or twice at random moments, and the server's answer
    to a copy is lost now and then, whether it made it or not; how often the runner was killed."""
    chance = random.Random(seed)
    current = fleet.current(name)
    others = [one for one in fleet.versions(name) if current is not None and one.digest != current.digest]
    deaths = 0
    if others and chance.random() < 0.5:
        fleet.write("fleet-rollback", fleet.rollback(name, chance.choice(others)))
    else:
        fleet.server.add_model("candidate", blob=f"sha256:{chance.randbytes(32).hex()}")
        fleet.write("fleet-promote", fleet.promotion(name, "candidate", task))
    if chance.random() < 0.3:
        chance.choice([fleet.server.lose_next_answer, fleet.server.drop_next])("/api/copy")
    for _ in range(chance.choice([1, 1, 2])):
        by_clock = chance.random() < 0.3
        killed = fleet.kill_after(chance.uniform(0.0, 0.6)) if by_clock else fleet.kill_at(chance.randint(1, 25))
        wait_until(lambda killed=killed: killed.is_set() or fleet.goes_on(), what=lambda: str(fleet.changes()[:1]))
        if by_clock:
            wait_until(killed.is_set, what="the moment of the kill")
        fleet.call_off()
        deaths += killed.is_set()
    fleet.settle()
    fleet.check(name)
    return deaths
