"""Questions whose answer takes a while, of which only the newest counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tui.queries.failures import failure_line

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class LatestOnly(Generic[Question, Answer]):
    """Answers questions in a thread of its own, one at a time. What is asked meanwhile waits, and only the newest of it.

    `told(question, answer)` is called from that thread, and not for a question that a newer one has replaced: so an older
    answer never comes after a newer one. A question that cannot be answered, for whatever reason, is answered with
    `failed(question, line)`. The thread ends when nothing is asked.
    """

    def __init__(
        self,
        name: str,
        find: Callable[[Question], Answer],
        told: Callable[[Question, Answer], None],
        failed: Callable[[Question, str], Answer],
    ) -> None:
        self.name = name
        self.find = find
        self.failed = failed
        self.told = told
        self._lock = threading.Lock()
        self._waiting: list[Question] = []
        self._busy = False
        self._number = 0

    def ask(self, question: Question) -> None:
        with self._lock:
            self._waiting = [question]
            self._number += 1
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work, name=self.name, daemon=True).start()

    def forget(self) -> None:
        """Nothing that was asked so far is told any more."""
        with self._lock:
            self._waiting = []
            self._number += 1

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                question, number = self._waiting.pop(), self._number
            try:
                answer = self.find(question)
            except Exception as error:  # noqa: BLE001 - the failure becomes the answer, and the next question has a thread
                answer = self.failed(question, failure_line(error))
            with self._lock:
                newest = number == self._number
            if newest:
                self.told(question, answer)
