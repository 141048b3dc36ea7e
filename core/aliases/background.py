"""Work that may wait for a server, each in a thread of its own: the runner's thread looks whether it has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Begin = Callable[[Callable[[], None]], None]


def in_a_thread(work: Callable[[], None]) -> None:
    """The process does not wait for it when it ends: what is under way is found again by the next one."""
    threading.Thread(target=work, name="aliases", daemon=True).start()


class BackgroundWork(Generic[T]):
    """One piece of work. `phase` is what it said last of where it is, `phases` all that it said."""

    def __init__(self, function: Callable[[Callable[[str], None]], T], begin: Begin = in_a_thread) -> None:
        self.phases: list[str] = []
        self._function = function
        self._ended = threading.Event()
        self._result: list[T] = []
        self._error: Exception | None = None
        begin(self._run)

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def phase(self) -> str | None:
        return self.phases[-1] if self.phases else None

    def wait(self, seconds: float) -> None:
        """Until it has ended, this long at most."""
        self._ended.wait(seconds)

    def result(self) -> T:
        """What came of it; what it raised is raised here. Only once it has `ended`."""
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._function(self.phases.append))
        except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error
        self._ended.set()
