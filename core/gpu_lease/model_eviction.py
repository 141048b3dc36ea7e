"""The models that a server holds beside the jobs: away before a job, back after it, and who loads one meanwhile.

Written down before the first of them goes, so that the next runner brings them back when this one dies. What the server
promises and what it does not stands in `core.serving.ollama`: it is asked, looked at, and asked again for what is still there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from core.clock import NEVER, Clock
from core.errors import BakehouseError
from core.gpu_lease.evicted_models import Contents, EvictedModel, EvictedModels, unreadable_files
from core.gpu_lease.model_leftovers import ModelLeftovers
from core.gpu_lease.model_records import ModelRecords
from core.gpu_lease.model_return import ModelReturn
from core.gpu_lease.model_unload import ModelUnload
from core.gpu_lease.notes import Notes
from core.gpu_lease.server_activity import ServerActivity, on_gpu
from core.gpu_lease.service_command import ServiceCommand
from core.gpu_lease.state import Intruder, ResidentModel
from core.home import Home
from core.reasons import Reason
from core.serving.address import is_here, same_server, server_url
from core.serving.modelserver import ModelServer, OllamaServer, ServerView
from core.serving.replies import Resident, full_name

if TYPE_CHECKING:
    from core.config.settings import OllamaSettings

EAGER_SECONDS, WATCHING_SECONDS, LAZY_SECONDS = 0.5, 2.0, 5.0
"""How often the server is asked what is loaded: while models go or come, while a job has the GPU, and else (it logs each)."""

Connect = Callable[[str | None, Clock], ModelServer]
"""Makes the server of an address, None for that of `OLLAMA_HOST`. Raises InputError for an address that is none."""


class ModelEviction:
    """For the runner's thread; nothing here waits for the server.

    A server that is not managed is left alone, and so is one whose address is none, or that `OLLAMA_HOST` has on another
    machine: its models are not on this GPU.
    """

    def __init__(
        self,
        home: Home,
        settings: OllamaSettings,
        reload_seconds: float,
        settle_seconds: float,
        notes: Notes,
        clock: Clock,
        connect: Connect = OllamaServer,
    ) -> None:
        self.settings, self.notes, self.clock = settings, notes, clock
        self.evicted = EvictedModels(home.evicted_models)
        self.activity = ServerActivity()
        self._records = ModelRecords()
        self._address_fault: Reason | None = None
        self._server = self._connected(connect)
        self._expected = bool(settings.url or os.environ.get("OLLAMA_HOST"))
        self._news = False
        self._watching_since = NEVER
        self._service: ServiceCommand | None = None
        self._return: ModelReturn | None = None
        self._unload: ModelUnload | None = None
        self._settle_seconds = settle_seconds
        self._before: tuple[int, Contents] | None = None
        """What was noted before the job of this number, which asks the server, was given its turn."""
        if self._server is not None:
            known = (self._server, self.evicted, self._records)
            self._service = ServiceCommand(self._server, self.evicted, settings.stop_command, settings.start_command)
            self._unload = ModelUnload(*known, self.activity, notes, clock)
            leftovers = ModelLeftovers(*known, self._unload, clock, settle_seconds)
            self._return = ModelReturn(*known, self.activity, self._service, leftovers, notes, clock, reload_seconds)
        elif self.evicted:
            notes.add(Reason("models_out_of_reach", {"models": list(self.evicted.names)}), "bad")
        for file in unreadable_files(home.evicted_models):
            notes.add(Reason("evicted_models_unreadable", {"file": str(file)}), "bad")

    def _connected(self, connect: Connect) -> ModelServer | None:
        try:
            server = connect(self.settings.url, self.clock)
        except BakehouseError:
            # Not the address itself: a password may stand in it.
            key = "OLLAMA_HOST" if self.settings.url is None else "ollama.url"
            self._address_fault = Reason("server_address_invalid", {"key": key})
            return None
        if self.settings.url is not None or is_here(server.url):
            return server
        server.close()
        self.notes.add(Reason("server_elsewhere", {"url": server.url}))
        return None

    @property
    def managed(self) -> bool:
        return self._server is not None and self.settings.managed

    @property
    def view(self) -> ServerView:
        return self._server.view if self._server is not None else ServerView()

    # What is told of the server.

    @property
    def name(self) -> str | None:
        """`Ollama 0.24.0`; None while none has answered."""
        return None if self._server is None or self._server.version is None else f"Ollama {self._server.version}"

    @property
    def problem(self) -> Reason | None:
        """Why nothing is known of the server; None also where none is to be expected."""
        return self._address_fault or (self.view.problem if self._expected or self.evicted else None)

    @property
    def residents(self) -> tuple[ResidentModel, ...]:
        return tuple(
            ResidentModel(one.name, one.size_vram_bytes or 0, one.context_length, one.expires_at)
            for one in self.view.residents or ()
        )

    @property
    def served_bytes(self) -> int:
        return sum(one.size_vram_bytes or 0 for one in self.view.residents or ())

    @property
    def answers(self) -> bool:
        return self.view.residents is not None

    @property
    def pending(self) -> bool:
        """Whether models are away that this runner can bring back."""
        return self._server is not None and bool(self.evicted)

    # Following it.

    def tick(self, every_seconds: float) -> None:
        """Take in what came, and ask what is loaded when that is so long ago. Raises OSError like `send_away`."""
        self.evicted.load()
        if self._server is None or self._return is None or self._service is None or self._unload is None:
            return
        self._news = self._server.tick(every_seconds)
        if self._news:
            self._expected = self._expected or self.answers
            self.activity.follow(self.view)
            for one in self.view.residents or ():
                if self.activity.stays_seconds(one) != 0.0:
                    self._records.of(one.name).alive_at = self.view.asked_at
        self._unload.tick()
        self._return.tick()
        ended = self._service.tick()
        if ended is not None:
            self._return.look_again()
            self.notes.add(*ended)

    def empty_for(self, seconds: float) -> bool:
        """Whether nothing was listed for so long, and none is on its way at our own wish."""
        if self._return is not None and self._service is not None and (self._return.loading or self._service.busy):
            return False
        return self.activity.empty_for(seconds)

    # Away.

    def send_away(self) -> tuple[str, ...]:
        """Note what is listed, ask it to go, and ask again while it stays; the names that are still there.

        Raises OSError, with nothing asked for, when it cannot be noted.
        """
        if not self.managed or self._server is None or self._unload is None:
            return ()
        there = on_gpu(self.view)
        for resident in there:
            # What an earlier job has left there does not come back.
            if not self._unload.leaves(resident) and full_name(resident.name) not in self.evicted.asked:
                self.evicted.add(self._as_it_is(resident))
        for resident in there:
            self._unload.ask(resident)
        return tuple(one.name for one in there)

    def _as_it_is(self, resident: Resident) -> EvictedModel:
        blob = None if self._server is None else self._server.blob(resident)
        keep_alive = self.activity.keep_alive_seconds(resident)
        return EvictedModel(resident.name, resident.context_length, keep_alive, blob)

    def stop_service(self) -> bool:
        """Have the service stopped, where the person wants that; True once there is nothing more to do. Raises OSError."""
        return not self.managed or self._service is None or self._service.stop()

    # For a job that asks the server.

    def prepare_for(self, job_id: int, asked: Mapping[str, Sequence[str]], since: float) -> Reason | None:
        """Note what is loaded, by a list that was asked for after `since` (monotonic), and what a job asks for here.

        `asked` are the models that it asks for, by the addresses of their servers. What is waited for; None once it is noted.
        Also for a server that is not managed: it is the job that changes what is loaded there. Raises OSError, with nothing
        noted.
        """
        if self._server is None or self._return is None or self._service is None or self._unload is None:
            return None
        if self._service.busy or self.evicted.stopped:
            if not self._service.busy:
                self._service.start()
                self._return.look_again()
            return Reason("starting_server")
        if self._return.loading:
            return self._return.being_loaded
        if going := self._unload.under_way:
            return Reason("unloading_models", {"models": list(going)})
        if self.view.asked_at <= max(since, self._return.look_after):
            return Reason("listing_models")
        # A server that is not there has nothing loaded; of one that does not answer for long nothing can be known.
        if not self.answers and not self.activity.empty_for(self._settle_seconds):
            return self.view.problem or Reason("listing_models")
        if self._before is None or self._before[0] != job_id:
            self._before = (job_id, self.evicted.contents)
        there = [self._as_it_is(one) for one in self.view.residents or () if not self._unload.leaves(one)]
        url = self._server.url
        here = [name for server, names in asked.items() if same_server(server_url(server), url) for name in names]
        # Asked under another tag of its weights, a model is asked all the same: the runner is one.
        blobs = self._server.tag_blobs(here, max(since, self._return.look_after)) if self.answers else {}
        if blobs is None:
            return Reason("listing_models")
        self.evicted.note_server(there, here, self._before[1], frozenset(blobs.values()) - {None})
        return None

    # Back.

    def can_return(self) -> bool:
        """Whether there is anything to bring back, and it is time to try."""
        return self._return is not None and self._return.due

    def begin_return(self) -> None:
        self._before = None
        if self._return is not None:
            self._return.begin()

    def bring_back(self) -> Reason | None:
        """One step on the way back: what is being done, None when there is nothing to do at the moment. Raises OSError."""
        return None if self._return is None else self._return.step()

    # Clients that load one while a job has the GPU.

    @property
    def intruders(self) -> tuple[Intruder, ...]:
        """What clients had loaded since `begin_watch`, the first that came first."""
        found = (record.intruder for _, record in self._records.items())
        return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.since, one.name)))

    def begin_watch(self) -> None:
        self._watching_since = self.clock.monotonic()
        self._before = None
        self._records.keep({*self.evicted.names, *(one.name for one in self.view.residents or ())})
        for _, record in self._records.items():
            record.present, record.intruder = False, None
        if self._return is not None:
            self._return.forget_returned()

    def watch(self, *, unload: bool) -> tuple[str, ...]:
        """The names of what was loaded since the last look; `unload`: each of them is asked to go, and again as it comes."""
        if not self.managed or self._unload is None or self.view.asked_at <= self._watching_since:
            return ()
        there = on_gpu(self.view)
        if unload:
            for resident in there:
                self._unload.ask(resident)
        if not self._news:
            return ()
        came = []
        for resident in there:
            record = self._records.of(resident.name)
            # One that was unloaded and is listed with time to live has been loaded anew, however short it was away.
            gone = record.unloaded_at
            again = unload and NEVER < gone < self.view.asked_at and not self._unload.leaves(resident)
            if not record.present or (again and record.counted_at != gone):
                came.append(resident.name)
                record.counted_at = gone
                since, times = (self.clock.time(), 0) if record.intruder is None else _so_far(record.intruder)
                record.intruder = Intruder(resident.name, since, times + 1)
        names = {resident.name for resident in there}
        for name, record in self._records.items():
            record.present = name in names
        return tuple(came)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


def _so_far(intruder: Intruder) -> tuple[float, int]:
    return intruder.since, intruder.times
