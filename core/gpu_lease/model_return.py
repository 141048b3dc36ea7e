"""The way back: what a job has left is unloaded, and what was evicted for one is loaded again, each model as it was.

A model that does not load is tried again, later each time, and holds up no other. One that comes up no more is given up and
told: no model is away for ever without a word.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from core.clock import NEVER, Clock
from core.gpu_lease.evicted_models import EvictedModel, EvictedModels
from core.gpu_lease.model_leftovers import ModelLeftovers
from core.gpu_lease.model_records import ModelRecords
from core.gpu_lease.model_unload import about
from core.gpu_lease.notes import Notes
from core.gpu_lease.server_activity import ServerActivity
from core.gpu_lease.service_command import ServiceCommand
from core.reasons import Reason
from core.serving.errors import ServerError
from core.serving.modelserver import ModelServer
from core.serving.replies import Resident

LOAD_TRIES = 12
LONGEST_RETRY_SECONDS = 1800.0
"""Tries to load a model again are put off for twice as long each time, up to this: four hours in all, by default."""


@dataclass(frozen=True)
class _Load:
    """A model that is or was being loaded, and which models that had come back were there before it."""

    name: str
    beside: frozenset[str]
    came_up: bool = False


class ModelReturn:
    """For the runner's thread; nothing here waits. Everything that writes the file of evicted models raises OSError."""

    def __init__(
        self,
        server: ModelServer,
        evicted: EvictedModels,
        records: ModelRecords,
        activity: ServerActivity,
        service: ServiceCommand,
        leftovers: ModelLeftovers,
        notes: Notes,
        clock: Clock,
        reload_seconds: float,
    ) -> None:
        self.server, self.evicted, self.records, self.activity = server, evicted, records, activity
        self.service, self.leftovers, self.notes, self.clock = service, leftovers, notes, clock
        self.reload_seconds = reload_seconds
        self._retry_at = NEVER
        self.look_after = NEVER
        """Only a list that was asked for later tells what is missing."""
        self._loading: tuple[str, Future[None]] | None = None
        self._last: _Load | None = None
        self._total = self._returned = 0

    @property
    def loading(self) -> bool:
        return self._loading is not None

    @property
    def being_loaded(self) -> Reason | None:
        return None if self._loading is None else self._being_loaded(self._loading[0])

    @property
    def due(self) -> bool:
        """Whether there is anything to bring back, and it is time to try."""
        return bool(self.evicted) and self.clock.monotonic() >= self._retry_at

    def tick(self) -> None:
        """Take in how a load ended."""
        if self._loading is not None and self._loading[1].done():
            (name, loaded), self._loading = self._loading, None
            self._after_load(name, loaded)

    def look_again(self) -> None:
        """The server's lists until now tell nothing of what is there from now on."""
        self.look_after = self.clock.monotonic()

    def forget_returned(self) -> None:
        """A job has the GPU: what is there afterwards has nothing to do with what had come back before."""
        for _, record in self.records.items():
            record.back = None
        self._last = None

    def begin(self) -> None:
        self.look_again()
        self.leftovers.begin()
        self._total, self._returned = len(self.evicted.models), 0

    def step(self) -> Reason | None:
        """One step on the way back: what is being done, None when there is nothing to do at the moment."""
        if self.clock.monotonic() < self._retry_at:
            return None
        if not self.service.busy and self.evicted.stopped:
            self.service.start()
            self.look_again()
        if self.service.busy:
            return Reason("starting_server")
        if (loading := self.being_loaded) is not None:
            return loading
        if self.server.view.asked_at <= self.look_after:
            return Reason("listing_models")
        if self.server.view.residents is None:
            self._retry_at = self.clock.monotonic() + self.reload_seconds
            return None
        # They go first: what comes back may need their memory.
        return self.leftovers.step() or self._load_next()

    def _load_next(self) -> Reason | None:
        """Load the first that is missing and may be tried; those that are there are back."""
        # One that has expired may be on its way out at the wish of a former runner: loading it again does no harm.
        living = [one for one in self.server.view.residents or () if self.activity.stays_seconds(one) != 0.0]
        self._see_what_went(living)
        for model in self.evicted.models:
            tries = self.records.of(model.name).tries
            if self._is_there(model, living):
                self._drop(model.name)
                self.records.of(model.name).back = model
                self._returned += 1
            elif tries >= LOAD_TRIES:
                self._drop(model.name)
                self.notes.add(Reason("model_given_up", {"model": model.name, "tries": tries}), "bad")
        missing = self.evicted.models
        if not missing:
            if self._returned:
                self.notes.add(Reason("models_returned", {"count": self._returned}))
                self._returned = 0
            return None
        now = self.clock.monotonic()
        due = [model for model in missing if self.records.of(model.name).not_before <= now]
        if not due:
            self._retry_at = min(self.records.of(model.name).not_before for model in missing)
            return None
        self._load(due[0], living)
        return self._being_loaded(due[0].name)

    def _load(self, model: EvictedModel, living: list[Resident]) -> None:
        record = self.records.of(model.name)
        record.tries += 1
        # The next try after this one, should it fail or the model be gone again: later each time.
        pause = min(self.reload_seconds * 2 ** (record.tries - 1), LONGEST_RETRY_SECONDS)
        record.not_before = self.clock.monotonic() + pause
        beside = (name for name, one in self.records.items() if one.back and self._is_there(one.back, living))
        self._last = _Load(model.name, frozenset(beside))
        self._loading = (
            model.name,
            self.server.load(model.name, model.context_length, model.keep_alive_seconds),
        )

    def _after_load(self, name: str, loaded: Future[None]) -> None:
        self.look_again()
        error = loaded.exception()
        record = self.records.of(name)
        if error is None:
            if self._last is not None:
                self._last = _Load(self._last.name, self._last.beside, came_up=True)
            self.evicted.settle(name)
            # What was unloaded before it is loaded now.
            record.unloaded_at = NEVER
            return
        if isinstance(error, ServerError) and error.status == 404:
            self._drop(name)
            self.notes.add(Reason("model_not_returning", about(name, error)), "bad")
            return
        self.notes.add(Reason("model_not_loaded", about(name, error)), "bad")
        if isinstance(error, ServerError) and error.code in ("server_down", "server_slow"):
            # The server's trouble and not the model's.
            record.tries = max(0, record.tries - 1)
            self._retry_at = self.clock.monotonic() + self.reload_seconds

    def _see_what_went(self, living: list[Resident]) -> None:
        """A server makes room for a model by letting others go. What had come back must not go for one that never comes up."""
        if self._last is None:
            return
        last, self._last = self._last, None
        gone: list[EvictedModel] = []
        for known in last.beside:
            record = self.records.of(known)
            if record.back is not None and not self._is_there(record.back, living):
                gone.append(record.back)
                record.back = None
        if not gone:
            return
        names = sorted(one.name for one in gone)
        if last.came_up:
            self.notes.add(Reason("model_displaced_others", {"model": last.name, "others": names}), "bad")
            return
        for one in gone:
            self.evicted.add(one)
        self._drop(last.name)
        self.notes.add(Reason("model_does_not_fit", {"model": last.name, "others": names}), "bad")

    def _is_there(self, model: EvictedModel, residents: list[Resident]) -> bool:
        return not model.asked and any(model.is_resident(one, self.server.blob(one)) for one in residents)

    def _drop(self, name: str) -> None:
        self.evicted.drop(name)
        record = self.records.of(name)
        record.tries, record.not_before = 0, NEVER

    def _being_loaded(self, name: str) -> Reason:
        missing = len(self.evicted.models)
        self._total = max(self._total, missing)
        place = min(self._total, self._total - missing + 1)
        return Reason("loading_model", {"model": name, "place": place, "total": self._total})
