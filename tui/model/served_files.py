"""The home's served models as their files tell them, for the feed's thread."""

from __future__ import annotations

import time
from dataclasses import dataclass

from core.home import Home
from core.served.record import ServedModelRecord, UnreadableRecord, read_records
from core.served.state import ServedState, memory_bytes, read_state

LOOK_SECONDS = 1.0
TOLD_BYTES = 10_000_000
"""By how much what it holds has to change to be told anew."""


@dataclass(frozen=True)
class ServedNow:
    """A served model and what it does now; of one whose record cannot be read (`error`) only the name is known.

    `host_bytes`: what its llama-server holds of the host's memory.
    """

    name: str
    record: ServedModelRecord | None = None
    state: ServedState | None = None
    host_bytes: int | None = None
    error: str = ""

    @property
    def is_running(self) -> bool:
        """It serves, or will without anybody's act."""
        return self.state is not None and self.state.phase != "stopped"


class ServedFiles:
    """Looks once a second: a state changes by a process that tells nobody."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.found: tuple[ServedNow, ...] = ()
        self._looked = -LOOK_SECONDS

    def read(self) -> tuple[ServedNow, ...]:
        passed = time.monotonic()
        if passed - self._looked >= LOOK_SECONDS:
            self._looked = passed
            records, unreadable = read_records(self.home)
            found = [*map(self._now, records), *map(_without_record, unreadable)]
            self.found = tuple(sorted(found, key=lambda one: one.name))
        return self.found

    def _now(self, record: ServedModelRecord) -> ServedNow:
        state = read_state(self.home, record.name)
        held = memory_bytes(state)
        told = None if held is None else round(held / TOLD_BYTES) * TOLD_BYTES
        return ServedNow(record.name, record, state, told)


def _without_record(one: UnreadableRecord) -> ServedNow:
    return ServedNow(one.name, error=one.error)
