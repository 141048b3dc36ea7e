"""Requests that several threads have under way at a time: what each costs, how far each is, whether others use the server, and
whether it is still the same model that answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.serving.answering import ServedModel
from core.serving.errors import ServerError

SECONDS_BETWEEN_POLLS = 2.0
"""How often the server is asked who else uses it."""
SECONDS_BETWEEN_STAMPS = 2.0
MOST_SHARE_OF_STAMPS = 0.02
"""How often the server is asked what it has: every two seconds, and less often where that takes more of the time than this."""


class InFlight:
    """Requests in flight. Each moment is divided among those that are in flight then, so that their costs add up to the time
    that passed."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._spent: dict[int, float] = {}
        self._most: dict[int, int] = {}
        self._pieces: dict[int, int] = {}
        self._last = 0.0
        self._number = 0
        self._told_tokens = self._told_pieces = 0

    def start(self) -> int:
        """A request is sent; the number by which `end` knows it."""
        with self._lock:
            self._divide()
            self._number += 1
            self._spent[self._number], self._most[self._number], self._pieces[self._number] = 0.0, 0, 0
            for place in self._most:
                self._most[place] = max(self._most[place], len(self._spent))
            return self._number

    def end(self, place: int) -> tuple[float, int]:
        """The request's share of the time in seconds, and how many were in flight together at most, itself among them."""
        with self._lock:
            self._divide()
            self._pieces.pop(place)
            return self._spent.pop(place), self._most.pop(place)

    def came(self, place: int) -> None:
        """A piece of this answer has come."""
        self._pieces[place] += 1  # by one thread a place

    def learn(self, place: int, tokens: int | None) -> int:
        """This answer has come, before its `end`: so many tokens were its pieces, whose number is returned."""
        with self._lock:
            if tokens and self._pieces[place]:
                self._told_tokens += tokens
                self._told_pieces += self._pieces[place]
            return self._pieces[place]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Of each answer in flight, how many tokens are there: a piece is one, or as many as it was in the answers before."""
        with self._lock:
            each = self._told_tokens / self._told_pieces if self._told_pieces else 1.0
            return tuple(round(pieces * each) for pieces in self._pieces.values())

    def _divide(self) -> None:
        now = self._now()
        if self._spent:
            share = (now - self._last) / len(self._spent)
            for place in self._spent:
                self._spent[place] += share
        self._last = now


class OthersActivity:
    """Whether others use a server, which is asked for that no more often than every two seconds."""

    def __init__(self, model: ServedModel, now: Callable[[], float] = time.monotonic) -> None:
        self._model, self._now = model, now
        self._lock = threading.Lock()
        self._seen: bool | None = None
        self._looked: float | None = None

    def look(self) -> bool | None:
        """True or False as last seen; None where the server cannot say."""
        with self._lock:
            if self._looked is None or self._now() - self._looked >= SECONDS_BETWEEN_POLLS:
                self._looked = self._now()
                try:
                    self._seen = self._model.others_active()
                except ServerError:
                    self._seen = None
            return self._seen


class SameModel:
    """Whether a model is still the one that it was when asking for its answers began, looked at while they come.

    `stamp` is what it told of itself then (`ServedModel.stamp`).
    """

    def __init__(self, model: ServedModel, stamp: str, now: Callable[[], float] = time.monotonic) -> None:
        self._model, self._stamp, self._now = model, stamp, now
        self._lock = threading.Lock()
        self._next = now() + SECONDS_BETWEEN_STAMPS
        self.sure_until = now()
        """Answers that had come by then (monotonic) are of this model."""
        self.changed = False
        """It is, or was meanwhile, another one."""

    def look(self, *, at_once: bool = False) -> None:
        """Ask the server, unless that was done a moment ago. One that does not answer leaves it open. For any thread."""
        with self._lock:
            begun = self._now()
            if self.changed or (begun < self._next and not at_once):
                return
            try:
                if self._model.stamp() == self._stamp:
                    self.sure_until = begun
                else:
                    self.changed = True
            except ServerError:
                pass
            ended = self._now()
            self._next = ended + max(SECONDS_BETWEEN_STAMPS, (ended - begun) / MOST_SHARE_OF_STAMPS)
