"""Aliases that are served models of this home: an alias has a port of its own, and what serves there is a candidate's record
under the alias' name.

While something new is on its way, the note of what was there before (`core.served.former`) has the change as its owner. Nothing
here waits: a model that loads, or that is away for a job, is looked at again later (`NotNowError`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from core.aliases.digests import is_same
from core.aliases.places import KeptNames, NotNowError, Placed
from core.aliases.served_record import require_what_it_needs, standing_record, stored_record, under_name
from core.errors import BakehouseError, InputError, NotFoundError
from core.gpu_lease.host_room import available_bytes, own_bytes
from core.home import Home
from core.jobfile.gpu_use import read_gpu_use
from core.models.fingerprints import content_sha256
from core.process.shims import take_lock
from core.reasons import Reason
from core.served.away import away_for
from core.served.control import start, stop
from core.served.former import Former, Owner, note_former, noted_former
from core.served.install import choose_port, confirm, go_back, note_what_is, phase_on_the_way, put_in_place
from core.served.record import ServedModelRecord, read_record, to_json, write_record
from core.served.state import is_running, read_state
from core.serving.address import ServerAddress
from core.serving.answering import Question
from core.serving.errors import ServerError
from core.serving.openai_model import OpenAIModel
from core.store.database import open_database
from core.store.fleet import LLAMA_SERVER, Alias, AliasVersion, Target, aliases, current_version
from core.store.fleet_changes import open_change_of
from core.store.jobs import ACTIVE, open_jobs

MOVING = ".moving.lock"
"""Held while the served model of an alias is moved; its name is that of no served model."""
SERVER_SECONDS = 5.0
SMOKE_SECONDS = 120.0
SMOKE_TOKENS = 8
LOAD_SECONDS = 1800.0
"""How long a model may load before what was there comes back: nobody can stop it by hand meanwhile."""
NOTICED_SECONDS = 5.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class _StoredChange:
    """What the store has of a change: its number, whether a candidate comes (else a former version does), the port that the
    alias had, the names of all aliases of this home, and the first job that asks a server of this machine now."""

    change: int
    promotes: bool
    port: int | None
    names: frozenset[str]
    asking: int | None


class ServedPlace:
    """For the worker thread of the keeper; see `AliasPlace`. What it needs of the store it reads by a connection of its own."""

    def __init__(self, home: Home) -> None:
        self.home = home

    # What is there.

    def look(self, alias: Alias) -> Placed | None:
        record = standing_record(self.home, alias.name)
        if record is None:
            return None
        noted = noted_former(self.home, self.home.served_dir(alias.name))
        return self._placed(record, answers=noted is None)

    def look_at_source(self, alias: Alias, target: Target) -> Placed | None:
        """By its file as it is on the disk: one that was deleted or written over by hand is what was meant no longer."""
        record = self._source(target)
        if record is None or not record.file.is_file():
            return None
        found = f"sha256:{content_sha256(record.file, self.home)}"
        return replace(self._placed(record, answers=target.record is None), digest=found, weights=found)

    def _placed(self, record: ServedModelRecord, *, answers: bool) -> Placed:
        """`answers`: what serves under the record's name is it, and tells its server's version and its template, in
        other words than the record, whose words are those of the program and of the file."""
        size = version = template = None
        with contextlib.suppress(OSError):
            size = record.file.stat().st_size
        if answers and read_state(self.home, record.name).phase == "serving":
            with contextlib.suppress(ServerError), contextlib.closing(_opened(record, SERVER_SECONDS)) as model:
                identity = model.identity()
                version, template = identity.version, identity.template
        return Placed(record.weights, record.weights, template, version, size, to_json(self.home, record))

    def _source(self, target: Target) -> ServedModelRecord | None:
        """A former version's record, else that of the served model that is meant."""
        if target.record is not None:
            return stored_record(self.home, target.record)
        with contextlib.suppress(NotFoundError):
            return read_record(self.home, target.source)
        return None

    # What is kept.

    def choose_kept(self, alias: Alias, former: AliasVersion | None, target: Target) -> KeptNames:
        """No names are needed: the records of versions are in the store, and their files stay (`core.intermediates`)."""
        return KeptNames()

    def keep_former(self, alias: Alias, former: AliasVersion, kept: str) -> None:
        """Nothing is to be done for it."""

    def keep_target(self, alias: Alias, target: Target) -> None:
        """That the target can be served. `NotFoundError` where there is no such served model; `InputError` where its file or
        its program is gone, or its file is another by now."""
        require_what_it_needs(self.home, self._required(target))

    def _required(self, target: Target) -> ServedModelRecord:
        found = self._source(target)
        if found is None:
            raise NotFoundError(
                f"no served model is called {target.source}",
                code="no_served_model",
                key=target.source,
                remedy="`bakehouse served list` shows what there is",
            )
        return found

    def _as_alias(self, alias: Alias, found: ServedModelRecord, port: int | None) -> ServedModelRecord:
        """Under the alias' name, at the port that it has or had (`port`), and started at boot where the alias is."""
        standing = standing_record(self.home, alias.name)
        if standing is not None:
            return under_name(found, alias.name, standing.port, at_boot=standing.at_boot)
        wanted = port or (found.port if found.name == alias.name else None)
        try:
            chosen = choose_port(self.home, alias.name, wanted)
        except InputError:  # taken meanwhile, and nobody asks there yet
            chosen = choose_port(self.home, alias.name)
        return under_name(found, alias.name, chosen, at_boot=found.at_boot)

    # Moves.

    def place(self, alias: Alias, target: Target) -> None:
        """Have the alias serve what the target's record says, and end the candidate's own served model: one is enough.

        Raises NotNowError while that is on its way, or has to wait: nothing is touched while served models are away, or while a
        job asks one. `BakehouseError` where it does not come to serve, or gives no answer: what was before is there again then.
        """
        with self._alone(alias):
            self._place(alias, target)

    def _place(self, alias: Alias, target: Target) -> None:
        known = self._known(alias)
        record, beside = self._as_alias(alias, self._required(target), known.port), self._beside(alias, target, known)
        owner, folder = Owner("change", known.change), self.home.served_dir(alias.name)
        before = noted_former(self.home, folder)
        if before is None or before.owner != owner:
            self._require_quiet([alias.name, *([] if beside is None else [beside])], known)
            require_what_it_needs(self.home, record)
            before = note_what_is(self.home, record, owner, self._aside(alias, record, beside))
        if before is not None and before.failed:
            why = BakehouseError(f"{record.name} did not come to serve, or gave no answer", code="not_serving")
            self._go_back(alias, before, why)
            raise why
        try:
            put_in_place(self.home, record, before)
            self._require_serving(record)
            self._require_answer(record)
        except NotNowError:
            raise
        except (BakehouseError, OSError) as error:
            self._go_back(alias, before, error)
            raise
        if beside is not None:
            with contextlib.suppress(BakehouseError, OSError):  # `settle` tells of one that still runs
                stop(self.home, beside)
        confirm(self.home, alias.name)

    def _require_answer(self, record: ServedModelRecord) -> None:
        try:
            _smoke(record)
        except ServerError as error:
            # It may have been sent away meanwhile, or have died: its shim learns of that a moment later.
            until = time.monotonic() + (NOTICED_SECONDS if error.code == "server_down" else 0.0)
            self._require_serving(record)
            while time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
                self._require_serving(record)
            raise BakehouseError(
                f"{record.name} serves and does not answer: {error.message}", code="no_answer", key=record.name
            ) from error

    def _go_back(self, alias: Alias, before: Former | None, why: Exception) -> None:
        if before is not None and not before.failed:
            with contextlib.suppress(OSError):  # else the same is tried once more
                note_former(self.home, self.home.served_dir(alias.name), replace(before, failed=True))
        try:
            go_back(self.home, alias.name, before)
        except (BakehouseError, OSError) as error:
            # The note is there still, and so that is tried again.
            said = f"what was before {alias.name} is not there again: {error}"
            raise NotNowError(said, code="putting_back", key=alias.name) from why

    def put_back(self, alias: Alias, former: AliasVersion | None) -> None:
        """An alias that is missing comes from its version's record; one that is another's is left alone."""
        with self._alone(alias):
            if not self._take_back(alias):
                self._put_back(alias, former)

    def _put_back(self, alias: Alias, former: AliasVersion | None) -> None:
        if self.home.served_dir(alias.name).record.exists():
            return
        if former is None or former.record is None:
            return
        record = self._as_alias(alias, stored_record(self.home, former.record), self._known(alias).port)
        try:
            require_what_it_needs(self.home, record)
        except InputError as error:
            raise BakehouseError(error.message, code="former_gone", key=alias.name, remedy=error.remedy) from error
        write_record(self.home, record)
        start(self.home, alias.name)

    def forget_target(self, alias: Alias, target: Target) -> None:
        """An alias that was not there before is not there again."""
        with self._alone(alias):
            self._take_back(alias)

    def settle(self, alias: Alias, former: AliasVersion | None, target: Target) -> Reason | None:
        """Nothing is left to do: the candidate's own served model ended before the change was done, as a rule."""
        own = target.source
        with contextlib.suppress(BakehouseError):
            with contextlib.closing(open_database(self.home)) as connection:
                names = {one.name for one in aliases(connection) if one.is_served_here}
            if own in names or not is_same(read_record(self.home, own).weights, target.digest):
                return None
            runs = is_running(self.home.served_dir(own))
            return Reason("candidate_runs" if runs else "candidate_stopped", {"served": own, "alias": alias.name})
        return None

    def close(self) -> None:
        """No connection is kept."""

    def _take_back(self, alias: Alias) -> bool:
        noted = noted_former(self.home, self.home.served_dir(alias.name))
        if noted is None or noted.owner.kind != "change":
            return False
        go_back(self.home, alias.name, noted)
        return True

    @contextlib.contextmanager
    def _alone(self, alias: Alias) -> Iterator[None]:
        """A runner that was told to end may still be at it for a moment when the next one begins."""
        self.home.served.mkdir(mode=0o700, exist_ok=True)
        lock = take_lock(self.home.served / MOVING)
        if lock is None:
            raise NotNowError(f"another runner is about to move {alias.name}", code="putting_back", key=alias.name)
        try:
            yield
        finally:
            os.close(lock)

    # What it goes by.

    def _known(self, alias: Alias) -> _StoredChange:
        with contextlib.closing(open_database(self.home)) as connection:
            change = open_change_of(connection, alias.id)
            version = current_version(connection, alias)
            port = None if version is None or version.record is None else version.record.get("port")
            names = frozenset(one.name for one in aliases(connection) if one.is_served_here)
            active = [job.id for job in open_jobs(connection) if job.state in ACTIVE]
        asking = next((job for job in active if read_gpu_use(self.home.run_dir(job)).beside_programs), None)
        if change is None:
            raise BakehouseError(f"no change of {alias.name} is open", code="no_change", key=alias.name)
        return _StoredChange(
            change.id, change.kind == "promote", port if isinstance(port, int) else None, names, asking
        )

    def _beside(self, alias: Alias, target: Target, known: _StoredChange) -> str | None:
        """The candidate's own served model, where it runs and is no alias itself."""
        if not known.promotes or target.source == alias.name or target.source in known.names:
            return None
        with contextlib.suppress(BakehouseError):
            same = is_same(read_record(self.home, target.source).weights, target.digest)
            return target.source if same and is_running(self.home.served_dir(target.source)) else None
        return None

    def _require_quiet(self, names: list[str], known: _StoredChange) -> None:
        for name in names:
            if jobs := [job for job in away_for(self.home.served_dir(name)) if job]:
                raise _away(name, jobs)
        if known.asking is not None:
            raise NotNowError(f"job {known.asking} asks a server of this machine", code="waiting_for_job")

    def _require_serving(self, record: ServedModelRecord) -> None:
        state, jobs = read_state(self.home, record.name), away_for(self.home.served_dir(record.name))
        # One whose shim was killed a moment ago is started again at the next look.
        phase = "loading" if state.phase == "stopped" else phase_on_the_way(self.home, record)
        server = state.server
        if phase == "away" or jobs:
            raise _away(record.name, jobs)
        if state.phase == "loading" and time.time() - state.since > LOAD_SECONDS:
            raise BakehouseError(
                f"{record.name} has not loaded within {LOAD_SECONDS / 60:.0f} minutes",
                code="not_serving",
                key=record.name,
            )
        if phase != "serving" or server is None or not server.alive():
            raise NotNowError(f"{record.name} loads", code="loading", key=record.name)

    def _aside(self, alias: Alias, record: ServedModelRecord, beside: str | None) -> str | None:
        """The candidate's own served model, where there is no room for the same model twice: never on a GPU, whose copies share
        nothing. Raises `BakehouseError` where there is no room for it alone."""
        if record.on_gpu:
            return beside
        need = host_bytes(record)
        if need is None:
            return None
        room = available_bytes() + own_bytes(self.home.served_dir(alias.name))
        if need <= room:
            return None
        more = 0 if beside is None else own_bytes(self.home.served_dir(beside))
        if need > room + more:
            raise BakehouseError(
                f"{record.name} takes {need / 1e9:.1f} GB of memory, and {(room + more) / 1e9:.1f} GB can be had",
                code="no_memory",
                key=record.name,
                remedy="end what takes memory, and ask again",
            )
        return beside


