"""A stand-in of Ollama in memory: what it holds follows a clock of the test's; no thread, socket or process is in it.

It does what the stand-in of tests/support/ollama_standin.py does, which is held to recorded exchanges with the real servers, as
far as the lease sees it: one runner for a blob, a load that nobody lists until it is done, an unload that waits for the answers
being given, runners that die and stay listed, tags that go away. tests/unit/test_fake_model_server.py runs one script against
both.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from core.clock import NEVER, Clock
from core.reasons import Reason
from core.serving.errors import ServerError
from core.serving.modelserver import command_failed, no_tag
from core.serving.replies import FOREVER_SECONDS, Resident

URL = "http://127.0.0.1:11434"
_FOREVER = 10 * FOREVER_SECONDS


@dataclass
class FakeModel:
    """A tag of the server's store. Tags with one blob share a runner."""

    name: str
    blob: str
    size_bytes: int
    load_seconds: float

    @property
    def digest(self) -> str:
        return f"manifest of {self.blob}"


@dataclass
class FakeRunner:
    """A model in memory. Moments are monotonic, but for `expires_at`, which the server tells as time of day."""

    name: str
    digest: str
    blob: str
    size_bytes: int
    context_length: int
    session_seconds: float
    pid: int
    loading_until: float
    loading: bool = True
    alive: bool = True
    busy_until: float = NEVER
    expires_at: float = 0.0
    idle_until: float = NEVER


