"""The model server in memory, held to the stand-in of Ollama: one script, run against both, has to see the same.

The stand-in is held to what real servers answered by tests/unit/test_ollama_standin.py. It runs in real time and the fake in
its clock's, so what is compared is what is there in the end, what each request ends with, and in which order models go.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from core.clock import SYSTEM_CLOCK, Clock
from core.gpu_lease.server_activity import ServerActivity
from core.serving.errors import reason_of
from core.serving.modelserver import ModelServer, OllamaServer
from core.serving.ollama import Ollama
from core.serving.replies import Resident
from tests.support.clock import FakeClock
from tests.support.fake_model_server import FakeModelServer
from tests.support.fake_ollama import FakeOllama
from tests.support.ollama_standin import VERSIONS, OllamaStandin, Version
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.process


JUDGE, PLANNER, COPY = "judge:latest", "planner:latest", "judge-2:latest"
SIZES = {JUDGE: 4_600_000_000, PLANNER: 2_900_000_000}


class World(Protocol):
    """A server with a judge and a planner, the lease's client of it, and its other clients."""

    client: ModelServer
    clock: Clock

    def wait(self, seconds: float) -> None: ...
    def client_loads(self, name: str, keep_alive_seconds: float, context_length: int) -> None: ...
    def client_asks(self, name: str) -> Callable[[], None]:
        """Another client gets an answer; what ends it."""

    def processes(self) -> list[tuple[str, int]]: ...
    def copy_model(self, source: str, destination: str) -> None: ...
    def remove_model(self, name: str) -> None: ...
    def loads_until(self, name: str) -> Callable[[], None]:
        """The next load of a model takes until what is returned is called."""

    def kill_runner(self, name: str) -> None: ...
    def limit(self, memory_bytes: int) -> None: ...
    def down(self) -> None: ...
    def up(self) -> None: ...
    def close(self) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = FakeOllama(self.clock)
        for name, size in SIZES.items():
            self.server.add_model(name, size)
        self.client = FakeModelServer(self.server)
        self.copy_model, self.remove_model = self.server.copy_model, self.server.remove_model
        self.kill_runner, self.down, self.up = self.server.kill_runner, self.server.down, self.server.up

    def wait(self, seconds: float) -> None:
        self.clock.pass_time(seconds)
        self.server.advance()

    def client_loads(self, name: str, keep_alive_seconds: float, context_length: int) -> None:
        load = self.server.client_loads(name, keep_alive_seconds, context_length)
        while not load.over():
            self.wait(0.01)

    def client_asks(self, name: str) -> Callable[[], None]:
        assert self.server.client_asks(name, math.inf)
        return lambda: self.server.client_leaves(name)

    def processes(self) -> list[tuple[str, int]]:
        return sorted((name, size) for name, size, _ in self.server.processes())

    def loads_until(self, name: str) -> Callable[[], None]:
        self.server.models[name].load_seconds = math.inf
        return lambda: self.server.finish_loading(name)

    def limit(self, memory_bytes: int) -> None:
        self.server.memory_bytes = memory_bytes

    def close(self) -> None:
        self.client.close()


class RealWorld:
    """The stand-in over real sockets, with real processes."""

    def __init__(self, version: Version) -> None:
        self.clock = SYSTEM_CLOCK
        self.server = OllamaStandin(version, load_seconds=0.2)
        self.server.__enter__()
        for name, size in SIZES.items():
            self.server.add_model(name, size_bytes=size)
        self.client = OllamaServer(self.server.url)
        self.down, self.up = self.server.down, self.server.up
        self._asking = ExitStack()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def client_loads(self, name: str, keep_alive_seconds: float, context_length: int) -> None:
        with Ollama(self.server.url) as client:
            client.load(name, context_length=context_length, keep_alive_seconds=keep_alive_seconds)

    def client_asks(self, name: str) -> Callable[[], None]:
        context = next(one["context_length"] for one in self.server.scheduler.ps() if one["name"] == name)
        return self._asking.enter_context(self.server.answering(name, num_ctx=context)).end

    def processes(self) -> list[tuple[str, int]]:
        return sorted((name, size) for name, size, _ in self.server.residents())

    def copy_model(self, source: str, destination: str) -> None:
        self.server.copy_model(source, destination)

    def remove_model(self, name: str) -> None:
        self.server.remove_model(name)

    def loads_until(self, name: str) -> Callable[[], None]:
        loaded = self.server.models[name].loads_until = threading.Event()
        return loaded.set

    def kill_runner(self, name: str) -> None:
        self.server.kill_runner(name)

    def limit(self, memory_bytes: int) -> None:
        self.server.scheduler.memory_bytes = memory_bytes

    def close(self) -> None:
        self.client.close()
        self.server.down()
        self._asking.close()
        self.server.__exit__(None, None, None)


