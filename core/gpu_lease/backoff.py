"""When clearing the GPU that came to nothing is tried again: later each time, and not while what was left over is there."""

from __future__ import annotations

import time

LONGEST_SECONDS = 1800.0
_DOUBLINGS = 10


class Backoff:
    """`reason` is why it came to nothing the last time. Moments are Unix seconds."""

    def __init__(self, retry_seconds: float, tolerance_bytes: int) -> None:
        self.retry_seconds = retry_seconds
        self.tolerance_bytes = tolerance_bytes
        self.reason = ""
        self._failures = 0
        self._until = 0.0
        self._left_over: int | None = None

    def give_up(self, now: float, reason: str, left_over_bytes: int | None) -> None:
        """`left_over_bytes`: what stayed in the way although no model was listed any more, None where some still was."""
        pause = min(self.retry_seconds * 2 ** min(self._failures, _DOUBLINGS), LONGEST_SECONDS)
        self._failures, self._until, self._left_over = self._failures + 1, now + pause, left_over_bytes
        again = f": tried again at {time.strftime('%H:%M:%S', time.localtime(self._until))}"
        self.reason = reason + (again if left_over_bytes is None else "")

    def waits(self, now: float, left_over_bytes: int) -> str | None:
        """The reason, while it is too early or nothing has changed: nobody's models are moved for a second try at the same."""
        if self._left_over is not None and left_over_bytes < self._left_over - self.tolerance_bytes:
            self._left_over = None
        return self.reason if now < self._until or self._left_over is not None else None

    def succeeded(self) -> None:
        self._failures, self._left_over = 0, None

    def clock_was_set_back(self, now: float) -> None:
        self._until = min(self._until, now)
