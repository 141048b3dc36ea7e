"""The models that a server holds beside the jobs: away before a job, back after it, and who loads one meanwhile.

Written down before the first of them goes, so that the next runner brings them back when this one dies. What the server
promises and what it does not stands in `core.serving.ollama`: it is asked, looked at, and asked again for what is still there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Literal

from core.errors import BakehouseError
from core.format import listed
from core.gpu_lease.evicted_models import EvictedModel, EvictedModels
from core.gpu_lease.server_activity import Residency, on_gpu
from core.gpu_lease.state import Intruder, ResidentModel
from core.home import Home
from core.serving.address import is_here
from core.serving.errors import ServerError, one_line
from core.serving.modelserver import ModelServer, ServerView
from core.serving.replies import Resident
from core.text import printable

if TYPE_CHECKING:
    from core.config.settings import OllamaSettings

EAGER_SECONDS, WATCHING_SECONDS, LAZY_SECONDS = 0.5, 2.0, 5.0
"""How often the server is asked what is loaded: while models go or come, while a job has the GPU, and else (it logs each)."""
ASK_AGAIN_SECONDS = 1.0
LOAD_TRIES = 12
LONGEST_RETRY_SECONDS = 1800.0
"""Tries to load a model again are put off for twice as long each time, up to this: four hours in all, by default."""

Say = Callable[[str, Literal["ok", "warn", "bad"]], None]


class ModelEviction:
    """For the runner's thread; nothing here waits for the server. `say` notes what happened to the models.

    A server that is not managed is left alone, and so is one whose address is none, or that `OLLAMA_HOST` has on another
    machine: its models are not on this GPU.
    """

    def __init__(self, home: Home, settings: OllamaSettings, retry_seconds: float, say: Say) -> None:
        self.settings = settings
        self.retry_seconds = retry_seconds
        self.say = say
        self.displaced = EvictedModels(home.displaced)
        self.residency = Residency()
        self.intruders: dict[str, Intruder] = {}
        self.retry_at = 0.0
        """When bringing them back is tried again."""
        self._wrong_address: str | None = None
        self._server: ModelServer | None = None
        try:
            server = ModelServer(settings.url)
            if settings.url is not None or is_here(server.url):
                self._server = server
            else:
                server.close()
                say(f"the model server at {server.url} is another machine's: its models stay where they are", "ok")
        except BakehouseError as error:
            self._wrong_address = error.message
        self._expected = bool(settings.url or os.environ.get("OLLAMA_HOST"))
        self._news = False
        self._unloading: dict[str, Future[str]] = {}
        self._unloaded_at: dict[str, float] = {}
        self._alive_at: dict[str, float] = {}
        self._counted: dict[str, float] = {}
        self._loading: tuple[str, Future[None]] | None = None
        self._command: Future[None] | None = None
        self._tries: dict[str, int] = {}
        self._back: dict[str, EvictedModel] = {}
        """What has come back since the last job."""
        self._before: tuple[str, set[str], bool] | None = None
        """The model that was loaded last, which of `_back` were there before it, and whether it came up."""
        self._not_before: dict[str, float] = {}
        self._since = 0.0
        self._total = self._returned = 0
        self._present: set[str] = set()

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
    def problem(self) -> str | None:
        """Why nothing is known of the server; None also where none is to be expected."""
        return self._wrong_address or (self.view.problem if self._expected or self.displaced else None)

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

    # Following it.

    def tick(self, now: float, every_seconds: float) -> None:
        """Take in what came, and ask what is loaded when that is so long ago. Raises OSError like `send_away`."""
        if self._server is None:
            return
        self._news = self._server.tick(now, every_seconds)
        if self._news:
            self._expected = self._expected or self.answers
            self.residency.follow(self.view)
            for one in self.view.residents or ():
                if one.keep_alive_seconds(self.view.asked_at) != 0.0:
                    self._alive_at[one.name] = self.view.asked_at
        for name in [name for name, future in self._unloading.items() if future.done()]:
            future = self._unloading.pop(name)
            self._unloaded_at[name] = now
            self._after_unload(name, future)
        if self._loading is not None and self._loading[1].done():
            (name, loaded), self._loading = self._loading, None
            self._after_load(now, name, loaded)
        if self._command is not None and self._command.done():
            command, self._command = self._command, None
            self._after_command(now, command)

    def clock_was_set_back(self, now: float) -> None:
        """Forget every moment that has not come yet."""
        self._since, self.retry_at = now, min(self.retry_at, now)
        self._unloaded_at.clear()
        self._alive_at.clear()
        self._not_before.clear()
        self.residency.forget_times()

    def empty_for(self, seconds: float) -> bool:
        """Whether nothing was listed for so long, and none is on its way at our own wish."""
        return self._loading is None and self._command is None and self.residency.empty_for(seconds)

    def _after_unload(self, name: str, future: Future[str]) -> None:
        error = future.exception()
        if error is None:
            if (tag := future.result()) != name:
                self.displaced.rename(name, tag)
        # A server that went away has let go of it; one that refuses is asked again as long as it lists the model.
        elif not isinstance(error, ServerError) or error.code == "server_refused":
            self.say(f"{said(name)}: {in_words(error)}", "bad")

    # Away.

    def send_away(self, now: float) -> tuple[str, ...]:
        """Note what is listed, ask it to go, and ask again while it stays; the names that are still there.

        Raises OSError, with nothing asked for, when it cannot be noted.
        """
        if not self.managed:
            return ()
        there = on_gpu(self.view)
        for resident in there:
            if not self._leaves(resident):
                keep_alive = self.residency.keep_alive_seconds(resident)
                self.displaced.add(
                    EvictedModel(resident.name, resident.context_length, keep_alive, self._blob(resident))
                )
        for resident in there:
            self._ask_to_go(resident, now)
        return tuple(said(one.name) for one in there)

    def _leaves(self, resident: Resident) -> bool:
        """Whether it is on its way out, at our wish or another's, and only ends an answer."""
        # Seen with time to live since we asked it to go, it has been loaded anew.
        ours = self._unloaded_at.get(resident.name, 0.0) > self._alive_at.get(resident.name, 0.0)
        expired = resident.keep_alive_seconds(self.view.asked_at) == 0.0
        return (ours and expired) or self.residency.leaves(resident)

    def _ask_to_go(self, resident: Resident, now: float) -> None:
        if self._server is None or resident.name in self._unloading:
            return
        last = self._unloaded_at.get(resident.name, 0.0)
        # Only what was listed after the last time it was asked is still there.
        if self.view.asked_at > last and now - last >= ASK_AGAIN_SECONDS:
            self._unloading[resident.name] = self._server.unload(resident)

    def stop_service(self) -> bool:
        """Have the service ended, where the person wants that; True once there is nothing more to do."""
        if self._command is not None:
            return False
        if self._server is None or not self.managed or not self.settings.stop_command or self.displaced.stopped:
            return True
        # Noted first: should this runner die now, starting a service that runs does no harm.
        self.displaced.note_service(True)
        self._command = self._server.run(self.settings.stop_command)
        return False

    def _after_command(self, now: float, command: Future[None]) -> None:
        self._since = now
        error = command.exception()
        if error is not None:
            self.say(in_words(error), "bad")
        else:
            self.say("the model server was ended" if self.displaced.stopped else "the model server was started", "ok")

    # Back.

    def can_return(self, now: float) -> bool:
        """Whether there is anything to bring back, and it is time to try."""
        return self._server is not None and bool(self.displaced) and now >= self.retry_at

    def begin_return(self, now: float) -> None:
        self._since, self._total, self._returned = now, len(self.displaced.models), 0

    def bring_back(self, now: float) -> str | None:
        """One step on the way back; what is being done, in words, None when there is nothing to do at the moment."""
        if self._server is None or now < self.retry_at:
            return None
        if self._command is not None:
            return "starting the service again"
        if self.displaced.stopped:
            # Also where that fails: the models are asked for all the same, and what comes of it is told.
            if self.settings.start_command:
                self._command = self._server.run(self.settings.start_command)
            self.displaced.note_service(False)
            self._since = now
            return "starting the service again"
        if self._loading is not None:
            return self._being_loaded(self._loading[0])
        if self.view.asked_at <= self._since:
            return "asking what is loaded"
        if not self.answers:
            self.retry_at = now + self.retry_seconds
            return None
        return self._load_next(now)

    def _load_next(self, now: float) -> str | None:
        """Load the first that is missing and may be tried; those that are there are back."""
        assert self._server is not None
        # One that has expired may be on its way out at the wish of a former runner: loading it again does no harm.
        living = [one for one in self.view.residents or () if one.keep_alive_seconds(self.view.asked_at) != 0.0]
        self._see_what_went(living)
        for model in self.displaced.models:
            if self._is_there(model, living):
                self._drop(model.name)
                self._back[model.name] = model
                self._returned += 1
            elif self._tries.get(model.name, 0) >= LOAD_TRIES:
                self.say(f"{said(model.name)} did not come back in {LOAD_TRIES} tries: it is left so", "bad")
                self._drop(model.name)
        missing = self.displaced.models
        if not missing:
            if self._returned:
                count = f"{self._returned} models of Ollama are" if self._returned > 1 else "1 model of Ollama is"
                self.say(f"{count} back", "ok")
            return None
        due = [model for model in missing if self._not_before.get(model.name, 0.0) <= now]
        if not due:
            self.retry_at = min(self._not_before[model.name] for model in missing)
            return None
        model = due[0]
        self._put_off(model.name, now)
        there = {name for name, one in self._back.items() if self._is_there(one, living)}
        self._before = (model.name, there, False)
        future = self._server.load(model.name, model.context_length, model.keep_alive_seconds)
        self._loading = (model.name, future)
        return self._being_loaded(model.name)

    def _is_there(self, model: EvictedModel, residents: list[Resident]) -> bool:
        return any(model.is_resident(one, self._blob(one)) for one in residents)

    def _see_what_went(self, living: list[Resident]) -> None:
        """A server makes room for a model by letting others go. What had come back must not go for one that never comes up."""
        if self._before is None:
            return
        (name, there, came_up), self._before = self._before, None
        gone = [one for known, one in self._back.items() if known in there and not self._is_there(one, living)]
        if not gone:
            return
        names = listed([said(one.name) for one in gone])
        for one in gone:
            del self._back[one.name]
        if came_up:
            self.say(f"{said(name)} took the place of {names}: there is no room for all any more", "bad")
            return
        self.say(f"{said(name)} does not fit beside {names} any more: it is left so", "bad")
        for one in gone:
            self.displaced.add(one)
        self._drop(name)

    def _put_off(self, name: str, now: float) -> None:
        """The next try after this one, should it fail or the model be gone again: later each time."""
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        self._not_before[name] = now + min(self.retry_seconds * 2 ** (tries - 1), LONGEST_RETRY_SECONDS)

    def _drop(self, name: str) -> None:
        self.displaced.drop(name)
        self._tries.pop(name, None)
        self._not_before.pop(name, None)

    def _being_loaded(self, name: str) -> str:
        place = min(self._total, self._total - len(self.displaced.models) + 1)
        return f"loading {said(name)}, {place} of {self._total}"

    def _after_load(self, now: float, name: str, future: Future[None]) -> None:
        self._since = now
        error = future.exception()
        if error is None:
            if self._before is not None:
                self._before = (*self._before[:2], True)
            # What was unloaded before it is loaded now.
            self._unloaded_at.pop(name, None)
            return
        if isinstance(error, ServerError) and error.status == 404:
            self.say(f"{said(name)} does not come back: {error.message}", "bad")
            self._drop(name)
            return
        self.say(f"{said(name)} could not be loaded again: {in_words(error)}", "bad")
        if isinstance(error, ServerError) and error.code in ("server_down", "server_slow"):
            # The server's trouble and not the model's.
            self._tries[name] = max(0, self._tries.get(name, 1) - 1)
            self.retry_at = now + self.retry_seconds

    # Clients that load one while a job has the GPU.

    def begin_watch(self, now: float) -> None:
        self._since = now
        self._present.clear()
        self._back.clear()
        self._before = None
        self.intruders.clear()

    def watch(self, now: float, *, unload: bool) -> tuple[str, ...]:
        """The names of what was loaded since the last look; `unload`: each of them is asked to go, and again as it comes."""
        if not self.managed or self.view.asked_at <= self._since:
            return ()
        there = on_gpu(self.view)
        if unload:
            for resident in there:
                self._ask_to_go(resident, now)
        if not self._news:
            return ()
        came = []
        for resident in there:
            name = resident.name
            # One that was unloaded and is listed with time to live has been loaded anew, however short it was away.
            gone = self._unloaded_at.get(name, self.view.asked_at)
            again = unload and gone < self.view.asked_at and not self._leaves(resident)
            if name not in self._present or (again and self._counted.get(name) != gone):
                came.append(name)
                self._counted[name] = gone
                known = self.intruders.get(name)
                since, times = (self.view.asked_at, 0) if known is None else (known.since, known.times)
                self.intruders[name] = Intruder(name, since, times + 1)
        self._present = {resident.name for resident in there}
        return tuple(came)

    def _blob(self, resident: Resident) -> str | None:
        return None if self._server is None else self._server.blob(resident)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


def said(name: str) -> str:
    """The name of a model as a piece of a sentence."""
    return one_line(printable(name))


def in_words(error: BaseException) -> str:
    """An error of a request, also one that no request should end with."""
    return error.message if isinstance(error, ServerError) else one_line(repr(error))


def of_ollama(names: tuple[str, ...]) -> str:
    """`judge:v1 and planner:v1 of Ollama`."""
    return f"{listed(names)} of Ollama"
