"""What looks at the model server tell together: which models are asked, which are leaving, since when there is none.

`expires_at` of a model in use can lie in the past (an answer longer than its keep-alive, answers that overlap): by itself it
does not tell use from leaving. It goes up when somebody is answered, and down when somebody unloads.
"""

from __future__ import annotations

from core.serving.modelserver import AFRESH_SECONDS, ServerView
from core.serving.replies import Resident

HANG_SECONDS = 30.0
"""A server that does not answer in its time for so long is taken for one that serves nobody."""
_JITTER_SECONDS = 0.5

Key = tuple[str, str | None]


def on_gpu(view: ServerView) -> tuple[Resident, ...]:
    """The models that have memory of the GPU; those that run on the CPU alone are in nobody's way."""
    return tuple(one for one in view.residents or () if one.size_vram_bytes != 0)


class Residency:
    """Follows the views of one server, in their order."""

    def __init__(self) -> None:
        self.active_at = 0.0
        """When a client was last seen to ask a model for something, in Unix seconds."""
        self.active_name = ""
        self._view = ServerView()
        self._empty_since: float | None = None
        self._silent_since: float | None = None
        self._leaving: set[Key] = set()
        self._keep_alive: dict[Key, float] = {}

    def follow(self, view: ServerView) -> None:
        """Take in the next view."""
        former, self._view = self._view, view
        if view.residents is None:
            self._silent_since = view.asked_at if self._silent_since is None else self._silent_since
            self._empty_since = None
            return
        self._silent_since = None
        unseen = view.asked_at - former.answered_at > AFRESH_SECONDS
        if on_gpu(view):
            self._empty_since = None
        elif self._empty_since is None or unseen:
            self._empty_since = view.asked_at
        before = {(one.name, one.digest): one for one in former.residents or ()}
        self._leaving &= {(one.name, one.digest) for one in view.residents}
        for one in view.residents:
            self._compare(one, before.get((one.name, one.digest)))

    def _compare(self, one: Resident, former: Resident | None) -> None:
        key, now = (one.name, one.digest), self._view.asked_at
        left = one.keep_alive_seconds(now)
        if left is not None:
            known = self._keep_alive.get(key, 0.0) if former is not None else 0.0
            self._keep_alive[key] = left if -1.0 in (left, known) else max(known, left)
        if former is None or former.expires_at is None or one.expires_at is None:
            asked = former is None
        elif one.expires_at < former.expires_at - _JITTER_SECONDS:
            if left == 0.0:
                self._leaving.add(key)
                return
            # Asked by somebody who wants it for less long than the one before.
            self._keep_alive[key], asked = left or 0.0, True
        else:
            in_use = left == 0.0 and key not in self._leaving
            asked = one.expires_at > former.expires_at + 0.01 or in_use
        if asked:
            self._leaving.discard(key)
            self.active_at, self.active_name = now, one.name

    def leaves(self, resident: Resident) -> bool:
        """Whether somebody has unloaded it and it only ends an answer."""
        return (resident.name, resident.digest) in self._leaving

    def keep_alive_seconds(self, resident: Resident) -> float | None:
        """How long it stays after each answer, as far as that was seen; -1 for ever, None not known."""
        return self._keep_alive.get((resident.name, resident.digest)) or None

    def empty_for(self, seconds: float) -> bool:
        """Whether nothing on the GPU was listed for so long, looked at often.

        A server that does not answer serves nobody, as far as can be told: the GPU tells what it left.
        """
        view = self._view
        if view.residents is None:
            silent = 0.0 if self._silent_since is None else view.answered_at - self._silent_since
            return view.asked_at > 0 and silent >= max(seconds, HANG_SECONDS if view.slow else 0.0)
        return self._empty_since is not None and view.asked_at - self._empty_since >= seconds

    def forget_times(self) -> None:
        """The clock was set back: what was seen before is of no moment any more."""
        self._empty_since = self._silent_since = None
        self.active_at = 0.0
