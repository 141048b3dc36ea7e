"""What aliases are now: their servers are asked side by side, none of them for longer than a few seconds.

Somebody else's change of an alias is noticed by the digest of what is there, and is told once. A move of Bakehouse's own that
happens meanwhile is none: what was asked before the move says nothing about the alias after it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from core.aliases.digests import is_same
from core.aliases.foreign import note_found
from core.config.project import load_project
from core.config.settings import load_settings
from core.errors import BakehouseError, NotFoundError
from core.home import Home
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.servers import home_server, known_servers, login_of, opened
from core.reasons import Reason
from core.served.record import ServedModelRecord, read_record
from core.served.state import Phase, read_state
from core.serving.answering import ServedIdentity
from core.serving.errors import ServerError
from core.serving.ollama import Ollama
from core.serving.replies import Resident, Tag, name_key, template_hash
from core.serving.servers import address_of, key_of
from core.serving.side_by_side import ask_side_by_side
from core.store.fleet import Alias, AliasVersion, aliases, fleet_tasks, get_version, set_observed
from core.store.fleet_changes import FleetNote, newest_change_of_each, notes, open_changes

log = logging.getLogger(__name__)

KnownServers: TypeAlias = Mapping[tuple[str, str], ServerUnderTest]
"""Servers of settings by name and address: two projects may call two servers by one name."""
SERVER_SECONDS = 5.0
"""How long one server is waited for, whatever it does meanwhile."""


@dataclass(frozen=True)
class Observed:
    """What a server said of an alias at `at` (Unix seconds). `digest` is None where there is nothing under the name, and where
    `error` says why nothing is known; otherwise as `Placed` has it.

    `resident`: whether the model is in memory, and `vram_bytes` what it holds of the GPU; None where that is not known.
    `template` is the hash of the chat template that runs, as a bake-off's `ServedIdentity` has it. `phase` is that of a served
    model of this home.
    """

    at: float
    digest: str | None = None
    server_version: str | None = None
    error: Reason | None = None
    template: str | None = None
    size_bytes: int | None = None
    resident: bool | None = None
    vram_bytes: int | None = None
    phase: Phase | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the server answered, and has nothing under the name."""
        return self.error is None and self.digest is None


@dataclass(frozen=True)
class LookedAt:
    """The aliases that are to be looked at, and the newest change of each by then (0: none)."""

    aliases: tuple[Alias, ...]
    newest_change: Mapping[int, int]


def to_look_at(connection: sqlite3.Connection) -> LookedAt:
    """All aliases that are in no move."""
    moving = {one.alias_id for one in open_changes(connection)}
    at_rest = tuple(one for one in aliases(connection) if one.id not in moving)
    return LookedAt(at_rest, newest_change_of_each(connection))


class AliasObserver:
    """What a runner looks at aliases by, now and then: it remembers what it saw last, so that little is asked again."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._former: Mapping[int, Observed] = {}

    def prepare(self, connection: sqlite3.Connection) -> Callable[[], tuple[LookedAt, dict[int, Observed]]] | None:
        """What asks the servers, for a thread that may wait; None where there is nothing to ask."""
        looked_at, former = to_look_at(connection), self._former
        roots = dict.fromkeys(one.project_root for one in fleet_tasks(connection))
        if not looked_at.aliases:
            return None
        return lambda: (looked_at, observe(self.home, looked_at.aliases, all_servers(roots), former))

    def store(self, connection: sqlite3.Connection, observed: tuple[LookedAt, dict[int, Observed]]) -> None:
        """Keep what came of it, in a transaction."""
        looked_at, self._former = observed
        for note in store_observed(connection, looked_at, self._former):
            log.warning("Alias %d: %s %s", note.alias_id, note.reason.code, dict(note.reason.values))


def all_servers(project_roots: Iterable[str] = ()) -> KnownServers:
    """The servers that this person's settings name, and those that only the settings of these projects do."""
    found: dict[tuple[str, str], ServerUnderTest] = {}
    for root in (None, *project_roots):
        # An alias of settings that cannot be read is asked at its own address, without a key.
        with contextlib.suppress(BakehouseError, OSError):
            settings = load_settings() if root is None else load_project(Path(root)).settings
            found = {(one.name, one.url): one for one in known_servers(settings).values()} | found
    return found


def observe(
    home: Home,
    asked: Collection[Alias],
    servers: KnownServers,
    former: Mapping[int, Observed] | None = None,
    seconds: float = SERVER_SECONDS,
) -> dict[int, Observed]:
    """What each alias is now, by its id. `servers` are those of the settings: they know the keys.

    A server is asked for all of its aliases at once, and of a model that is the same as in `former` on a server of the same
    version it is not asked for the template again. A server that did not answer in time is an error of each of its aliases.
    """
    by_place: dict[tuple[str, str, str], list[Alias]] = {}
    for one in asked:
        by_place.setdefault((one.server, one.url, one.name if one.is_served_here else ""), []).append(one)
    until, known = time.monotonic() + seconds, former or {}

    def ask(of_server: Sequence[Alias]) -> dict[int, Observed]:
        if of_server[0].is_served_here:
            return {one.id: _served(home, one) for one in of_server}
        return _in_ollama(server_of(of_server[0], servers), of_server, known, until)

    answers = ask_side_by_side(
        by_place, ask, seconds=seconds, server_of=lambda place: place, is_away=lambda _: False, most_at_once=1
    )
    slow = Reason("server_slow", {"seconds": seconds})
    found = {one.id: Observed(time.time(), error=slow) for one in asked}
    for answer in answers.values():
        found |= answer
    return found


