"""A limit on how long a source may take.

A driver can hang so that a read of it never returns and cannot be killed (state D). Therefore a source is only ever
called in a thread of its own; when it does not answer in time, its caller goes on and the thread is left behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import Source, SourceError

LIMIT_SECONDS = 2.0
_Result = TypeVar("_Result")
_Request = tuple[Future[Any], Callable[[], Any]]


class Guard:
    """Calls one source with a limit. Every fault of the source comes out as `SourceError`.

    There is one thread, never more: while it hangs, a further call fails at once instead of adding another. It is a
    daemon, so that it does not hold up the end of the process. Not for use by several threads.
    """

    def __init__(self, source: Source, limit_seconds: float = LIMIT_SECONDS) -> None:
        self.source = source
        self.limit_seconds = limit_seconds
        self._requests: SimpleQueue[_Request | None] | None = None
        self._pending: Future[Any] | None = None
        self._since = 0.0

    @property
    def name(self) -> str:
        return self.source.name

    def available(self) -> bool:
        return self._call(self.source.available)

    def read(self) -> tuple[Sequence[DeviceReading], Sequence[ProcessReading]]:
        return self._call(self.source.read)

    def close(self) -> None:
        """Let the thread end, once it is free; a later call starts another."""
        if self._requests is not None:
            self._requests.put(None)
            self._requests = None

    def _call(self, function: Callable[[], _Result]) -> _Result:
        if self._pending is not None and not self._pending.done():
            raise SourceError(f"{self.name} has not answered for {time.monotonic() - self._since:.0f} s")
        future: Future[_Result] = Future()
        self._pending, self._since = future, time.monotonic()
        if self._requests is None:
            self._requests = SimpleQueue()
            Thread(target=_serve, args=(self._requests,), name=f"gpu-{self.name}", daemon=True).start()
        self._requests.put((future, function))
        try:
            return future.result(self.limit_seconds)
        except SourceError:
            raise
        except TimeoutError as error:
            if not future.done():
                raise SourceError(f"{self.name} has not answered for {self.limit_seconds:g} s") from error
            raise SourceError(f"{self.name} failed: {error!r}") from error
        except Exception as error:
            raise SourceError(f"{self.name} failed: {error!r}") from error


def _serve(requests: SimpleQueue[_Request | None]) -> None:
    while (request := requests.get()) is not None:
        future, function = request
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - handed to the caller, who reports it
            future.set_exception(error)
        else:
            future.set_result(result)
        del request, future
