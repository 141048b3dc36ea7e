"""What looks at the model server tell together: which models are asked, which are leaving, since when there is none.

`expires_at` of a model in use can lie in the past (an answer longer than its keep-alive, answers that overlap): by itself it
does not tell use from leaving. It goes up when somebody is answered, and down when somebody unloads. It is a time of day, so
how long a model would still stay is counted from where that time was first seen: a clock that is set changes nothing then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.clock import NEVER
from core.serving.modelserver import AFRESH_SECONDS, ServerView
from core.serving.replies import FOREVER_SECONDS, Resident

HANG_SECONDS = 30.0
"""A server that does not answer in its time for so long is taken for one that serves nobody."""
FOREVER = -1.0
_JITTER_SECONDS = 0.5
_SET_SECONDS = 1.0
"""Time of day and monotonic time that differ by more from one look to the next: a clock was set, or the machine slept."""

Key = tuple[str, str | None]


def on_gpu(view: ServerView) -> tuple[Resident, ...]:
    """The models that have memory of the GPU; those that run on the CPU alone are in nobody's way."""
    return tuple(one for one in view.residents or () if holds_gpu(one))


def holds_gpu(resident: Resident) -> bool:
    """Whether a model may have memory of the GPU: one whose server does not say how much is taken to have some."""
    return resident.size_vram_bytes != 0


@dataclass
class _Seen:
    """One listed model. `stays_until` in monotonic seconds, inf for ever, None where it cannot be told."""

    expires_at: float | None
    stays_until: float | None
    keep_alive: float = 0.0
    leaving: bool = False


class ServerActivity:
    """Follows the views of one server, in their order. Moments are monotonic seconds."""

    def __init__(self) -> None:
        self.active_at = NEVER
        """When a client was last seen to ask a model for something."""
        self.active_name = ""
        self._view = ServerView()
        self._empty_since: float | None = None
        self._silent_since: float | None = None
        self._seen: dict[Key, _Seen] = {}

    def follow(self, view: ServerView) -> None:
        """Take in the next view."""
        former, self._view = self._view, view
        if view.residents is None:
            self._silent_since = view.asked_at if self._silent_since is None else self._silent_since
            self._empty_since = None
            # Whoever answers next may have other models under these names.
            self._seen = {}
            return
        self._silent_since = None
        unseen = view.asked_at - former.answered_at > AFRESH_SECONDS
        if on_gpu(view):
            self._empty_since = None
        elif self._empty_since is None or unseen:
            self._empty_since = view.asked_at
        elapsed = (view.asked_time - former.asked_time) - (view.asked_at - former.asked_at)
        was_set = former.asked_at > NEVER and abs(elapsed) > _SET_SECONDS
        before, self._seen = self._seen, {}
        for one in view.residents:
            key = (one.name, one.digest)
            self._seen[key] = self._compare(one, before.get(key), was_set=was_set)

    def stays_seconds(self, resident: Resident) -> float | None:
        """How long it would still stay from the last look on; `FOREVER`, or None where that is not known."""
        seen = self._seen.get((resident.name, resident.digest))
        if seen is None or seen.stays_until is None:
            return None
        return FOREVER if seen.stays_until == math.inf else max(0.0, seen.stays_until - self._view.asked_at)

    def leaves(self, resident: Resident) -> bool:
        """Whether somebody has unloaded it and it only ends an answer."""
        seen = self._seen.get((resident.name, resident.digest))
        return seen is not None and seen.leaving

    def keep_alive_seconds(self, resident: Resident) -> float | None:
        """How long it stays after each answer, as far as that was seen; `FOREVER`, or None where it is not known."""
        seen = self._seen.get((resident.name, resident.digest))
        return None if seen is None else seen.keep_alive or None

    def empty_for(self, seconds: float) -> bool:
        """Whether nothing on the GPU was listed for so long, looked at often.

        A server that does not answer serves nobody, as far as can be told: the GPU tells what it left.
        """
        view = self._view
        if view.residents is None:
            silent = 0.0 if self._silent_since is None else view.answered_at - self._silent_since
            return view.asked_at > NEVER and silent >= max(seconds, HANG_SECONDS if view.slow else 0.0)
        return self._empty_since is not None and view.asked_at - self._empty_since >= seconds

    @property
    def emptied_at(self) -> float:
        """Since when nothing on the GPU is listed, or nobody answers; only a reading from after that tells what was left."""
        moments = (self._empty_since, self._silent_since)
        return max((moment for moment in moments if moment is not None), default=NEVER)

    def _compare(self, one: Resident, former: _Seen | None, *, was_set: bool) -> _Seen:
        seen = _Seen(one.expires_at, self._stays_until(one, former, was_set=was_set))
        left = None if seen.stays_until is None else seen.stays_until - self._view.asked_at
        expired = left is not None and left <= 0.0
        if former is not None:
            seen.keep_alive, seen.leaving = former.keep_alive, former.leaving
        if left is not None:
            seen.keep_alive = _longest(seen.keep_alive, left)
        if former is None or one.expires_at is None or former.expires_at is None:
            asked = former is None
        elif one.expires_at < former.expires_at - _JITTER_SECONDS:
            if expired:
                seen.leaving = True
                return seen
            # Asked by somebody who wants it for less long than the one before.
            seen.keep_alive, asked = _longest(0.0, left or 0.0), True
        else:
            asked = one.expires_at > former.expires_at + 0.01 or (expired and not seen.leaving)
        if asked:
            seen.leaving = False
            self.active_at, self.active_name = self._view.asked_at, one.name
        return seen

    def _stays_until(self, one: Resident, former: _Seen | None, *, was_set: bool) -> float | None:
        if one.expires_at is None:
            return None
        if former is not None and one.expires_at == former.expires_at:
            return former.stays_until
        if was_set:
            return None  # written before the clock was set, or after: nobody knows
        left = one.expires_at - self._view.asked_time
        return math.inf if left > FOREVER_SECONDS else self._view.asked_at + left


def _longest(known: float, left: float) -> float:
    """How long it stays after an answer: the longest that was seen, as the last whole wish of a client tells it."""
    if left == math.inf:
        return FOREVER
    return max(0.0, left) if known == FOREVER else max(known, left)
