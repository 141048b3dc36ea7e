"""Served models beside the one slot of a machine without a GPU: those of the model server, and those of the home.

Of the model server nothing is unloaded there for a job, so nobody looks at it but for a job that asks it: what was loaded
before such a job is loaded after it, as on a GPU. The home's own served models compute on the same CPU: they are away for a job
that has the slot to itself.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from core.clock import NEVER, SYSTEM_CLOCK, Clock
from core.gpu_lease.lock import lease_path
from core.gpu_lease.model_eviction import EAGER_SECONDS, WATCHING_SECONDS, Connect, ModelEviction
from core.gpu_lease.notes import Notes
from core.gpu_lease.served_models import ServedModels
from core.home import Home
from core.jobfile.gpu_use import GpuMode, GpuUses
from core.reasons import Reason
from core.serving.modelserver import OllamaServer
from core.store.jobs import JobRow

if TYPE_CHECKING:
    from core.config.settings import GpuSettings, OllamaSettings

log = logging.getLogger(__name__)


class CpuSlot:
    """For the runner's thread; nothing here waits. The server is connected to while there is something to do."""

    def __init__(
        self,
        home: Home,
        settings: GpuSettings,
        ollama: OllamaSettings,
        uses: GpuUses,
        *,
        clock: Clock = SYSTEM_CLOCK,
        connect: Connect = OllamaServer,
    ) -> None:
        self.home, self.settings, self.ollama, self.uses = home, settings, ollama, uses
        self.clock, self.connect = clock, connect
        self.notes = Notes(clock)
        self.served = ServedModels(home, self.notes, clock, lease=lease_path(home, None), on_gpu=False)
        self._models: ModelEviction | None = None
        self._wanted: int | None = None
        self._since = NEVER
        self._returning = False
        self._told = 0

    @property
    def busy(self) -> bool:
        """Whether something is under way that this runner has to bring to its end."""
        return self.served.pending or (self._models is not None and self._models.pending)

    def tick(self, holder: JobRow | None, wanted: JobRow | None) -> Reason | None:
        """One round. `holder` has the slot, `wanted` may have it next; why that one has to wait, None when it may start.

        What the model server had loaded comes back beside a job that asks no server: none makes room for one here.
        """
        if wanted is None or self._wanted != wanted.id:
            self._wanted, self._since = None if wanted is None else wanted.id, self.clock.monotonic()
        mode = None if wanted is None or holder is not None else self.uses.of(wanted.id).mode
        held = None if holder is None else self.uses.of(holder.id).mode
        try:
            served = self._serve(holder, held, wanted, mode)
            models = self._follow_models(wanted, asks=mode == "serving" and served is None, held=held == "serving")
            return served or models
        except OSError as error:
            return Reason("home_not_writable", {"error": error.strerror or str(error)}) if mode is not None else None
        finally:
            self._tell()

    def close(self) -> None:
        """Let go of the server; models that are away are the next runner's."""
        if self._models is not None:
            self._models.close()
            self._models = None

    def _serve(
        self, holder: JobRow | None, held: GpuMode | None, wanted: JobRow | None, mode: GpuMode | None
    ) -> Reason | None:
        """The home's own served models: why the wanted job has to wait for them."""
        self.served.tick()
        if held == "exclusive" and holder is not None:
            self.served.send_away(holder.id)  # one that was started meanwhile goes, too
        elif mode == "exclusive" and wanted is not None:
            there = self.served.send_away(wanted.id)
            if not there:
                return None
            seconds = self.settings.clear_seconds
            if self.clock.monotonic() - self._since <= seconds:
                return Reason("stopping_served", {"models": list(there)})
            # No job stays away for ever for one that does not go: here both can compute, if slowly.
            self.notes.add(Reason("served_still_there", {"models": list(there), "seconds": seconds}), "bad")
        elif holder is None:
            coming = self.served.bring_back()
            return coming if mode == "serving" else None
        return None

    def _follow_models(self, wanted: JobRow | None, *, asks: bool, held: bool) -> Reason | None:
        """What the model server holds: why a job that asks it has to wait."""
        models_away = self._models is not None and self._models.pending
        if not (asks or held or models_away or self.home.evicted_models.exists()):
            self.close()
            return None
        if self._models is None:
            waits = (self.settings.reload_seconds, self.settings.settle_seconds)
            self._models = ModelEviction(self.home, self.ollama, *waits, self.notes, self.clock, self.connect)
        models = self._models
        models.tick(WATCHING_SECONDS if held else EAGER_SECONDS)
        if asks and wanted is not None:
            self._returning = False
            return models.prepare_for(wanted.id, self.uses.of(wanted.id).asked, self._since)
        if not held and models.can_return():
            if not self._returning:
                models.begin_return()
            self._returning = True
            models.bring_back()
        elif held:
            self._returning = False
        return None

    def _tell(self) -> None:
        """There is no pane for it here: what happened stands in the runner's log."""
        kept, self._told = self.notes.kept[self._told :], len(self.notes.kept)
        for note in kept:
            log.log(
                logging.INFO if note.level == "ok" else logging.WARNING, "%s %s", note.reason.code, note.reason.values
            )
