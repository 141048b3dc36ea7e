"""Who may have the GPU: it is made free before a job, looked at after it, and given back to whoever was on it.

A part of the runner, called at each of its rounds; nothing in it waits. What it knows stands in `gpu_lease.json` for consoles,
what has to outlive it in `evicted_models.json` and in the lock of the GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.clock import NEVER, SYSTEM_CLOCK, Clock
from core.gpu.devices import Gpu
from core.gpu.reading import Sample
from core.gpu_lease import admission
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.admission import AdmissionTerms
from core.gpu_lease.clearing import Clearing
from core.gpu_lease.gpu_fault import FaultBlock, GpuFault
from core.gpu_lease.memory_view import UNREAD, MemoryView
from core.gpu_lease.model_eviction import EAGER_SECONDS, LAZY_SECONDS, WATCHING_SECONDS, Connect, ModelEviction
from core.gpu_lease.notes import Notes
from core.gpu_lease.phases import LeasePhase
from core.gpu_lease.served_models import ServedModels
from core.gpu_lease.state import LeaseState, StateFile, read_lease_state
from core.home import Home
from core.jobfile.gpu_use import GpuUse, GpuUses
from core.reasons import Reason, Value
from core.serving.modelserver import OllamaServer
from core.store.jobs import JobRow

if TYPE_CHECKING:
    from core.config.settings import GpuSettings, OllamaSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unwelcome:
    """A job has to stop for what a client loaded onto its GPU."""

    job_id: int
    reason: Reason


class GpuLeaseManager:
    """Keeps one GPU for the jobs of a home. `lease` is the lock while this process has it for itself.

    `connect` makes the model server, `clock` tells the time and `use_of` what a job does with the GPU: a test has its own.
    """

    def __init__(
        self,
        home: Home,
        gpu: Gpu,
        settings: GpuSettings,
        ollama: OllamaSettings,
        *,
        clock: Clock = SYSTEM_CLOCK,
        connect: Connect = OllamaServer,
        use_of: Callable[[int], GpuUse] | None = None,
    ) -> None:
        self.home = home
        self.gpu = gpu
        self.settings = settings
        self.clock = clock
        self.use_of = use_of or GpuUses(home).of
        self.lease_path = gpu_lock.lease_path(home, gpu.pci)
        self.lease: gpu_lock.Lease | None = None
        self.terms = AdmissionTerms(settings.tolerance_bytes, serves_beside=not ollama.managed)
        self.view = MemoryView(home, gpu.pci, settings.tolerance_bytes, settings.return_seconds, clock)
        former = read_lease_state(home)
        self.notes = Notes(clock, former.notes if former is not None and former.pci == gpu.pci else ())
        waits = (settings.reload_seconds, settings.settle_seconds)
        self.models = ModelEviction(home, ollama, *waits, self.notes, clock, connect)
        self.served = ServedModels(home, self.notes, clock, lease=self.lease_path, on_gpu=True)
        self.block = FaultBlock(home, self.notes, self._complain)
        self.state = LeaseState(time=clock.time(), pci=gpu.pci, notes=self.notes.kept)
        self.unwelcome: Unwelcome | None = None
        self._file = StateFile(home)
        self._phase = LeasePhase(clock)
        parts = (home, settings, self.terms, self.view, self.models, self.served, self.notes, self._phase, clock)
        self._clearing = Clearing(*parts)
        self._status: Reason | None = None
        self._ready: int | None = None
        self._given: int | None = None
        """The job that the lease was handed over for."""
        self._wanted: int | None = None
        self._wanted_since = NEVER
        self._refusals = 0
        self._quiet_from: str | None = None
        self._trouble: str | None = None

    # What the runner asks.

    @property
    def busy(self) -> bool:
        """Whether something is under way that this runner has to bring to its end."""
        phase = self._phase.phase
        return phase in ("clearing", "verifying", "restoring") or self.models.pending or self.served.pending

    def no_room_for(self, job: JobRow) -> Reason | None:
        """Why the GPU cannot hold this job, whoever leaves; None when it can, or when nobody knows."""
        known = self.view.known
        return None if known is None else admission.too_large(job.device_memory_bytes, known, self.terms)

    @property
    def blocked_by_fault(self) -> Reason | None:
        """That the GPU has faulted and nobody has released it: no job gets it before. None when it may be had."""
        return self.block.reason

    def note_fault(self, fault: GpuFault) -> None:
        """A page fault of the GPU was seen."""
        held = self._phase.job_id if self._phase.phase in ("held", "verifying") else None
        only_asks = held is not None and not self.use_of(held).loads_models
        self.block.note(fault, job_on_gpu=None if only_asks else held, asking=held if only_asks else None)

    def ready_for(self, job: JobRow) -> bool:
        """Whether the GPU is free for it now, and the lease in hand: `hand_over` it."""
        return self._ready == job.id and self.lease is not None

    def hand_over(self) -> gpu_lock.Lease:
        """The lease, for the process of the job; who takes it releases it."""
        lease, self.lease, self._given, self._ready = self.lease, None, self._ready, None
        assert lease is not None
        return lease

    @property
    def why(self) -> Reason:
        """What the next job waits for."""
        unquiet = None if self._serves(self._wanted) else self._unquiet()
        return unquiet or self._status or Reason("awaiting_reading")

    def see(self, sample: Sample) -> None:
        """Take in the newest sample."""
        try:
            self.view.see(sample, self._loaded_bytes)
        except OSError as error:
            self._complain("The idle memory use of the GPU was not written", error)

    def tick(self, holder: JobRow | None, wanted: JobRow | None) -> None:
        """One round. `holder` is the active job on the GPU, `wanted` the one that may have it next."""
        if holder is None or self.unwelcome is None or holder.state == "stopping" or holder.id != self.unwelcome.job_id:
            self.unwelcome = None
        self._ready = None
        if wanted is None:
            self._wanted = None
        elif self._wanted != wanted.id:
            self._wanted, self._wanted_since = wanted.id, self.clock.monotonic()
        try:
            self.block.refresh()
            self.models.tick(self._pace(holder, wanted))
            self.served.tick(self.view.processes)
            self.view.refresh(self._loaded_bytes)
            if holder is not None:
                self._hold(holder)
            elif self._phase.phase == "held" or (self._phase.phase == "verifying" and not self._came_back()):
                self._verify()
            elif self.block.fault is not None:
                self._stay_blocked()
            else:
                self._serve(wanted)
        except OSError as error:
            # What cannot be written down is not done: models are the next runner's to bring back, whatever befalls this one.
            self._status = Reason("home_not_writable", {"error": error.strerror or str(error)})
            self._complain("The home cannot be written", error)
        if self._phase.phase in ("free", "blocked", "verifying"):
            self.view.watch_unowned()
        self._publish()

    def close(self) -> None:
        """Let go of the lease and the server; models that are away are the next runner's."""
        self._release()
        self.models.close()

    @property
    def _loaded_bytes(self) -> int:
        """What served models hold of the GPU: those that the model server lists, and those of this home."""
        return self.models.served_bytes + self.served.loaded_bytes

    def _pace(self, holder: JobRow | None, wanted: JobRow | None) -> float:
        """How often the model server is to be asked."""
        if holder is not None:
            return WATCHING_SECONDS
        phase = self._phase.phase
        if self._quiet_from is None and (phase == "blocked" or (phase == "free" and wanted is None)):
            return LAZY_SECONDS
        return EAGER_SECONDS

    def _serve(self, wanted: JobRow | None) -> None:
        """The GPU is nobody's: it is for the next job, or for the models that were on it."""
        hindrance = None if wanted is None else self._hindrance(wanted)
        unread = hindrance is not None and hindrance.code in UNREAD
        if wanted is not None and hindrance is None:
            self._make_way(wanted)
        elif self._phase.phase == "restoring" or (not unread and (self.served.pending or self.models.can_return())):
            self._restore(wanted, hindrance)
        else:
            self._rest(wanted, hindrance)

    def _serves(self, job_id: int | None) -> bool:
        """Whether this job asks the model server, whose models stay meanwhile."""
        return job_id is not None and self.use_of(job_id).mode == "serving"

    # A job has it.

    def _hold(self, job: JobRow) -> None:
        if not self._phase("held", job.id):
            self._release()
            ours = self._given == job.id and self._phase("free", job.id)
            self._phase.enter("held", job.id, "job_started" if ours else "job_found")
            self._given = None
            self._clearing.end()
            self.models.begin_watch()
        self._status = None
        if self._serves(job.id):
            return  # what is loaded now is the job's doing, or a client's that it shares the server with
        self.served.send_away(job.id)  # one that was started meanwhile goes, too
        policy = self.settings.intruder
        for name in self.models.watch(unload=policy == "unload"):
            values: dict[str, Value] = {"model": name, "job_id": job.id, "policy": policy}
            self.notes.add(Reason("model_loaded_by_client", values), "warn")
            if policy == "pause":
                self._quiet_from = name
                self.unwelcome = Unwelcome(job.id, Reason("model_loaded_by_client", values))

    # A job had it.

    def _verify(self) -> None:
        if self._phase.phase == "held":
            self._phase.enter("verifying", self._phase.job_id, "job_ended")
        left, values = self._left_bytes, {"job_id": self._phase.job_id}
        if left <= self.terms.tolerance_bytes:
            self._status = Reason("checking_memory", values)
        else:
            self._status = Reason("job_memory_returning", {**values, "left_bytes": admission.rounded(left)})

    def _came_back(self) -> bool:
        """Whether the memory of the job that ended is back, or has had its time."""
        since = self._phase.since
        assert since is not None
        overdue = self._phase.seconds > self.settings.return_seconds
        if self.view.mute:
            return True
        if self.view.taken_at <= since.monotonic:
            return overdue  # no look at the GPU since its end
        left = self._left_bytes
        if left <= self.terms.tolerance_bytes:
            return True
        if overdue:
            seconds, job_id = self.settings.return_seconds, self._phase.job_id
            values: dict[str, Value] = {"left_bytes": admission.rounded(left), "job_id": job_id, "seconds": seconds}
            self.notes.add(Reason("job_memory_not_returned", values), "bad")
            self.view.unowned_since = since
        return overdue

    @property
    def _left_bytes(self) -> int:
        return self.view.left_bytes(self.terms, beside_models=self._serves(self._phase.job_id))

    # A job wants it.

    def _hindrance(self, job: JobRow) -> Reason | None:
        """Why it is not even begun to make the GPU free; with None the lease is in hand."""
        since = (
            NEVER if self._phase.phase == "clearing" else self._wanted_since
        )  # while clearing it is looked at all along
        serves = (use := self.use_of(job.id)).mode == "serving"
        unread = self.view.unread(since)
        waits = unread if serves else self._clearing.waits or self._unquiet() or unread
        if waits is not None:
            return waits
        if self.lease is None:
            self.lease = gpu_lock.acquire(self.lease_path)
            self._refusals = 0 if self.lease is not None else self._refusals + 1
            if self.lease is None:
                # Whoever looks who holds it has it for a moment: one refusal proves nothing.
                held = gpu_lock.held_by(self.lease_path, self.home) if self._refusals > 1 else None
                return held or Reason("awaiting_reading")
        problem = None  # what is being unloaded may be nobody's for a moment
        if not use.beside_programs:
            around = serves or self.models.managed or bool(self.served.residents)
            problem = self.view.in_the_way(self.terms, unowned=self._phase.phase != "clearing", around_models=around)
        if problem is not None and self._phase.phase != "restoring":
            self._release()
        return problem

    def _unquiet(self) -> Reason | None:
        """That a job which made room for a client's model still does; None once nobody has asked one for a while."""
        if self._quiet_from is None:
            return None
        seconds, activity = self.settings.clients_quiet_seconds, self.models.activity
        if self.clock.monotonic() - activity.active_at >= seconds:
            self._quiet_from = None
            return None
        return Reason("clients_active", {"model": activity.active_name or self._quiet_from, "seconds": seconds})

    def _make_way(self, job: JobRow) -> None:
        assert self.lease is not None
        if self._serves(job.id):
            self._status = self._make_ready_to_ask(job)
        else:
            self._status = self._clearing.step(job, self.lease)
        if self._status is None:
            # It is held once the job's process has it: the next round tells.
            self._ready = job.id

    def _make_ready_to_ask(self, job: JobRow) -> Reason | None:
        """Nothing has to go for a job that asks a server; what is there is noted, so that it is there afterwards."""
        self._clearing.end()
        if not self._phase("free", job.id):
            self._phase.enter("free", job.id, "server_asked")
        if (coming := self.served.bring_back()) is not None:  # the job may ask one of them
            return coming
        return self.models.prepare_for(job.id, self.use_of(job.id).asked, self._wanted_since)

    # Nobody wants it, or it cannot be had.

    def _restore(self, wanted: JobRow | None, hindrance: Reason | None) -> None:
        if self.lease is None:
            self.lease = gpu_lock.acquire(self.lease_path)
        if self.lease is None:
            self._rest(wanted, hindrance or gpu_lock.held_by(self.lease_path, self.home))
            return
        if self._phase.phase != "restoring":
            self._phase.enter("restoring", self._phase.job_id, "models_evicted")
            self._clearing.end()
            self.models.begin_return()
            self.lease.note_holder(self.home, self._phase.job_id or 0)
        served, models = self.served.bring_back(), self.models.bring_back()
        if served is None and models is None:
            self._rest(wanted, hindrance)
        else:
            self._status = hindrance or models or served

    def _stay_blocked(self) -> None:
        """Nobody gets the GPU, and no model is loaded onto it: that is the person's to decide."""
        self._release()
        self._clearing.end()
        self._status = self.block.reason
        if not self._phase("blocked", None) or self._phase.cause != "gpu_faulted":
            self._phase.enter("blocked", None, "gpu_faulted")

    def _rest(self, wanted: JobRow | None, hindrance: Reason | None) -> None:
        self._release()
        self._clearing.end()
        self._status = hindrance
        job_id = None if wanted is None else wanted.id
        # Nobody is in the way while it is only being looked at.
        if wanted is None or (hindrance is not None and hindrance.code in UNREAD):
            if not self._phase("free", job_id):
                self._phase.enter("free", job_id, "nothing_to_do" if wanted is None else "gpu_unread")
        elif not self._phase("blocked", job_id):
            self._phase.enter("blocked", job_id, "job_hindered")

    # What is told.

    def _release(self) -> None:
        if self.lease is not None:
            self.lease.release()
            self.lease = None

    def _publish(self) -> None:
        """Write `gpu_lease.json` where it says something new."""
        stale, unowned_since, phase = self.view.stale_bytes, self.view.unowned_since, self._phase
        self.state = replace(
            self.state,
            time=self.clock.time(),
            phase=phase.phase,
            job_id=phase.job_id,
            since=None if phase.since is None else phase.since.time,
            cause=phase.cause,
            mode="exclusive" if phase.job_id is None else self.use_of(phase.job_id).mode,
            status=self._status,
            server=self.models.name,
            server_fault=self.models.problem,
            residents=self.models.residents,
            evicted=self.models.evicted.names,
            served=self.served.residents,
            served_away=self.served.away,
            intruders=self.models.intruders if phase.phase == "held" else (),
            models_stay=self.terms.serves_beside,
            tolerance_bytes=self.terms.tolerance_bytes,
            baseline_bytes=self.view.baseline_bytes,
            unowned_bytes=stale,
            unowned_since=unowned_since.time if stale and unowned_since is not None else None,
            remedy=admission.remedy_for_unowned(self.gpu.vendor) if stale else None,
            notes=self.notes.kept,
        )
        try:
            self._file.put(self.state)
        except OSError as error:
            self._complain("The state of the GPU was not written", error)

    def _complain(self, what: str, error: OSError) -> None:
        if (message := f"{what}: {error}") != self._trouble:
            self._trouble = message
            log.warning("%s", message)
