"""What has changed since each bake-off that is shown: looked for in files at intervals, and asked of the servers beside that.

A look reads every file of the project that a bake-off rests on, and hashes models once: for many bake-offs it takes seconds. So
the next one comes only after many times as long, and no key, no draw and no leaderboard waits for it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from core.crash_report import write_crash_report
from core.errors import BakehouseError
from core.home import Home
from core.store.database import open_database
from core.store.rescorings import ORIGINAL

if TYPE_CHECKING:  # pydantic stands behind them
    from core.jobfile.bakeoff import CandidateSpec
    from core.staleness.present_servers import Ask, ServedModelKey, Told
    from core.staleness.staleness import Staleness

LOOK_SECONDS = 15.0
REST = 25
"""Between two looks at files lie at least so many times the seconds that one took: at most 4 % of a core."""
ASK_SECONDS = 300.0
"""How old the answer of a server may get while nobody asks for a newer one."""

Watched = tuple[int, int, int]
"""(bake-off, answers, rescorings): another one of these has to be looked at now."""
WRONG_FILES = (BakehouseError, OSError, KeyError, TypeError, ValueError, sqlite3.Error)


@dataclass(frozen=True)
class Looked:
    """What was found so far. `found` is by bake-off and scores (None: the newest), `served` the bake-offs with a model of a
    server, `asked` when those were last asked, in Unix seconds."""

    found: Mapping[tuple[int, int | None], Staleness] = field(default_factory=dict)
    served: frozenset[int] = frozenset()
    asked: float | None = None
    asking: bool = False


def rest_seconds(took: float, least: float = LOOK_SECONDS) -> float:
    """How long nothing is looked at behind a look that took so many seconds."""
    return max(least, REST * took)


class StalenessReader(threading.Thread):
    """Keeps `looked` current for the bake-offs of `watch`; `told` is called, from any thread, when it is another one.

    `ask` is how a server is asked; None: as `core.staleness.present_servers` does.
    """

    def __init__(
        self,
        home: Home,
        told: Callable[[], None],
        *,
        look_seconds: float = LOOK_SECONDS,
        ask_seconds: float = ASK_SECONDS,
        ask: Ask | None = None,
    ) -> None:
        super().__init__(name="staleness-reader", daemon=True)
        self.home = home
        self.look_seconds, self.ask_seconds = look_seconds, ask_seconds
        self.looked = Looked()
        self._told = told
        self._ask = ask
        self._watched: frozenset[Watched] = frozenset()
        self._answers: tuple[Mapping[ServedModelKey, Told], float | None] = {}, None
        """What servers told, and when (Unix seconds)."""
        self._asking = False
        self._asked_at: float | None = None  # on the monotonic clock
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()

    def watch(self, bakeoffs: Collection[Watched]) -> None:
        """Look at these from now on; at once where one of them is new or has another result."""
        wanted = frozenset(bakeoffs)
        if wanted != self._watched:
            known = {job_id for job_id, _, _ in self._watched}
            self._watched = wanted
            if {job_id for job_id, _, _ in wanted} - known:
                self._asked_at = None  # its servers may not have been asked
            self._wake.set()

    def look_again(self) -> None:
        """Look at the files now: one that matters may have changed."""
        self._wake.set()

    def ask_again(self, older_than: float = 0.0) -> None:
        """Look at the files now, and ask the servers where their answers are older than so many seconds."""
        if self._asked_at is not None and time.monotonic() - self._asked_at >= older_than:
            self._asked_at = None
        self._wake.set()

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            started = time.monotonic()
            if self._watched:
                candidates = {job_id: self._served(job_id) for job_id, _, _ in self._watched}
                self._ask_where_due([one for of_job in candidates.values() for one in of_job])
                self._look(frozenset(job_id for job_id, served in candidates.items() if served))
            took = time.monotonic() - started
            self._wake.wait(rest_seconds(took, self.look_seconds))

    def _served(self, job_id: int) -> list[CandidateSpec]:
        """The candidates of a bake-off that a server answers for."""
        from core.results.load import bakeoff_file

        with contextlib.suppress(*WRONG_FILES):  # its leaderboard says what is wrong with its files
            return [one for one in bakeoff_file(self.home, job_id)[1].candidates if one.form == "served"]
        return []

    def _look(self, served: frozenset[int]) -> None:
        from core.staleness.staleness import staleness

        # In this order: once nobody is being asked, the answers are there.
        asking, (identities, asked) = self._asking, self._answers
        found: dict[tuple[int, int | None], Staleness] = {}
        with contextlib.suppress(*WRONG_FILES), contextlib.closing(open_database(self.home)) as connection:
            for job_id, number in self._wanted():
                if self._stopped.is_set():
                    return
                with contextlib.suppress(*WRONG_FILES):  # its leaderboard says what is wrong with its files
                    found[job_id, number] = staleness(self.home, connection, job_id, number, told=identities)
        self._say(found=found, served=served, asked=asked, asking=asking)

    def _wanted(self) -> Iterator[tuple[int, int | None]]:
        """Each bake-off, the newest first, under the scores that count, and under the original ones where there are others."""
        for job_id, _, rescorings in sorted(self._watched, reverse=True):
            yield job_id, None
            if rescorings:
                yield job_id, ORIGINAL

    def _ask_where_due(self, candidates: list[CandidateSpec]) -> None:
        """Ask the servers in a thread: the one that looks at files goes on meanwhile."""
        now = time.monotonic()
        is_due = self._asked_at is None or now - self._asked_at >= self.ask_seconds
        if not candidates or self._asking or not is_due:
            return
        self._asked_at, self._asking = now, True
        self._say(asking=True)
        threading.Thread(target=self._ask_now, args=(candidates,), name="ask-servers", daemon=True).start()

    def _ask_now(self, candidates: list[CandidateSpec]) -> None:
        from core.staleness.present_servers import ask_server, ask_servers

        identities: Mapping[ServedModelKey, Told] = {}
        try:
            identities = ask_servers(candidates, self._ask or ask_server)
        except Exception as error:  # noqa: BLE001 - nothing is known of the servers then, and a file has the details
            write_crash_report(error, "Asking the servers of a bake-off")
        self._answers = identities, time.time()
        self._asking = False
        self._wake.set()

    def _say(self, **found: Any) -> None:
        with self._lock:
            former = self.looked
            self.looked = replace(former, **found)
            is_new = former != self.looked
        if is_new:
            self._told()
