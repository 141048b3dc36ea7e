"""The GPU is made free for one job: served models go, and that it is free is believed once it has been for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.clock import NEVER, Clock
from core.gpu_lease import admission
from core.gpu_lease.admission import AdmissionTerms
from core.gpu_lease.backoff import Backoff
from core.gpu_lease.lock import Lease
from core.gpu_lease.memory_view import MemoryView
from core.gpu_lease.model_eviction import ModelEviction
from core.gpu_lease.notes import Notes
from core.gpu_lease.phases import LeasePhase
from core.gpu_lease.served_models import ServedModels
from core.home import Home
from core.reasons import Reason
from core.store.jobs import JobRow

if TYPE_CHECKING:
    from core.config.settings import GpuSettings


class Clearing:
    """One try after the other, each later than the one before; the phases it enters are `clearing` and `free`."""

    def __init__(
        self,
        home: Home,
        settings: GpuSettings,
        terms: AdmissionTerms,
        view: MemoryView,
        models: ModelEviction,
        served: ServedModels,
        notes: Notes,
        phase: LeasePhase,
        clock: Clock,
    ) -> None:
        self.home, self.settings, self.terms = home, settings, terms
        self.view, self.models, self.served = view, models, served
        self.notes, self.phase, self.clock = notes, phase, clock
        self._backoff = Backoff(clock, settings.retry_seconds, settings.tolerance_bytes)
        self._job_id: int | None = None
        self._since = 0.0
        self._in_the_way_bytes = 0

    @property
    def waits(self) -> Reason | None:
        """Why it is not tried again yet; None when it may be."""
        return self._backoff.waits(self._left_over_bytes)

    def step(self, job: JobRow, lease: Lease) -> Reason | None:
        """One round with the lease in hand: what is waited for, None when the GPU is free for the job. Raises OSError."""
        there, served = self.models.send_away(), self.served.send_away(job.id)
        known = self.view.known
        clear = known is None or admission.is_clear(known, self.terms)
        settled = self.models.empty_for(self.settings.settle_seconds) or not self.models.managed
        if self._job_id != job.id:
            self._job_id, self._since = job.id, self.clock.monotonic()
        if (there or served or not clear or self.phase.phase == "clearing") and not self.phase("clearing", job.id):
            self._begin(job, lease, there, served)
        elif self.phase.phase != "clearing" and not self.phase("free", job.id):
            self.phase.enter("free", job.id, "gpu_clear")
        if there:
            waits_for = Reason("unloading_models", {"models": list(there)})
        elif served:
            waits_for = Reason("stopping_served", {"models": list(served)})
        elif not clear and known is not None:
            left = admission.rounded(admission.in_the_way(known, self.terms))
            waits_for = Reason("memory_returning", {"left_bytes": left})
        elif not settled:
            waits_for = Reason("checking_for_loads")
        elif unread := self._unread():
            waits_for = unread
        elif not self.models.stop_service():
            waits_for = Reason("stopping_server")
        else:
            self._succeed(job)
            return None
        if self.clock.monotonic() - self._since > self.settings.clear_seconds:
            self._give_up(there, served)
        return waits_for

    def _unread(self) -> Reason | None:
        """That the GPU was not looked at since the last that had to go was gone; None once it was."""
        gone_at = [self.served.gone_at, self.models.activity.emptied_at if self.models.managed else NEVER]
        return None if max(gone_at) == NEVER and not self.models.managed else self.view.unread(max(gone_at))

    def end(self) -> None:
        """No way is made for any job at the moment: the next try has its whole time."""
        self._job_id = None

    @property
    def _left_over_bytes(self) -> int:
        """Bytes in the way that are neither what the model server lists nor a served model's of this home."""
        known = self.view.known
        if known is None:
            return 0
        return max(0, admission.in_the_way(known, self.terms) - self.models.served_bytes - self.served.loaded_bytes)

    def _begin(self, job: JobRow, lease: Lease, there: tuple[str, ...], served: tuple[str, ...]) -> None:
        known = self.view.known
        self._in_the_way_bytes = 0 if known is None else admission.in_the_way(known, self.terms)
        self.phase.enter("clearing", job.id, "job_wanted")
        if there:
            self.notes.add(Reason("unloading_models", {"models": list(there)}))
        if served:
            self.notes.add(Reason("stopping_served", {"models": list(served)}))
        lease.note_holder(self.home, job.id)

    def _succeed(self, job: JobRow) -> None:
        if self.phase.phase == "clearing":
            freed, seconds = admission.rounded(self._in_the_way_bytes), max(1, round(self.phase.seconds))
            self.notes.add(Reason("gpu_cleared", {"freed_bytes": freed, "seconds": seconds}))
            self.phase.enter("free", job.id, "gpu_clear")
        if self.view.known is None and not self.view.sleeps:
            self.notes.add(Reason("memory_unknown"), "warn")
        self._backoff.succeeded()

    def _give_up(self, there: tuple[str, ...], served: tuple[str, ...]) -> None:
        """The job waits, and the models come back."""
        known, seconds = self.view.known, self.settings.clear_seconds
        left_over = None
        if there:
            reason = Reason("models_still_loaded", {"models": list(there), "seconds": seconds})
        elif served:
            reason = Reason("served_still_there", {"models": list(served), "seconds": seconds})
        elif known is not None and not admission.is_clear(known, self.terms):
            reason, left_over = admission.left_over(known, self.terms), self._left_over_bytes
        else:
            unanswered = None if self.models.answers else self.models.problem
            reason = unanswered or Reason("models_kept_loading", {"seconds": seconds})
        self.notes.add(reason, "bad")
        self._backoff.give_up(reason, left_over)
        self.end()
        if self.phase.phase == "clearing":
            self.phase.enter("free", self.phase.job_id, "clearing_failed")
