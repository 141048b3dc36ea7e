"""Carries asked moves of aliases on, whoever asked for them and however many runners died over them.

A part of the runner, called at each of its rounds; nothing in it waits. What may wait for a server runs in a thread of its own,
one at a time for each server, and reads and writes no database. An open change is stored before anything is done on a server
(`kept`), and ended in one transaction with the alias' new version, so the two never tell different things: who finds an open
change looks at the server first.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeAlias

from core.aliases.background import BackgroundWork, Begin, in_a_thread
from core.aliases.commit import end_change, keeps_now
from core.aliases.digests import is_same
from core.aliases.move import Ended, Move, Ready, carry_out, look, maybe_done
from core.aliases.places import WAITING_PHASES, AliasPlace, KeptNames, NotNowError
from core.clock import NEVER, SYSTEM_CLOCK, Clock
from core.errors import BakehouseError
from core.reasons import Reason
from core.store.database import transaction
from core.store.fleet import (
    LLAMA_SERVER,
    Alias,
    AliasVersion,
    aliases,
    get_alias,
    get_version,
    tasks_of,
    versions_by_id,
)
from core.store.fleet_changes import (
    FleetChange,
    add_note,
    open_change_of,
    open_changes,
    set_kept_names,
    set_phase,
)
from core.store.fleet_reasons import change_reason

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
"""How long after a try that came to nothing the next one is made: twice as long each time."""
KEEP_EVERY_SECONDS = 300.0
OBSERVE_EVERY_SECONDS = 30.0
REST_SECONDS = 5.0
"""A person who stops the runner is told after ten that it has not gone."""

OpenPlace: TypeAlias = Callable[[Alias, Sequence[str], Collection[str]], AliasPlace]
"""The place of an alias, given the projects whose settings may name its server, and the digests of the other aliases there."""
Then: TypeAlias = Callable[[BackgroundWork[Any]], None]


class Observing(Protocol):
    """What looks at aliases now and then."""

    def prepare(self, connection: sqlite3.Connection) -> Callable[[], Any] | None:
        """What is to be asked, for a thread that may wait; None where there is nothing to ask. In the runner's thread."""

    def store(self, connection: sqlite3.Connection, observed: Any) -> None:
        """Keep what came of it. In the runner's thread, within a transaction."""


@dataclass
class _Task:
    """A piece of work on a server, and what is done with its result: that is tried again until the store has taken it."""

    work: BackgroundWork[Any]
    then: Then
    change_id: int | None = None


