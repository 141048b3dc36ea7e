"""Asking the server to let models go: one request a model at a time, asked again for what is still there."""

from __future__ import annotations

from core.clock import Clock
from core.gpu_lease.evicted_models import EvictedModels
from core.gpu_lease.model_records import ModelRecord, ModelRecords
from core.gpu_lease.notes import Notes
from core.gpu_lease.server_activity import ServerActivity
from core.reasons import Reason, Value
from core.serving.errors import ServerError, reason_of
from core.serving.modelserver import ModelServer
from core.serving.replies import Resident

ASK_AGAIN_SECONDS = 1.0


class ModelUnload:
    """For the runner's thread; nothing here waits."""

    def __init__(
        self,
        server: ModelServer,
        evicted: EvictedModels,
        records: ModelRecords,
        activity: ServerActivity,
        notes: Notes,
        clock: Clock,
    ) -> None:
        self.server, self.evicted, self.records, self.activity = server, evicted, records, activity
        self.notes, self.clock = notes, clock

    @property
    def under_way(self) -> tuple[str, ...]:
        """The models that a request on its way asks to go."""
        return tuple(name for name, record in self.records.items() if record.unloading is not None)

    def tick(self) -> None:
        """Take in how requests ended. Raises OSError."""
        for name, record in self.records.items():
            if record.unloading is not None and record.unloading.done():
                self._after(name, record)

    def leaves(self, resident: Resident) -> bool:
        """Whether it is on its way out, at our wish or another's, and only ends an answer."""
        record = self.records.of(resident.name)
        # Seen with time to live since we asked it to go, it has been loaded anew.
        ours = record.unloaded_at > record.alive_at
        return (ours and self.activity.stays_seconds(resident) == 0.0) or self.activity.leaves(resident)

    def ask(self, resident: Resident) -> None:
        """Ask it to go, unless a request is on its way or has just been."""
        record = self.records.of(resident.name)
        if record.unloading is not None:
            return
        # Only what was listed after the last time it was asked is still there.
        waited = self.clock.monotonic() - record.unloaded_at
        if self.server.view.asked_at > record.unloaded_at and waited >= ASK_AGAIN_SECONDS:
            record.unloading = self.server.unload(resident)

    def _after(self, name: str, record: ModelRecord) -> None:
        assert record.unloading is not None
        ended, record.unloading = record.unloading, None
        record.unloaded_at = self.clock.monotonic()
        error = ended.exception()
        if error is None:
            if (tag := ended.result()) != name:
                self.evicted.rename(name, tag)
        # A server that went away has let go of it; one that refuses is asked again as long as it lists the model.
        elif not isinstance(error, ServerError) or error.code == "server_refused":
            self.notes.add(Reason("model_not_unloaded", about(name, error)), "bad")


def about(name: str, error: BaseException) -> dict[str, Value]:
    """A model, and why a request about it failed: the values of that beside its code."""
    why = reason_of(error)
    return {**why.values, "model": name, "problem": why.code}