def _away(name: str, jobs: Sequence[int]) -> NotNowError:
    whom = ", ".join(f"job {job}" for job in jobs) or "a job"
    return NotNowError(f"{name} is away for {whom}", code="waiting_for_lease", key=name)


def host_bytes(record: ServedModelRecord) -> int | None:
    """The least that its llama-server takes of the host's memory; None where its file's header does not tell."""
    from core.models.gguf import check_servable
    from core.models.gguf_memory import server_memory, shape_of_file

    with contextlib.suppress(BakehouseError, OSError):
        shape = shape_of_file(check_servable(record.file, record.name))
        return server_memory(shape, record.context_length, record.slots, on_gpu=record.on_gpu).least_host_bytes
    return None


def _smoke(record: ServedModelRecord) -> None:
    """An answer at the alias' own address, of whatever words: what it answers was measured before. ServerError."""
    question = Question(
        messages=(("user", "Say hello."),),
        seed=0,
        temperature=0.0,
        top_p=None,
        top_k=None,
        repeat_penalty=1.0,
        max_new_tokens=SMOKE_TOKENS,
        context_length=record.context_length,
        think=False,
    )
    with contextlib.closing(_opened(record, SMOKE_SECONDS)) as model:
        model.load(record.context_length)
        model.ask(question)


def _opened(record: ServedModelRecord, seconds: float) -> OpenAIModel:
    address = ServerAddress(record.url)
    return OpenAIModel(
        LLAMA_SERVER, address, record.name, weights=record.weights, silence_seconds=seconds, answer_seconds=seconds
    )
