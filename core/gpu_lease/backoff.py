"""When clearing the GPU that came to nothing is tried again: later each time, and not while what was left over is there."""

from __future__ import annotations

from core.clock import NEVER, Clock
from core.reasons import Reason

LONGEST_SECONDS = 1800.0
_DOUBLINGS = 10
_SHIFT_SECONDS = 2.0
CALM_SECONDS = 10.0
"""What was left over has gone when it has been less for so long: the GPU and the server are looked at one after the other, and
while a model comes or goes the difference of both tells nothing."""


class Backoff:
    """Why clearing came to nothing the last time, and until when it is not tried again."""

    def __init__(self, clock: Clock, retry_seconds: float, tolerance_bytes: int) -> None:
        self.clock = clock
        self.retry_seconds = retry_seconds
        self.tolerance_bytes = tolerance_bytes
        self._reason: Reason | None = None
        self._failures = 0
        self._until = NEVER
        self._retry_time = 0.0
        self._left_over: int | None = None
        self._less_since: float | None = None

    def give_up(self, reason: Reason, left_over_bytes: int | None) -> None:
        """`left_over_bytes`: what stayed in the way although no model was listed any more, None where some still was."""
        pause = min(self.retry_seconds * 2 ** min(self._failures, _DOUBLINGS), LONGEST_SECONDS)
        self._failures, self._until, self._left_over = (
            self._failures + 1,
            self.clock.monotonic() + pause,
            left_over_bytes,
        )
        self._reason = reason

    def waits(self, left_over_bytes: int) -> Reason | None:
        """The reason, while it is too early or nothing has changed: nobody's models are moved for a second try at the same.

        With `retry_at`, in Unix seconds, where only the time is waited for.
        """
        if self._reason is None:
            return None
        now = self.clock.monotonic()
        if self._left_over is not None and left_over_bytes < self._left_over - self.tolerance_bytes:
            self._less_since = now if self._less_since is None else self._less_since
            if now - self._less_since >= CALM_SECONDS:
                self._left_over = None
        else:
            self._less_since = None
        if self._left_over is not None:
            return self._reason
        remaining = self._until - now
        if remaining <= 0:
            return None
        return Reason(self._reason.code, {**self._reason.values, "retry_at": self._shown(remaining)})

    def succeeded(self) -> None:
        self._failures, self._reason, self._left_over, self._until = 0, None, None, NEVER

    def _shown(self, remaining: float) -> float:
        """The time of day of the next try: the same at each call, unless the clock has been set meanwhile."""
        retry_time = self.clock.time() + remaining
        if abs(retry_time - self._retry_time) > _SHIFT_SECONDS:
            self._retry_time = float(round(retry_time))
        return self._retry_time