class AliasKeeper:
    """`open_place` makes the place of an alias, `begin` has work done beside: a test has its own."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        open_place: OpenPlace,
        *,
        observing: Observing | None = None,
        clock: Clock = SYSTEM_CLOCK,
        begin: Begin = in_a_thread,
    ) -> None:
        self.connection, self.clock = connection, clock
        self._open_place, self._observing, self._begin = open_place, observing, begin
        self._tasks: dict[tuple[str, str], _Task] = {}
        self._observation: BackgroundWork[Any] | None = None
        self._observe_at = NEVER
        self._found = frozenset(change.id for change in open_changes(connection))
        """Changes that an earlier runner left open."""
        self._looked: set[int] = set()
        self._sent = {change.id for change in open_changes(connection) if change.kept is not None}
        """Changes whose alias may have been touched."""
        self._pauses: dict[int, tuple[float, float]] = {}
        """Of a change that has to be tried again: when, and how long the pause before it was."""
        self._keep_at: dict[int, float] = {}
        self._told: dict[int, str] = {}
        """Why a change waits, as the log has it."""

    @property
    def busy(self) -> bool:
        """Whether something is under way that this runner has to bring to its end."""
        return bool(self._tasks) or self._observation is not None or bool(open_changes(self.connection))

    def tick(self) -> None:
        """One round. Raises StoreError; what was done on servers is taken in by the next one."""
        for server, task in list(self._tasks.items()):
            self._show_phase(task)
            if task.work.ended:
                task.then(task.work)
                # A task that follows at once stands there already.
                if self._tasks.get(server) is task:
                    del self._tasks[server]
        now = self.clock.monotonic()
        for change in open_changes(self.connection):
            if now >= self._pauses.get(change.id, (NEVER, 0.0))[0]:
                self._go_on_with(change)
        self._keep_what_serves(now)
        self._observe(now)

    def rest(self) -> None:
        """Before the runner ends: what was begun with an alias is brought to a point at which it serves or loads, if that does
        not take long. The next runner goes on."""
        until = time.monotonic() + REST_SECONDS
        for task in self._tasks.values():
            if task.change_id is not None:
                task.work.wait(max(0.0, until - time.monotonic()))

    # Moves.

    def _go_on_with(self, change: FleetChange) -> None:
        alias = get_alias(self.connection, change.alias_id)
        if self._is_busy(alias):
            return
        move, opened = self._move_of(change, alias), self._opened(alias, change)
        if change.id in self._looked:
            self._start(
                alias, lambda tell: _with(opened, lambda place: carry_out(place, move, tell)), self._carried, change
            )
        else:
            self._start(alias, lambda tell: _with(opened, lambda place: look(place, move)), self._seen, change)

    def _move_of(self, change: FleetChange, alias: Alias) -> Move:
        former = None if change.from_version is None else get_version(self.connection, change.from_version)
        kept = None if change.kept is None else KeptNames(**change.kept)
        return Move(alias, former, change.target, kept, change.id in self._sent, change.to_version is None)

    def _seen(self, work: BackgroundWork[Ready | Ended], change: FleetChange) -> None:
        try:
            found = work.result()
        except NotNowError as error:
            self._wait(change, error.code)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is known of the server
            self._not_seen(change, error)
        else:
            if isinstance(found, Ended):
                self._end(change, found)
                return
            with durably(self.connection):
                set_kept_names(self.connection, change.id, found.target, asdict(found.kept), "placing")
            self._looked.add(change.id)

    def _not_seen(self, change: FleetChange, error: Exception) -> None:
        """A change that has done nothing yet ends here; any other waits for its server."""
        if change.kept is not None:
            self._try_again(change, error)
            return
        message = error.message if isinstance(error, BakehouseError) else repr(error)
        code: Any = "server_away" if maybe_done(error) else "move_refused"
        self._end(change, Ended("failed", change_reason(code, message=message), None))

    def _carried(self, work: BackgroundWork[Ended], change: FleetChange) -> None:
        if "placing" in work.phases:
            self._sent.add(change.id)
        try:
            ended = work.result()
        except NotNowError as error:
            self._wait(change, error.code, on_its_way=True)
        except Exception as error:  # noqa: BLE001 - as above
            self._try_again(change, error)
        else:
            self._end(change, ended)

    def _try_again(self, change: FleetChange, error: Exception) -> None:
        if not isinstance(error, BakehouseError | OSError):
            log.error("A move of an alias failed and is tried again.", exc_info=error)
        elif self._told.get(change.id) != str(error):
            self._told[change.id] = str(error)
            log.warning("Change %d of the fleet waits for its server: %s", change.id, error)
        self._wait(change, "waiting_server")

    def _wait(self, change: FleetChange, phase: str, *, on_its_way: bool = False) -> None:
        """Ask again in a moment what is on its way; else look again, after a pause that is longer each time."""
        if change.phase != phase:
            with transaction(self.connection):
                set_phase(self.connection, change.id, phase)
        _, last = self._pauses.get(change.id, (NEVER, 0.0))
        pause = FIRST_PAUSE_SECONDS if on_its_way else min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * last))
        self._pauses[change.id] = (self.clock.monotonic() + pause, pause)
        if not on_its_way:
            self._looked.discard(change.id)

    def _end(self, change: FleetChange, ended: Ended) -> None:
        by_next = change.id in self._found
        with durably(self.connection):
            version = end_change(self.connection, change.id, ended, after_restart=by_next, now=self.clock.time())
        self._looked.discard(change.id)
        self._pauses.pop(change.id, None)
        alias = get_alias(self.connection, change.alias_id)
        why = "" if ended.reason is None else f", {ended.reason.code} {dict(ended.reason.values)}"
        found = ", which an earlier runner had left open" if by_next else ""
        log.info("Change %d of %s%s: %s%s.", change.id, alias.name, found, ended.state, why)
        if version is not None:
            former = None if change.from_version is None else get_version(self.connection, change.from_version)
            self._settle(alias, former, change)

    def _settle(self, alias: Alias, former: AliasVersion | None, change: FleetChange) -> None:
        opened, target = self._opened(alias, change), change.target
        work = self._work(lambda tell: _with(opened, lambda place: place.settle(alias, former, target)))
        self._tasks[_server(alias)] = _Task(work, lambda ended: self._settled(ended, change))

    def _settled(self, work: BackgroundWork[Reason | None], change: FleetChange) -> None:
        try:
            news = work.result()
        except Exception as error:  # noqa: BLE001 - the move is done; what is left goes by itself
            log.warning("After a move of an alias its server was not tidied up: %s", error)
            return
        if news is not None and change.kind == "promote":
            with transaction(self.connection):
                add_note(self.connection, change.alias_id, news, task=change.task, change_id=change.id)

    # What serves is kept.

    def _keep_what_serves(self, now: float) -> None:
        """Have servers keep what aliases were adopted as: whatever becomes of an alias, there is a way back to that."""
        for alias_id, version_id in _not_kept(self.connection):
            if now < self._keep_at.get(version_id, NEVER):
                continue
            alias, version = get_alias(self.connection, alias_id), get_version(self.connection, version_id)
            if self._is_busy(alias):
                continue
            if open_change_of(self.connection, alias.id) is not None:
                continue
            self._keep_at[version.id] = now + KEEP_EVERY_SECONDS
            self._keep(alias, version)

    def _keep(self, alias: Alias, version: AliasVersion) -> None:
        opened = self._opened(alias, None)
        work = self._work(lambda tell: _with(opened, lambda place: _keep(place, alias, version)))
        self._tasks[_server(alias)] = _Task(work, lambda ended: self._kept(ended, alias, version))

    def _kept(self, work: BackgroundWork[str | None], alias: Alias, version: AliasVersion) -> None:
        try:
            name = work.result()
        except Exception as error:  # noqa: BLE001 - it is tried again
            log.warning("What %s is now is not kept under another name yet: %s", alias.name, error)
            return
        if name is not None:
            with transaction(self.connection):
                keeps_now(self.connection, version.id, name)

    # What aliases are now.

    def _observe(self, now: float) -> None:
        if self._observing is None:
            return
        if self._observation is not None:
            if not self._observation.ended:
                return
            ended, self._observation = self._observation, None
            self._observe_at = now + OBSERVE_EVERY_SECONDS
            try:
                observed = ended.result()
            except Exception as error:
                log.warning("The aliases were not looked at: %s", error, exc_info=error)
                return
            with transaction(self.connection):
                self._observing.store(self.connection, observed)
        elif now >= self._observe_at:
            self._observe_at = now + OBSERVE_EVERY_SECONDS
            ask = self._observing.prepare(self.connection)
            if ask is not None:
                self._observation = self._work(lambda tell: ask())

    # Work beside.

    def _work(self, function: Callable[[Callable[[str], None]], Any]) -> BackgroundWork[Any]:
        return BackgroundWork(function, self._begin)

    def _start(
        self,
        alias: Alias,
        function: Callable[[Callable[[str], None]], Any],
        then: Callable[[BackgroundWork[Any], FleetChange], None],
        change: FleetChange,
    ) -> None:
        self._tasks[_server(alias)] = _Task(self._work(function), lambda work: then(work, change), change.id)

    def _is_busy(self, alias: Alias) -> bool:
        return _server(alias) in self._tasks

    def _opened(self, alias: Alias, change: FleetChange | None) -> Callable[[], AliasPlace]:
        """How the place of an alias is made, with all that it has to know of the store."""
        roots = [task.project_root for task in tasks_of(self.connection, alias.id)]
        if change is not None and change.project_root is not None:
            roots.insert(0, change.project_root)
        beside = [one for one in aliases(self.connection) if _server(one) == _server(alias) and one.id != alias.id]
        present = versions_by_id(self.connection, {one.version_id for one in beside if one.version_id is not None})
        in_use = frozenset(version.digest for version in present.values() if version.digest is not None)
        return lambda: self._open_place(alias, roots, in_use)

    def _show_phase(self, task: _Task) -> None:
        phase = task.work.phase
        if task.change_id is None or phase is None or task.work.ended:
            return
        change = next((one for one in open_changes(self.connection) if one.id == task.change_id), None)
        # What waits is asked again and again: that begins with the same steps each time, which say nothing.
        if change is None or change.phase == phase or (change.phase in WAITING_PHASES and phase != "verifying"):
            return
        with transaction(self.connection):
            set_phase(self.connection, change.id, phase)


@contextmanager
def durably(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that outlives a loss of power once it is committed; others of this store outlive the end of a process."""
    connection.execute("PRAGMA synchronous = full")
    try:
        with transaction(connection):
            yield
    finally:
        connection.execute("PRAGMA synchronous = normal")


def _with(opened: Callable[[], AliasPlace], function: Callable[[AliasPlace], Any]) -> Any:
    with closing(opened()) as place:
        return function(place)


def _keep(place: AliasPlace, alias: Alias, version: AliasVersion) -> str | None:
    """Have the server keep what the alias is, if it still is that; the name it is kept under."""
    there = place.look(alias)
    if there is None or not is_same(there.digest, version.digest):
        return None
    kept = place.choose_kept(alias, version, replace(version.as_target(), kept_as=None)).former
    if kept is not None:
        place.keep_former(alias, version, kept)
    return kept


def _server(alias: Alias) -> tuple[str, str]:
    return alias.server, alias.url


def _not_kept(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Tags of an Ollama whose present version no other tag keeps, as ids of alias and version. Asked for in each round: mostly
    there is none, or it was tried a moment before."""
    rows = connection.execute(
        """
        SELECT aliases.id AS alias_id, version_id FROM aliases JOIN alias_versions ON alias_versions.id = version_id
        WHERE kept_as IS NULL AND server <> ?
        """,
        [LLAMA_SERVER],
    ).fetchall()
    return [(row["alias_id"], row["version_id"]) for row in rows]
