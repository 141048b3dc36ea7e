"""What is told of answers that several threads ask for at a time: what each costs, and whether others use the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.serving.answering import ServedModel
from core.serving.errors import ServerError

SECONDS_BETWEEN_GLANCES = 2.0
"""How often the server is asked who else uses it."""


class Flights:
    """Answers on their way. The time that passes is divided among those that are on their way at the time."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._spent: dict[int, float] = {}
        self._most: dict[int, int] = {}
        self._last = 0.0
        self._number = 0

    def start(self) -> int:
        """A number for an answer that is asked for now."""
        with self._lock:
            self._divide()
            self._number += 1
            self._spent[self._number], self._most[self._number] = 0.0, 0
            for place in self._most:
                self._most[place] = max(self._most[place], len(self._spent))
            return self._number

    def end(self, place: int) -> tuple[float, int]:
        """The answer's share of the time in seconds, and how many were on their way with it at most."""
        with self._lock:
            self._divide()
            return self._spent.pop(place), self._most.pop(place)

    def _divide(self) -> None:
        now = self._now()
        if self._spent:
            share = (now - self._last) / len(self._spent)
            for place in self._spent:
                self._spent[place] += share
        self._last = now


class Glances:
    """Whether others use a server, asked of it no more often than every two seconds."""

    def __init__(self, model: ServedModel, now: Callable[[], float] = time.monotonic) -> None:
        self._model, self._now = model, now
        self._lock = threading.Lock()
        self._seen: bool | None = None
        self._looked: float | None = None

    def look(self) -> bool | None:
        """True or False as last seen; None where that cannot be told."""
        with self._lock:
            if self._looked is None or self._now() - self._looked >= SECONDS_BETWEEN_GLANCES:
                self._looked = self._now()
                try:
                    self._seen = self._model.others_active()
                except ServerError:
                    self._seen = None
            return self._seen
