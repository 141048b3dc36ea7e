"""The model server as somebody sees it who may not wait: what it listed last, and requests that are on their way.

The runner looks at it five times a second while a request can take minutes, so every request is made by a thread of its own.
"""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from core.serving.errors import ServerError, one_line
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
    """What the server listed when it was last asked. `asked_at` is that moment in Unix seconds, 0 before the first.

    `residents` is None when it did not answer; `problem` then says why, and `slow` that it did not in its time.
    """

    asked_at: float = 0.0
    answered_at: float = 0.0
    residents: tuple[Resident, ...] | None = None
    problem: str | None = None
    slow: bool = False


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


class ModelServer:
    """One Ollama server. `tick` is to be called often; nothing here waits for the server. For one thread.

    Raises InputError for an address that is none.
    """

    def __init__(self, url: str | None = None) -> None:
        self.view = ServerView()
        self.version: str | None = None
        """Of the server that answered last; None before one did."""
        self._short, self._long = Ollama(url, timeout_seconds=ASK_SECONDS), Ollama(url, timeout_seconds=ASK_SECONDS)
        self.url = self._short.url
        self._asking, self._loading = Caller("model-server"), Caller("model-loader")
        self._look: Future[ServerView] | None = None
        self._looked = 0.0
        # (tag, its digest) → the blob of its weights, None where the server did not say.
        self._blobs: dict[tuple[str, str | None], str | None] = {}

    def tick(self, now: float, every_seconds: float) -> bool:
        """Take in an answer that came, and ask what is loaded when that is so long ago; whether there is a new view."""
        news = False
        if self._look is not None and self._look.done():
            look, self._look = self._look, None
            error = look.exception()
            self.view = look.result() if error is None else ServerView(now, now, problem=one_line(repr(error)))
            news = True
        if self._look is None and not 0 <= now - self._looked < every_seconds:
            self._looked = now
            self._look = self._asking.submit(self._list)
        return news

    def blob(self, resident: Resident) -> str | None:
        """The blob of its weights (`sha256:…`), by which tags of one model are known; None where it is not known."""
        return self._blobs.get((resident.name, resident.digest))

    def unload(self, resident: Resident) -> Future[str]:
        """Ask the server to let a model go; the result is the tag that was asked for, which can be another of its blob.

        Fails with ServerError. That it was asked is all that is known afterwards.
        """
        return self._asking.submit(lambda: self._unload(resident))

    def load(self, name: str, context_length: int | None, keep_alive_seconds: float | None) -> Future[None]:
        """Have a model loaded; done when it is. Fails with ServerError."""
        return self._loading.submit(
            lambda: self._long.load(
                name,
                context_length=context_length,
                keep_alive_seconds=keep_alive_seconds,
                timeout_seconds=LOAD_SECONDS,
            )
        )

    def run(self, command: Sequence[str]) -> Future[None]:
        """Run the person's command that ends the service or starts it. Fails with ServerError when that fails."""
        return self._loading.submit(lambda: _run(command))

    def close(self) -> None:
        """Let the threads end once their calls are over."""
        self._asking.close()
        self._loading.close()

    # In the threads.

    def _list(self) -> ServerView:
        asked_at = time.time()
        try:
            if self.view.residents is None:  # it may be another one than before
                self.version = one_line(self._short.version())
            residents = self._short.ps()
        except ServerError as error:
            return ServerView(asked_at, time.time(), None, error.message, error.code == "server_slow")
        for resident in residents:
            self._learn(resident)
        return ServerView(asked_at, time.time(), residents)

    def _learn(self, resident: Resident) -> None:
        """The blob has to be asked for while the tag is there: what was loaded outlives its tag."""
        key = (resident.name, resident.digest)
        if key not in self._blobs:
            try:
                self._blobs[key] = self._short.show(resident.name).blob
            except ServerError:
                self._blobs[key] = None

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
        name, what = one_line(resident.name), "its tag is gone" if own is None else "its tag was made anew"
        raise ServerError(f"`{name}` is loaded and {what}: nothing unloads it", code="server_refused", status=404)


def _run(command: Sequence[str]) -> None:
    said = " ".join(command)
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
            raise ServerError(f"`{said}` failed: {one_line(str(error))}", code="server_refused") from error
        if done.returncode != 0:
            errors.seek(0)
            why = one_line(errors.read(4096).decode(errors="replace")) or f"exit code {done.returncode}"
            raise ServerError(f"`{said}` failed: {why}", code="server_refused")
