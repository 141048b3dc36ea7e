"""What a runner has of a test's `FakeOllama` instead of `OllamaServer`: requests come to their end as the clock passes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from core.clock import NEVER
from core.gpu_lease.evicted_models import full_name
from core.reasons import Reason
from core.serving.errors import ServerError
from core.serving.modelserver import ASK_SECONDS, ServerView
from core.serving.replies import Resident
from tests.support.fake_ollama import URL, FakeLoad, FakeOllama

T = TypeVar("T")


class FakeModelServer:
    """A `ModelServer`. As in the real one, lists and unloads follow one another, and so do loads and commands.

    `latency_seconds` is what each answer takes: what was true when it was begun is told when it is over.
    """

    def __init__(self, ollama: FakeOllama, *, latency_seconds: float = 0.0) -> None:
        self.ollama, self.clock = ollama, ollama.clock
        self.latency_seconds = latency_seconds
        self.url = URL
        self.view = ServerView()
        self.version: str | None = None
        self.broken: str | None = None
        """What no request should end with: each list ends with this text as an error."""
        self._asking: deque[_Request] = deque()
        self._loading: deque[_Request] = deque()
        self._look: Future[ServerView] | None = None
        self._looked = NEVER
        self._blobs: dict[tuple[str, str | None], str | None] = {}
        self._tags_wanted: frozenset[str] = frozenset()
        self._tags_told: tuple[frozenset[str], float, Mapping[str, str | None]] = frozenset(), NEVER, {}

    def tick(self, every_seconds: float) -> bool:
        self.advance()
        news, now = False, self.clock.monotonic()
        if self._look is not None and self._look.done():
            look, self._look = self._look, None
            self.view, news = look.result(), True
        if self._look is None and now - self._looked >= every_seconds:
            self._looked = now
            self._look = Future()
            self._asking.append(_Listing(self, self._look))
            self.advance()
        return news

    def blob(self, resident: Resident) -> str | None:
        return self._blobs.get((resident.name, resident.digest))

    def tag_blobs(self, names: Collection[str], after: float) -> Mapping[str, str | None] | None:
        wanted = frozenset(names)
        told, asked_at, blobs = self._tags_told
        if not wanted or (told == wanted and asked_at > after):
            return blobs if wanted else {}
        self._tags_wanted = wanted
        return None

    def learn_tags(self, asked_at: float) -> None:
        models = self.ollama.models
        blobs = {name: models[tag].blob if (tag := full_name(name)) in models else None for name in self._tags_wanted}
        self._tags_told = self._tags_wanted, asked_at, blobs

    def unload(self, resident: Resident) -> Future[str]:
        future: Future[str] = Future()
        self._asking.append(_Once(self, future, lambda: self.ollama.unload(resident, self.blob(resident))))
        return future

    def load(self, name: str, context_length: int | None, keep_alive_seconds: float | None) -> Future[None]:
        future: Future[None] = Future()
        self._loading.append(_Loading(future, lambda: FakeLoad(self.ollama, name, context_length, keep_alive_seconds)))
        return future

    def run(self, command: Sequence[str]) -> Future[None]:
        future: Future[None] = Future()
        self._loading.append(_Once(self, future, lambda: self.ollama.run(command), asks_server=False))
        return future

    @property
    def under_way(self) -> bool:
        """Whether a request to unload a model is on its way."""
        return any(isinstance(one, _Once) for one in self._asking)

    def close(self) -> None:
        """Nobody waits any more for what is on its way."""
        for request in self._loading:
            request.give_up()
        self._asking.clear()
        self._loading.clear()

    def advance(self) -> None:
        self.ollama.advance()
        for requests in (self._asking, self._loading):
            while requests and requests[0].over():
                requests.popleft()

    def learn(self, residents: tuple[Resident, ...]) -> None:
        """The blob of what is listed has to be asked for while the tag is there."""
        for one in residents:
            model = self.ollama.models.get(one.name)
            self._blobs.setdefault((one.name, one.digest), None if model is None else model.blob)


class _Request(Protocol):
    def over(self) -> bool:
        """Begin it when its turn comes, and settle its future at its end; whether it has come to that."""

    def give_up(self) -> None:
        """Whoever asked is gone."""


class _Once:
    """A request that is done in one go, once its latency is over."""

    def __init__(
        self, server: FakeModelServer, future: Future[T], act: Callable[[], T], *, asks_server: bool = True
    ) -> None:
        self.server, self.future, self.act = server, future, act
        self.asks_server = asks_server
        self.begun_at: float | None = None

    def over(self) -> bool:
        if self.begun_at is None:
            self.begun_at = self.server.clock.monotonic()
        hangs = self.server.ollama.hangs and self.asks_server
        if self.server.clock.monotonic() - self.begun_at < (ASK_SECONDS if hangs else self.server.latency_seconds):
            return False
        try:
            if hangs:
                raise _slow()
            self.future.set_result(self.act())
        except ServerError as error:
            self.future.set_exception(error)
        return True

    def give_up(self) -> None:
        pass  # done in one go, or not at all


class _Listing:
    """What is loaded, as it was when it was asked."""

    def __init__(self, server: FakeModelServer, future: Future[ServerView]) -> None:
        self.server, self.future = server, future
        self.view: ServerView | None = None

    def over(self) -> bool:
        server, now = self.server, self.server.clock.monotonic()
        if self.view is None:
            self.view = self._asked()
        if now - self.view.asked_at < (ASK_SECONDS if server.ollama.hangs else server.latency_seconds):
            return False
        residents, problem = self.view.residents, self.view.problem
        if server.broken is not None:
            residents, problem = None, Reason("unexpected_error", {"error": server.broken})
        elif server.ollama.hangs:
            residents, problem = None, _slow().reason
        if residents is not None:
            server.version = server.ollama.version
            server.learn(residents)
            server.learn_tags(self.view.asked_at)
        self.future.set_result(ServerView(self.view.asked_at, now, residents, problem, self.view.asked_time))
        return True

    def give_up(self) -> None:
        pass  # nobody looks

    def _asked(self) -> ServerView:
        now, time_of_day = self.server.clock.monotonic(), self.server.clock.time()
        try:
            self.server.ollama.answers()
        except ServerError as error:
            return ServerView(now, now, None, error.reason, time_of_day)
        return ServerView(now, now, self.server.ollama.ps(), None, time_of_day)


class _Loading:
    def __init__(self, future: Future[Any], begin: Callable[[], FakeLoad]) -> None:
        self.future, self.begin = future, begin
        self.load: FakeLoad | None = None

    def over(self) -> bool:
        if self.load is None:
            self.load = self.begin()
        if not self.load.over():
            return False
        if self.load.error is not None:
            self.future.set_exception(self.load.error)
        else:
            self.future.set_result(None)
        return True

    def give_up(self) -> None:
        if self.load is not None:
            self.load.give_up()


def _slow() -> ServerError:
    reason = Reason("server_slow", {"url": URL, "seconds": ASK_SECONDS})
    return ServerError("the model server did not answer in its time", code="server_slow", reason=reason)
