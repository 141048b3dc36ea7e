"""The model server as somebody sees it who may not wait: what it listed last, and requests that are on their way.

The runner looks at it five times a second while a request can take minutes, so every request is made by a thread of its own.
"""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from core.clock import NEVER, SYSTEM_CLOCK, Clock
from core.reasons import Reason
from core.serving.errors import ServerError, one_line, reason_of
from core.serving.ollama import Ollama
from core.serving.replies import Resident

ASK_SECONDS = 5.0
"""How long an answer that needs no model may take."""
LOAD_SECONDS = 600.0
COMMAND_SECONDS = 120.0
AFRESH_SECONDS = 3.0
"""A list that is older than this is no list of now."""

T = TypeVar("T")


@dataclass(frozen=True)
class ServerView:
    """What the server listed when it was last asked, in monotonic seconds; `asked_time` is the time of day of `asked_at`.

    `residents` is None when the server did not answer; `problem` then says why.
    """

    asked_at: float = NEVER
    answered_at: float = NEVER
    residents: tuple[Resident, ...] | None = None
    problem: Reason | None = None
    asked_time: float = 0.0

    @property
    def slow(self) -> bool:
        """Whether the server did not answer in its time, which is not the same as that nobody listens there."""
        return self.problem is not None and self.problem.code == "server_slow"


class ModelServer(Protocol):
    """What the lease asks of a model server. Nothing here waits: a request is a Future, what is loaded is the last `view`."""

    @property
    def url(self) -> str: ...

    @property
    def view(self) -> ServerView: ...

    @property
    def version(self) -> str | None:
        """Of the server that answered last; None before one did."""

    def tick(self, every_seconds: float) -> bool:
        """Take in an answer that came, and ask what is loaded when that is so long ago; whether there is a new view."""

    def blob(self, resident: Resident) -> str | None:
        """The blob of its weights (`sha256:…`), by which tags of one model are known; None where it is not known."""

    def tag_blobs(self, names: Collection[str], after: float) -> Mapping[str, str | None] | None:
        """The blobs of these tags as they were asked for after that moment (monotonic), which the next list does; None until
        then. None of a tag that the server does not have.
        """

    def unload(self, resident: Resident) -> Future[str]:
        """Ask the server to let a model go; the result is the tag that was asked for, which can be another of its blob.

        Fails with ServerError. That it was asked is all that is known afterwards.
        """

    def load(self, name: str, context_length: int | None, keep_alive_seconds: float | None) -> Future[None]:
        """Have a model loaded; done when it is. Fails with ServerError."""

    def run(self, command: Sequence[str]) -> Future[None]:
        """Run the person's command that ends the service or starts it. Fails with ServerError when that fails."""

    def close(self) -> None:
        """Let go of the server; what is on its way comes to its end."""


class Caller:
    """Makes calls one after the other, in a daemon thread: whoever leaves need not wait for the one on its way."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], Future[object]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((call, future))  # type: ignore[arg-type]
        return future

    def close(self) -> None:
        """End after the calls that are on their way."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  # whoever asks for the result gets it, whatever it is
                future.set_exception(error)