class Script:
    """What is done and seen, step by step. `seen` is what has to be the same in both worlds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.activity = ServerActivity()
        self.seen: list[Any] = []

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = self.world.clock.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert self.world.clock.monotonic() < deadline, f"{what}: {self.world.client.view}"
            self.world.wait(0.02)
            self.look()

    def look(self) -> bool:
        news = self.world.client.tick(0.05)
        if news:
            self.activity.follow(self.world.client.view)
        return news

    def fresh_look(self) -> None:
        """Look until a view was asked for after now."""
        now = self.world.clock.monotonic()
        self.until(lambda: self.world.client.view.asked_at > now, "a look")

    def lists(self, *names: str) -> None:
        """Wait until these are listed, and no others; note how."""
        self.until(lambda: sorted(self.names()) == sorted(names), f"a list of {names}")
        for one in sorted(self.residents(), key=lambda one: one.name):
            stays = self.activity.stays_seconds(one)
            assert stays is not None
            known = self.world.client.blob(one) is not None
            self.seen.append((one.name, one.size_vram_bytes, one.context_length, _about(stays), known))

    def residents(self) -> tuple[Resident, ...]:
        return self.world.client.view.residents or ()

    def names(self) -> list[str]:
        return [one.name for one in self.residents()]

    def resident(self, name: str) -> Resident:
        return next(one for one in self.residents() if one.name == name)

    def ends(self, future: Future[Any], what: str) -> None:
        self.until(future.done, what)
        error = future.exception()
        self.seen.append((what, future.result() if error is None else reason_of(error).code))

    def holds(self, *names: str) -> None:
        """Wait until these models have memory, and no others."""
        self.until(lambda: [name for name, _ in self.world.processes()] == sorted(names), f"memory of {names}")
        self.seen.append(self.world.processes())


def _about(seconds: float) -> str:
    """A time to stay, as far as two worlds of different speed can agree on it."""
    return "for ever" if seconds == -1 else "no more" if seconds == 0 else f"about {round(seconds / 100) * 100} s"


def loads_and_unloads(script: Script) -> None:
    world = script.world
    script.lists()
    script.ends(world.client.load(JUDGE, 8192, -1), "a load for ever")
    script.ends(world.client.load(PLANNER, None, 600), "a load for a while")
    script.lists(JUDGE, PLANNER)
    script.holds(JUDGE, PLANNER)
    script.ends(world.client.load(JUDGE, 2048, None), "a load with another context")
    script.lists(JUDGE, PLANNER)
    script.ends(world.client.unload(script.resident(JUDGE)), "an unload")
    script.lists(PLANNER)
    script.holds(PLANNER)
    script.ends(world.client.load("nobody:latest", None, None), "a load of what is not there")


def an_answer_is_let_end(script: Script) -> None:
    world = script.world
    world.client_loads(JUDGE, 600, 4096)
    script.lists(JUDGE)
    end = world.client_asks(JUDGE)
    script.ends(world.client.unload(script.resident(JUDGE)), "an unload during an answer")
    script.fresh_look()
    script.seen.append(("listed while it answers", script.names(), script.activity.leaves(script.resident(JUDGE))))
    script.holds(JUDGE)
    end()
    script.lists()
    script.holds()


def a_load_is_listed_by_nobody(script: Script) -> None:
    world = script.world
    script.lists()
    loaded = world.loads_until(JUDGE)
    loading = world.client.load(JUDGE, 4096, 600)
    script.holds(JUDGE)
    script.fresh_look()
    script.seen.append(("listed while it loads", script.names(), loading.done()))
    loaded()
    script.ends(loading, "a load")
    script.lists(JUDGE)


def tags_come_and_go(script: Script) -> None:
    world = script.world
    world.copy_model(JUDGE, COPY)
    world.client_loads(JUDGE, 600, 4096)
    script.lists(JUDGE)
    script.ends(world.client.load(COPY, 4096, 600), "a load of the other tag")
    script.fresh_look()
    script.lists(JUDGE)
    world.remove_model(JUDGE)
    script.ends(world.client.unload(script.resident(JUDGE)), "an unload by the other tag")
    script.lists()
    world.client_loads(PLANNER, 600, 4096)
    script.lists(PLANNER)
    world.remove_model(PLANNER)
    script.ends(world.client.unload(script.resident(PLANNER)), "an unload that no tag reaches")
    script.fresh_look()
    script.lists(PLANNER)


def tags_are_known_by_their_weights(script: Script) -> None:
    world = script.world
    world.copy_model(JUDGE, COPY)
    names, since = (JUDGE, COPY.removesuffix(":latest"), "nobody"), world.clock.monotonic()
    assert world.client.tag_blobs((), since) == {}
    script.until(lambda: world.client.tag_blobs(names, since) is not None, "the tags")
    blobs = world.client.tag_blobs(names, since) or {}
    judge, copy, nobody = (blobs[name] for name in names)
    script.seen.append(("one model", judge is not None and judge == copy, nobody))
    world.remove_model(COPY)
    since = world.clock.monotonic()
    script.until(lambda: world.client.tag_blobs(names, since) is not None, "the tags, anew")
    script.seen.append(("gone", (world.client.tag_blobs(names, since) or {})[names[1]]))


def a_runner_dies(script: Script) -> None:
    world = script.world
    world.client_loads(JUDGE, 600, 4096)
    script.lists(JUDGE)
    world.kill_runner(JUDGE)
    script.holds()
    script.fresh_look()
    script.lists(JUDGE)
    script.ends(world.client.load(JUDGE, 4096, 600), "a load of what has died")
    script.holds(JUDGE)


def there_is_no_room(script: Script) -> None:
    world = script.world
    world.client_loads(PLANNER, 600, 4096)
    script.lists(PLANNER)
    world.limit(5_000_000_000)
    script.ends(world.client.load(JUDGE, 4096, 900), "a load that others make room for")
    script.lists(JUDGE)
    world.limit(1_000_000_000)
    script.ends(world.client.load(PLANNER, 4096, 600), "a load that does not fit")
    script.lists()


def it_stays_as_long_as_it_was_asked_to(script: Script) -> None:
    world = script.world
    world.client_loads(JUDGE, 1, 4096)
    world.client_loads(PLANNER, 600, 4096)
    script.lists(PLANNER)
    script.holds(PLANNER)


def the_server_goes_away(script: Script) -> None:
    world = script.world
    world.client_loads(JUDGE, 600, 4096)
    script.lists(JUDGE)
    world.down()
    script.holds()
    # A look that was on its way is cut off; one that is asked for now is refused.
    script.fresh_look()
    assert world.client.view.residents is None
    problem = world.client.view.problem
    script.seen.append(problem and problem.code)
    script.ends(world.client.load(JUDGE, 4096, 600), "a load of a server that is gone")
    world.up()
    script.lists()
    world.loads_until(JUDGE)
    loading = world.client.load(JUDGE, 4096, 600)
    script.holds(JUDGE)
    world.down()
    script.ends(loading, "a load that is cut off")


def a_service_has_commands(script: Script) -> None:
    script.ends(script.world.client.run(["true"]), "a command")


SCRIPTS = [
    loads_and_unloads,
    an_answer_is_let_end,
    a_load_is_listed_by_nobody,
    tags_come_and_go,
    tags_are_known_by_their_weights,
    a_runner_dies,
    there_is_no_room,
    it_stays_as_long_as_it_was_asked_to,
    the_server_goes_away,
    a_service_has_commands,
]


def played(world: World, script: Callable[[Script], None]) -> list[Any]:
    made = Script(world)
    try:
        script(made)
    finally:
        world.close()
    return made.seen


@pytest.mark.process
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_both_see_the_same(script: Callable[[Script], None], version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.serving.modelserver.ASK_SECONDS", PATIENCE_SECONDS)
    assert played(FakeWorld(), script) == played(RealWorld(version), script)
