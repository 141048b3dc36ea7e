"""What a job that asked the model server has left there: models that were not loaded before it are unloaded.

A model that a client has had loaded since is the client's, and stays.
"""

from __future__ import annotations

from core.clock import NEVER, Clock
from core.gpu_lease.evicted_models import EvictedModels
from core.gpu_lease.model_records import ModelRecords
from core.gpu_lease.model_unload import ASK_AGAIN_SECONDS, ModelUnload
from core.reasons import Reason
from core.serving.modelserver import ModelServer
from core.serving.replies import Resident, full_name


class ModelLeftovers:
    """For the runner's thread; nothing here waits.

    `settle_seconds`: how long a model must not have been listed before it is believed to be gone. The job may have been killed
    while it had one loaded, and one that is being loaded is not listed.
    """

    def __init__(
        self,
        server: ModelServer,
        evicted: EvictedModels,
        records: ModelRecords,
        unload: ModelUnload,
        clock: Clock,
        settle_seconds: float,
    ) -> None:
        self.server, self.evicted, self.records, self.unload = server, evicted, records, unload
        self.clock, self.settle_seconds = clock, settle_seconds
        self._since = NEVER
        """When what goes on now was begun, in monotonic seconds."""

    def begin(self) -> None:
        self._since = self.clock.monotonic()

    def step(self) -> Reason | None:
        """One step with a list of now: what is waited for, None once nothing is left. Raises OSError."""
        going: list[str] = []
        unsure = False
        for name in self.evicted.asked:
            resident = self._listed(name)
            record = self.records.of(name)
            asked_to_go = record.unloaded_at > self._since
            if resident is None:
                gone = asked_to_go or self.server.view.asked_at - self._since >= self.settle_seconds
                unsure = unsure or not gone
            elif self._was_there(resident):
                gone = True
            elif self.unload.leaves(resident):
                gone = asked_to_go
            else:
                # Still there some time after it was asked to go, it was loaded anew, or the notes tell why it does not go.
                gone = asked_to_go and self.server.view.asked_at - record.unloaded_at >= ASK_AGAIN_SECONDS
            if gone:
                self.evicted.forget_asked(name)
            elif resident is not None:
                if not asked_to_go:
                    self.unload.ask(resident)
                going.append(name)
        if going:
            return Reason("unloading_models", {"models": going})
        return Reason("checking_for_loads") if unsure else None

    def _listed(self, name: str) -> Resident | None:
        residents = self.server.view.residents or ()
        return next((one for one in residents if full_name(one.name) == name), None)

    def _was_there(self, resident: Resident) -> bool:
        """Whether it was loaded before the job. Under another tag now, it was loaded anew, and has to be as it was."""
        blob = self.server.blob(resident)
        known = next((one for one in self.evicted.models if one.is_resident(resident, blob)), None)
        if known is not None and known.name != resident.name and not known.asked:
            self.evicted.settle(known.name, asked=True)
        return known is not None