class OllamaServer:
    """One Ollama server, as a `ModelServer`. `tick` is to be called often; each request has its thread. For one thread.

    Raises InputError for an address that is none.
    """

    def __init__(self, url: str | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self.view = ServerView()
        self.version: str | None = None
        self._short, self._long = Ollama(url, timeout_seconds=ASK_SECONDS), Ollama(url, timeout_seconds=ASK_SECONDS)
        self.url = self._short.url
        self._asking, self._loading = Caller("model-server"), Caller("model-loader")
        self._look: Future[ServerView] | None = None
        self._looked = NEVER
        # (tag, its digest) → the blob of its weights, None where the server did not say.
        self._blobs: dict[tuple[str, str | None], str | None] = {}
        self._tags_wanted: tuple[frozenset[str], float] = frozenset(), NEVER
        self._tags_told: tuple[frozenset[str], float, Mapping[str, str | None]] = frozenset(), NEVER, {}

    def tick(self, every_seconds: float) -> bool:
        news, now = False, self.clock.monotonic()
        if self._look is not None and self._look.done():
            look, self._look = self._look, None
            error = look.exception()
            self.view = look.result() if error is None else ServerView(now, now, problem=reason_of(error))
            news = True
        if self._look is None and now - self._looked >= every_seconds:
            self._looked = now
            self._look = self._asking.submit(self._list)
        return news

    def blob(self, resident: Resident) -> str | None:
        return self._blobs.get((resident.name, resident.digest))

    def tag_blobs(self, names: Collection[str], after: float) -> Mapping[str, str | None] | None:
        wanted = frozenset(names)
        told, asked_at, blobs = self._tags_told
        if not wanted or (told == wanted and asked_at > after):
            return blobs if wanted else {}
        self._tags_wanted = wanted, after
        return None

    def unload(self, resident: Resident) -> Future[str]:
        return self._asking.submit(lambda: self._unload(resident))

    def load(self, name: str, context_length: int | None, keep_alive_seconds: float | None) -> Future[None]:
        return self._loading.submit(
            lambda: self._long.load(
                name,
                context_length=context_length,
                keep_alive_seconds=keep_alive_seconds,
                timeout_seconds=LOAD_SECONDS,
            )
        )

    def run(self, command: Sequence[str]) -> Future[None]:
        return self._loading.submit(lambda: _run(command))

    def close(self) -> None:
        """Let the threads end once their calls are over."""
        self._asking.close()
        self._loading.close()

    # In the threads.

    def _list(self) -> ServerView:
        asked_at, asked_time = self.clock.monotonic(), self.clock.time()
        try:
            if self.view.residents is None:  # it may be another one than before
                self.version = one_line(self._short.version())
            residents = self._short.ps()
        except ServerError as error:
            return ServerView(asked_at, self.clock.monotonic(), None, error.reason, asked_time)
        for resident in residents:
            self._learn(resident)
        self._learn_tags(asked_at)
        return ServerView(asked_at, self.clock.monotonic(), residents, None, asked_time)

    def _learn(self, resident: Resident) -> None:
        """The blob has to be asked for while the tag is there: what was loaded outlives its tag."""
        key = (resident.name, resident.digest)
        if key not in self._blobs:
            self._blobs[key] = self._blob_of_tag(resident.name)

    def _learn_tags(self, asked_at: float) -> None:
        wanted, after = self._tags_wanted
        told, told_at, _ = self._tags_told
        if wanted and not (told == wanted and told_at > after):
            self._tags_told = wanted, asked_at, {name: self._blob_of_tag(name) for name in wanted}

    def _blob_of_tag(self, name: str) -> str | None:
        try:
            return self._short.show(name).blob
        except ServerError:
            return None

    def _unload(self, resident: Resident) -> str:
        """Ask under a tag that means this runner: its own may be gone, or be another model's by now."""
        tags = self._short.tags()
        own = next((tag for tag in tags if tag.name == resident.name), None)
        if own is not None and (None in (own.digest, resident.digest) or own.digest == resident.digest):
            self._short.unload(resident.name)
            return resident.name
        blob = self.blob(resident)
        for tag in sorted(tags, key=lambda tag: tag.digest != resident.digest):
            if tag.digest == resident.digest or (blob is not None and self._short.show(tag.name).blob == blob):
                self._short.unload(tag.name)
                return tag.name
        raise no_tag(resident.name, deleted=own is None)


def no_tag(name: str, *, deleted: bool) -> ServerError:
    """A model in memory that no request unloads: its tag was deleted, or is another model's by now."""
    what = "deleted" if deleted else "replaced"
    message = f"`{one_line(name)}` is loaded, but its tag was {what}: no request unloads it"
    reason = Reason(f"model_tag_{what}", {"model": name})
    return ServerError(message, code="server_refused", status=404, reason=reason)


def command_failed(command: Sequence[str], why: str, exit_code: int | None = None) -> ServerError:
    """A command of the person's that stops or starts the service, and why it did not."""
    name = " ".join(command)
    reason = Reason("command_failed", {"command": name, "exit_code": exit_code, "said": why})
    message = f"`{name}` failed: {why or f'exit code {exit_code}'}"
    return ServerError(message, code="server_refused", reason=reason)


def _run(command: Sequence[str]) -> None:
    # Not a pipe: a service that it leaves behind would hold that open.
    with tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise command_failed(command, one_line(str(error))) from error
        if done.returncode != 0:
            errors.seek(0)
            raise command_failed(command, one_line(errors.read(4096).decode(errors="replace")), done.returncode)
