"""What happened to the GPU: the newest notes, each a code with its values. Trouble that goes on is noted once in a while."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.clock import Clock
from core.reasons import Reason

Level = Literal["ok", "warn", "bad"]
KEPT_NOTES = 20
SAME_NOTE_SECONDS = 600.0


@dataclass(frozen=True)
class Note:
    """Something that happened to the GPU. `time` in Unix seconds."""

    time: float
    reason: Reason
    level: Level = "ok"

    def to_json(self) -> dict[str, Any]:
        return {"time": self.time, "level": self.level, **self.reason.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Note:
        """Raises ValueError when the document is no note."""
        moment, level = document.get("time"), document.get("level", "ok")
        if not isinstance(moment, int | float) or level not in ("ok", "warn", "bad"):
            raise ValueError(f"not a note: {document!r}")
        return cls(float(moment), Reason.from_json(document), level)


class Notes:
    """The notes of one GPU, those of the former runner before its own. `add` of a repeated trouble does nothing."""

    def __init__(self, clock: Clock, former: tuple[Note, ...] = ()) -> None:
        self.clock = clock
        self.kept = former[-KEPT_NOTES:]
        self._noted_at: dict[str, float] = {}
        now, monotonic = clock.time(), clock.monotonic()
        for note in former:
            # Of another process only the time of day is known. One that has not come yet was noted before a clock was set.
            if 0 <= now - note.time < SAME_NOTE_SECONDS:
                self._noted_at[_key(note.reason)] = monotonic - (now - note.time)

    def add(self, reason: Reason, level: Level = "ok") -> None:
        now, key = self.clock.monotonic(), _key(reason)
        self._noted_at = {one: at for one, at in self._noted_at.items() if now - at < SAME_NOTE_SECONDS}
        if level != "ok":
            if key in self._noted_at:
                return
            self._noted_at[key] = now
        self.kept = (*self.kept, Note(self.clock.time(), reason, level))[-KEPT_NOTES:]


def _key(reason: Reason) -> str:
    """Equal for equal reasons: same code, same values."""
    return json.dumps(reason.to_json(), sort_keys=True)
