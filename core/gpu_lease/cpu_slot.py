"""The model server beside the one slot of a machine without a GPU.

Nothing is unloaded there for a job, so nobody looks at the server but for a job that asks it: what was loaded before such a job
is loaded after it, as on a GPU.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from core.clock import NEVER, SYSTEM_CLOCK, Clock
from core.gpu_lease.model_eviction import EAGER_SECONDS, WATCHING_SECONDS, Connect, ModelEviction
from core.gpu_lease.notes import Notes
from core.home import Home
from core.jobfile.gpu_use import GpuUses
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
        self._models: ModelEviction | None = None
        self._wanted: int | None = None
        self._since = NEVER
        self._returning = False
        self._told = 0

    @property
    def busy(self) -> bool:
        """Whether something is under way that this runner has to bring to its end."""
        return self._models is not None and self._models.pending

    def tick(self, holder: JobRow | None, wanted: JobRow | None) -> Reason | None:
        """One round. `holder` has the slot, `wanted` may have it next; why that one has to wait, None when it may start.

        What was loaded comes back beside a job that asks no server: none makes room for one here.
        """
        if wanted is None or self._wanted != wanted.id:
            self._wanted, self._since = None if wanted is None else wanted.id, self.clock.monotonic()
        asks = wanted is not None and holder is None and self.uses.of(wanted.id).mode == "serving"
        held = holder is not None and self.uses.of(holder.id).mode == "serving"
        if not (asks or held or self.busy or self.home.evicted_models.exists()):
            self.close()
            return None
        try:
            return self._follow(wanted if asks else None, rests=not held)
        except OSError as error:
            return Reason("home_not_writable", {"error": error.strerror or str(error)}) if asks else None
        finally:
            self._tell()

    def close(self) -> None:
        """Let go of the server; models that are away are the next runner's."""
        if self._models is not None:
            self._models.close()
            self._models = None

    def _follow(self, asking: JobRow | None, *, rests: bool) -> Reason | None:
        if self._models is None:
            waits = (self.settings.reload_seconds, self.settings.settle_seconds)
            self._models = ModelEviction(self.home, self.ollama, *waits, self.notes, self.clock, self.connect)
        models = self._models
        models.tick(EAGER_SECONDS if rests else WATCHING_SECONDS)
        if asking is not None:
            self._returning = False
            return models.prepare_for(asking.id, self.uses.of(asking.id).asked, self._since)
        if rests and models.can_return():
            if not self._returning:
                models.begin_return()
            self._returning = True
            models.bring_back()
        elif not rests:
            self._returning = False
        return None

    def _tell(self) -> None:
        """There is no pane for it here: what happened stands in the runner's log."""
        kept, self._told = self.notes.kept[self._told :], len(self.notes.kept)
        for note in kept:
            log.log(
                logging.INFO if note.level == "ok" else logging.WARNING, "%s %s", note.reason.code, note.reason.values
            )
