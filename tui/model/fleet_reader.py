"""The fleet as the store tells it: read beside the feed, again whenever somebody wrote to the database.

No server is asked here: what the runner saw of the aliases last stands in the store. Whether a model is in memory now, the
runner's state of the GPU and the records of the served models tell.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import BakehouseError
from core.failures import in_a_line
from core.home import Home

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow

LEAST_SECONDS = 0.25
REST = 10
"""Between two reads lie at least so many times the seconds that one took: at most 9 % of a core."""


@dataclass(frozen=True)
class FleetNow:
    """A row a task, then the aliases without one; of all projects. `problem`: why it could not be read."""

    rows: tuple[FleetRow, ...] = ()
    problem: str = ""


class FleetReader(threading.Thread):
    """Keeps `found` current (None: not read yet); `told` is called, from this thread, when it is another one."""

    def __init__(self, home: Home, told: Callable[[], None]) -> None:
        super().__init__(name="fleet-reader", daemon=True)
        self.home = home
        self.found: FleetNow | None = None
        self._told = told
        self._changed = threading.Event()
        self._stopped = threading.Event()

    def data_changed(self) -> None:
        self._changed.set()

    def stop(self) -> None:
        self._stopped.set()
        self._changed.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            self._changed.clear()
            started = time.monotonic()
            former, self.found = self.found, self._read()
            if former != self.found:
                self._told()
            self._stopped.wait(max(LEAST_SECONDS, REST * (time.monotonic() - started)))
            self._changed.wait()

    def _read(self) -> FleetNow:
        from core.fleet.rows import fleet_rows
        from core.store.database import open_database

        try:
            with contextlib.closing(open_database(self.home)) as connection:
                return FleetNow(tuple(fleet_rows(self.home, connection)))
        except (BakehouseError, OSError, sqlite3.Error, KeyError, TypeError, ValueError) as error:
            rows = () if self.found is None else self.found.rows
            said = (
                in_a_line(error) if isinstance(error, BakehouseError | OSError) else f"{type(error).__name__}: {error}"
            )
            return FleetNow(rows, f"the fleet cannot be read: {said}")