class FakeOllama:
    """The server: its store, its runners, and what befalls both. Every method first lets happen what is due until now."""

    def __init__(self, clock: Clock, version: str = "0.24.0") -> None:
        self.clock = clock
        self.version = version
        self.is_up = True
        self.hangs = False
        """No request is answered in its time."""
        self.reap_seconds = 0.05
        self.max_loaded = 3
        self.memory_bytes: int | None = None
        self.models: dict[str, FakeModel] = {}
        self.unloads: list[str] = []
        """The tags that were asked to go, in order."""
        self.loads: list[str] = []
        """The tags that were asked for, in order."""
        self.commands: list[str] = []
        """The last word of each command that was run."""
        self.failing_commands: set[str] = set()
        self._runners: dict[str, FakeRunner] = {}
        self._dying: list[tuple[float, FakeRunner]] = []
        self._clients: list[FakeLoad] = []
        self._pids = itertools.count(5000)

    # Its store.

    def add_model(
        self, name: str, size_bytes: int = 1_000_000_000, *, blob: str = "", load_seconds: float = 0.2
    ) -> None:
        self.models[name] = FakeModel(name, blob or f"sha256:{name}", size_bytes, load_seconds)

    def copy_model(self, source: str, destination: str) -> None:
        one = self.models[source]
        self.models[destination] = FakeModel(destination, one.blob, one.size_bytes, one.load_seconds)

    def remove_model(self, name: str) -> None:
        """Deletes a tag. What runs of it goes on."""
        del self.models[name]

    # What others do to it.

    def client_loads(self, name: str, keep_alive_seconds: float | None = None, context_length: int = 4096) -> FakeLoad:
        """Another client has a model loaded, and waits for it."""
        load = FakeLoad(self, name, context_length, keep_alive_seconds)
        self._clients.append(load)
        self.advance()
        return load

    def client_asks(self, name: str, seconds: float) -> bool:
        """Another client gets an answer of that length from a model that is loaded; False where it is not."""
        self.advance()
        runner = self._listed_as(name)
        if runner is None or not runner.alive:
            return False
        runner.busy_until = max(runner.busy_until, self.clock.monotonic() + seconds)
        return True

    @property
    def clients_wait(self) -> bool:
        """Whether a client waits for a model that it has loaded."""
        self.advance()
        return bool(self._clients)

    def client_leaves(self, name: str) -> None:
        """Whoever is being answered has enough."""
        self.advance()
        if (runner := self._listed_as(name)) is not None and runner.busy_until > NEVER:
            runner.busy_until = self.clock.monotonic()
        self.advance()

    def finish_loading(self, name: str) -> None:
        """What is being loaded under this name is there."""
        for runner in self._runners.values():
            if runner.name == name and runner.loading:
                runner.loading_until = self.clock.monotonic()

    def client_unloads(self, name: str) -> None:
        self.advance()
        self.ask_to_go(self.models[name])

    def kill_runner(self, name: str) -> None:
        """Its memory is gone, and the server goes on listing it."""
        self.advance()
        runner = self._listed_as(name)
        if runner is not None:
            runner.alive = False

    def down(self) -> None:
        """The server ends, and its runners with it."""
        self.advance()
        self.is_up = False
        self._runners.clear()
        self._dying.clear()

    def up(self) -> None:
        self.is_up = True

    # What is in it.

    def listed(self) -> list[str]:
        return sorted(one.name for one in self.ps())

    def processes(self) -> list[tuple[str, int, int]]:
        """(name, bytes, pid) of every runner that has memory, also of one that loads or is being ended."""
        self.advance()
        runners = [*self._runners.values(), *(runner for _, runner in self._dying)]
        return [(one.name, one.size_bytes, one.pid) for one in runners if one.alive]

    def runners(self) -> tuple[FakeRunner, ...]:
        """Those that are listed."""
        self.advance()
        return tuple(one for one in self._runners.values() if not one.loading)

    def ps(self) -> tuple[Resident, ...]:
        self.advance()
        return tuple(
            Resident(one.name, one.digest, one.size_bytes, one.size_bytes, one.context_length, one.expires_at)
            for one in self._runners.values()
            if not one.loading
        )

    # Requests, as the lease's client makes them.

    def unload(self, resident: Resident, blob: str | None) -> str:
        """The tag that was asked to go. Raises ServerError."""
        self.answers()
        own = self.models.get(resident.name)
        if own is not None and own.digest == resident.digest:
            return self.ask_to_go(own)
        same = [tag for tag in self.models.values() if tag.digest == resident.digest or (blob and tag.blob == blob)]
        if not same:
            raise no_tag(resident.name, deleted=own is None)
        return self.ask_to_go(same[0])

    def ask_to_go(self, model: FakeModel) -> str:
        """What `keep_alive: 0` without a prompt does: nothing to what loads, an end to what answers once it has."""
        self.unloads.append(model.name)
        runner = self._runners.get(model.blob)
        if runner is not None and not runner.loading:
            runner.expires_at, runner.session_seconds = self.clock.time(), 0.0
            if runner.busy_until <= self.clock.monotonic():
                self._let_go(runner)
        return model.name

    def run(self, command: Sequence[str]) -> None:
        self.commands.append(command[-1])
        if command[-1] in self.failing_commands:
            raise command_failed(command, "", 1)

    def answers(self) -> None:
        """Raises ServerError when it does not."""
        self.advance()
        if not self.is_up:
            raise down()

    def advance(self) -> None:
        """All that is due until now."""
        now = self.clock.monotonic()
        for runner in [one for one in self._runners.values() if not one.loading]:
            if NEVER < runner.busy_until <= now:
                ended, runner.busy_until = runner.busy_until, NEVER
                self._rest(runner, ended)
            if runner.busy_until == NEVER and runner.idle_until <= now:
                self._let_go(runner)
        self._dying = [pair for pair in self._dying if pair[0] > now]
        self._clients = [load for load in self._clients if not load.over()]

    def _rest(self, runner: FakeRunner, moment: float) -> None:
        """Nobody asks it any more, since then."""
        runner.idle_until = moment + runner.session_seconds
        runner.expires_at = self.clock.time() - (self.clock.monotonic() - moment) + runner.session_seconds

    def _let_go(self, runner: FakeRunner) -> None:
        """Off the list at once; its memory follows."""
        if self._runners.get(runner.blob) is runner:
            del self._runners[runner.blob]
            self._dying.append((self.clock.monotonic() + self.reap_seconds, runner))

    def _listed_as(self, name: str) -> FakeRunner | None:
        return next((one for one in self._runners.values() if one.name == name and not one.loading), None)

    # Loading, step by step.

    def place(self, name: str, context_length: int, session_seconds: float) -> FakeRunner | None:
        """The runner for a request, loading or not; None while it has to wait for room. Raises ServerError."""
        if not self.is_up:
            raise down()
        model, now = self.models.get(name), self.clock.monotonic()
        if model is None:
            raise refused(f"model '{name}' not found", 404)
        runner = self._runners.get(model.blob)
        if runner is not None and runner.loading:
            return None
        if runner is not None and runner.alive and runner.context_length == context_length:
            runner.session_seconds = session_seconds
            if runner.busy_until <= now:
                self._rest(runner, now)
            return runner
        if not self._made_room(runner, model):
            return None
        until, pid = now + model.load_seconds, next(self._pids)
        fresh = FakeRunner(
            name, model.digest, model.blob, model.size_bytes, context_length, session_seconds, pid, until
        )
        self._runners[model.blob] = fresh
        return fresh

    def loaded(self, runner: FakeRunner) -> bool:
        """Whether a load is done. Raises ServerError where the server has ended meanwhile."""
        if not self.is_up or self._runners.get(runner.blob) is not runner:
            raise down(cut_off=True)
        if runner.loading and runner.loading_until <= self.clock.monotonic():
            runner.loading = False
            self._rest(runner, self.clock.monotonic())
        return not runner.loading

    def give_up(self, runner: FakeRunner) -> None:
        """Nobody waits any more for what is being loaded."""
        if runner.loading:
            self._let_go(runner)

    def _made_room(self, stale: FakeRunner | None, model: FakeModel) -> bool:
        """Whether the model can be loaded now. What is in its way goes, once it is idle."""
        if stale is not None:
            self._out(stale)
            return False
        if self._dying:
            return False
        held = sum(runner.size_bytes for runner in self._runners.values())
        short = self.memory_bytes is not None and held + model.size_bytes > self.memory_bytes
        if not short and len(self._runners) < self.max_loaded:
            return True
        if not self._runners:
            raise refused("model requires more system memory than is available", 500)
        self._out(min(self._runners.values(), key=lambda one: (one.busy_until > NEVER, one.session_seconds, one.blob)))
        return False

    def _out(self, runner: FakeRunner) -> None:
        if runner.busy_until > self.clock.monotonic():
            runner.session_seconds = 0.0
        elif not runner.loading:
            self._let_go(runner)