def server_of(alias: Alias, servers: KnownServers) -> ServerUnderTest:
    """The Ollama of an alias: as the settings have it, else by its address alone."""
    known = servers.get((alias.server, alias.url))
    return known or ServerUnderTest(name=alias.server, api="ollama", url=alias.url)


def brief_ollama(server: ServerUnderTest, seconds: float = SERVER_SECONDS) -> Ollama:
    """A client that waits for no answer longer than this. InputError as in `open_served`."""
    return Ollama(login_of(server) or address_of(server), key=key_of(server), timeout_seconds=seconds)


def _in_ollama(
    server: ServerUnderTest, asked: Sequence[Alias], former: Mapping[int, Observed], until: float
) -> dict[int, Observed]:
    now = time.time()
    try:
        with brief_ollama(server) as ollama:
            version, tags, residents = ollama.version(), ollama.tags(), ollama.ps()
            by_key = {name_key(tag.name): tag for tag in tags}
            found = {one.id: _of_tag(by_key.get(one.name_key), version, residents, now) for one in asked}
            for one in asked:
                told = found[one.id]
                if told.digest is None or time.monotonic() > until - 1.0:
                    continue
                found[one.id] = replace(told, template=_template(ollama, one.name, told, former.get(one.id)))
            return found
    except BakehouseError as error:
        why = error.reason if isinstance(error, ServerError) else Reason(error.code, {"said": error.message})
        return {one.id: Observed(now, error=why) for one in asked}


def _of_tag(tag: Tag | None, version: str, residents: Sequence[Resident], now: float) -> Observed:
    if tag is None:
        return Observed(now, server_version=version, resident=False)
    # A copy of a tag has its manifest, and one runner serves both: it is listed under the tag that loaded it.
    runner = next((one for one in residents if is_same(one.digest, tag.digest)), None)
    if runner is None:
        unnamed = (one for one in residents if one.digest is None and name_key(one.name) == name_key(tag.name))
        runner = next(unnamed, None)
    return Observed(
        now,
        tag.digest,
        version,
        size_bytes=tag.size_bytes,
        resident=runner is not None,
        vram_bytes=None if runner is None else runner.size_vram_bytes,
    )


def _template(ollama: Ollama, name: str, told: Observed, former: Observed | None) -> str | None:
    """The digest of a model holds its template, but which one runs is the server's choice: of each version another."""
    same_server = former is not None and former.server_version == told.server_version
    if former is not None and same_server and is_same(former.digest, told.digest) and former.template is not None:
        return former.template
    with contextlib.suppress(ServerError):
        return template_hash(ollama.show(name).template)
    return None


def _served(home: Home, alias: Alias) -> Observed:
    now = time.time()
    try:
        record = read_record(home, alias.name)
    except NotFoundError:
        return Observed(now, resident=False)
    except BakehouseError as error:
        return Observed(now, error=Reason(error.code, {"said": error.message}))
    phase = read_state(home, alias.name).phase
    try:
        size = record.file.stat().st_size
    except OSError:
        return Observed(now, error=Reason("served_file_gone", {"file": record.file.name}), phase=phase)
    told = Observed(now, record.weights, size_bytes=size, resident=phase == "serving", phase=phase)
    identity = served_identity(home, record) if phase == "serving" else None
    # Where it does not answer in time, it serves all the same by what its shim says.
    return told if identity is None else replace(told, server_version=identity.version, template=identity.template)


def served_identity(home: Home, record: ServedModelRecord) -> ServedIdentity | None:
    """What a served model of this home tells of itself, as bake-offs have it; its record words version and template otherwise.
    None where it does not answer."""
    brief = {"silence_seconds": SERVER_SECONDS, "answer_seconds": SERVER_SECONDS}
    try:
        with contextlib.closing(opened(home_server(home, record).model_copy(update=brief), record.name)) as model:
            return model.identity()
    except BakehouseError:
        return None


def is_foreign(version: AliasVersion | None, observed: Observed) -> bool:
    """Whether somebody else's model is under the name, or none: what the store knows of the alias is not what is there."""
    if version is None or version.digest is None or observed.error is not None:
        return False
    return not is_same(version.digest, observed.digest)


def store_observed(
    connection: sqlite3.Connection, looked_at: LookedAt, observed: Mapping[int, Observed]
) -> list[FleetNote]:
    """Keep what was observed, and note somebody else's change of an alias: once for each model that is found there, and once
    that it is as recorded again. The notes that were made. Call it in a transaction.

    Aliases that were moved since `looked_at` are left for the next time.
    """
    present = to_look_at(connection)
    now = {one.id: one for one in present.aliases}
    made = 0
    for former in looked_at.aliases:
        found, alias = observed.get(former.id), now.get(former.id)
        moved = present.newest_change.get(former.id) != looked_at.newest_change.get(former.id)
        if found is None or alias is None or moved or alias.version_id != former.version_id:
            continue
        set_observed(
            connection,
            alias.id,
            at=found.at,
            digest=found.digest,
            server_version=found.server_version,
            error=None if found.error is None else found.error.code,
        )
        version = None if alias.version_id is None else get_version(connection, alias.version_id)
        if version is None or found.error is not None or version.digest is None:
            continue
        made += note_found(connection, version, found.digest) is not None
    return notes(connection, limit=made)[::-1]