class FakeLoad:
    """One request to load a model. `over` lets it go on, and says whether it has come to an end; `error` is why it failed."""

    def __init__(
        self, server: FakeOllama, name: str, context_length: int | None, keep_alive_seconds: float | None
    ) -> None:
        self.server, self.name, self.context_length = server, name, context_length or 4096
        self.session_seconds = 300.0 if keep_alive_seconds is None else keep_alive_seconds
        if self.session_seconds < 0:
            self.session_seconds = _FOREVER
        self.error: ServerError | None = None
        self._runner: FakeRunner | None = None
        self._over = False
        server.loads.append(name)

    def over(self) -> bool:
        if not self._over:
            try:
                if self._runner is None:
                    self._runner = self.server.place(self.name, self.context_length, self.session_seconds)
                self._over = self._runner is not None and self.server.loaded(self._runner)
            except ServerError as error:
                self.error, self._over = error, True
        return self._over

    def give_up(self) -> None:
        if self._runner is not None and not self._over:
            self.server.give_up(self._runner)
        self._over = True


def down(*, cut_off: bool = False) -> ServerError:
    code = "server_cut_off" if cut_off else "server_down"
    return ServerError("no model server answers", code="server_down", reason=Reason(code, {"url": URL}))


def refused(said: str, status: int) -> ServerError:
    reason = Reason("server_refused", {"url": URL, "status": status, "said": said})
    return ServerError(said, code="server_refused", status=status, said=said, reason=reason)
