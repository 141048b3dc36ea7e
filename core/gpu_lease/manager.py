"""Who may have the GPU: it is made free before a job, looked at after it, and given back to whoever was on it.

A part of the runner, called at each of its rounds; nothing in it waits. What it knows stands in `gpu_lease.json` for consoles,
what has to outlive it in `displaced.json` and in the lock of the GPU.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from core.format import moment
from core.gpu.devices import Gpu
from core.gpu.reading import Sample
from core.gpu_lease import admission
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.admission import AdmissionTerms
from core.gpu_lease.backoff import Backoff
from core.gpu_lease.memory_view import MemoryView
from core.gpu_lease.model_eviction import EAGER_SECONDS, LAZY_SECONDS, WATCHING_SECONDS, ModelEviction, of_ollama, said
from core.gpu_lease.state import LeaseState, Note, Phase, StateFile, read_lease_state
from core.home import Home
from core.store.jobs import JobRow

if TYPE_CHECKING:
    from core.config.settings import GpuSettings, OllamaSettings

CLOCK_SECONDS = 1.0
NO_FIGURES = "it gives no figures"
LEARNING = "its idle use is being learnt"
LOOKING = "a look at what it holds"
AT_ONCE = (NO_FIGURES, LEARNING, LOOKING)
"""What a job waits for that takes seconds: no model is loaded for them."""


@dataclass(frozen=True)
class Unwelcome:
    """A job has to stop for what a client loaded onto its GPU."""

    job_id: int
    reason: str


class GpuLeaseManager:
    """Keeps one GPU for the jobs of a home. `lease` is the lock while this process has it for itself."""

    def __init__(self, home: Home, gpu: Gpu, settings: GpuSettings, ollama: OllamaSettings) -> None:
        self.home = home
        self.gpu = gpu
        self.settings = settings
        self.lease_path = gpu_lock.lease_path(home, gpu.pci)
        self.lease: gpu_lock.Lease | None = None
        self.terms = AdmissionTerms(settings.tolerance_bytes, serves_beside=not ollama.managed)
        self.view = MemoryView(home, gpu.pci, settings.tolerance_bytes, settings.return_seconds)
        former = read_lease_state(home)
        notes = former.notes if former is not None and former.pci == gpu.pci else ()
        self.state = LeaseState(time=0.0, pci=gpu.pci, notes=notes)
        self._file = StateFile(home)
        self.unwelcome: Unwelcome | None = None
        self.now = time.time()
        self._patience = Backoff(settings.retry_seconds, settings.tolerance_bytes)
        self.models = ModelEviction(home, ollama, settings.retry_seconds, self.note)
        self._phase: Phase = "free"
        self._since: float | None = None
        self._job_id: int | None = None
        self._message = ""
        self._ready: int | None = None
        self._wanted: tuple[int, float] | None = None
        """Which job wants the GPU, and since when it may have it."""
        self._refusals = 0
        self._cleared_bytes = 0
        self._quiet_from: str | None = None
        self._trouble: str | None = None

    # What the runner asks.

    @property
    def busy(self) -> bool:
        """Whether something is under way that this runner has to bring to its end."""
        return self._phase in ("clearing", "verifying", "restoring") or bool(self.models.displaced)

    def no_room_for(self, job: JobRow) -> str | None:
        """Why the GPU cannot hold this job, whoever leaves; None when it can, or when nobody knows."""
        known = self.view.known
        return None if known is None else admission.too_large(job.device_memory_bytes, known, self.terms)

    def ready_for(self, job: JobRow) -> bool:
        """Whether the GPU is free for it now, and the lease in hand: `hand_over` it."""
        return self._ready == job.id and self.lease is not None

    def hand_over(self) -> gpu_lock.Lease:
        """The lease, for the process of the job; who takes it releases it."""
        lease, self.lease, self._ready = self.lease, None, None
        assert lease is not None
        return lease

    @property
    def why(self) -> str:
        """What the next job waits for."""
        return self._unquiet() or self._message

    def see(self, sample: Sample) -> None:
        """Take in the newest sample."""
        try:
            self.view.see(sample, self.models.served_bytes)
        except OSError as error:
            self._complain(f"the idle use of the GPU is not written: {error.strerror}")

    def tick(self, now: float, holder: JobRow | None, wanted: JobRow | None) -> None:
        """One round. `holder` is the active job on the GPU, `wanted` the one that may have it next."""
        if now < self.now - CLOCK_SECONDS:
            self._clock_was_set_back(now)
        self.now = now
        if holder is None or self.unwelcome is None or holder.state == "stopping" or holder.id != self.unwelcome.job_id:
            self.unwelcome = None
        self._ready = None
        if wanted is None:
            self._wanted = None
        elif self._wanted is None or self._wanted[0] != wanted.id:
            self._wanted = (wanted.id, now)
        try:
            self.models.tick(now, self._pace(holder, wanted))
            self.view.refresh(self.models.served_bytes)
            if holder is not None:
                self._hold(holder)
            elif self._phase == "held" or (self._phase == "verifying" and not self._came_back()):
                self._verify()
            else:
                self._serve(wanted)
        except OSError as error:
            # What cannot be written down is not done: models are the next runner's to bring back, whatever befalls this one.
            self._message = f"the home cannot be written: {error.strerror}"
            self._complain(self._message)
        if self._phase in ("free", "blocked", "verifying"):
            self.view.watch_unowned(now)
        self._publish()

    def _clock_was_set_back(self, now: float) -> None:
        """Every moment that has not come yet is now."""
        self._since = None if self._since is None else now
        self._wanted = None if self._wanted is None else (self._wanted[0], now)
        self._patience.clock_was_set_back(now)
        self.view.clock_was_set_back(now)
        self.models.clock_was_set_back(now)

    def note(self, message: str, level: Literal["ok", "warn", "bad"] = "ok") -> None:
        """Something that happened to the GPU."""
        self.state = self.state.noted(Note(self.now, message, level))

    def close(self) -> None:
        """Let go of the lease and the server; models that are away are the next runner's."""
        self._release()
        self.models.close()

    def _pace(self, holder: JobRow | None, wanted: JobRow | None) -> float:
        """How often the model server is to be asked."""
        if holder is not None:
            return WATCHING_SECONDS
        if self._quiet_from is None and (self._phase == "blocked" or (self._phase == "free" and wanted is None)):
            return LAZY_SECONDS
        return EAGER_SECONDS

    def _serve(self, wanted: JobRow | None) -> None:
        """The GPU is nobody's: it is for the next job, or for the models that were on it."""
        hindered = self._hindrance(wanted) if wanted is not None else ""
        if wanted is not None and hindered is None:
            self._make_way(wanted)
        elif self._phase == "restoring" or (self.models.can_return(self.now) and hindered not in AT_ONCE):
            self._restore(wanted, hindered or "")
        else:
            self._rest(wanted, hindered or "")

    # A job has it.

    def _hold(self, job: JobRow) -> None:
        if (self._phase, self._job_id) != ("held", job.id):
            self._release()
            self._enter("held", job.id)
            self.models.begin_watch(self.now)
        self._message = ""
        policy = self.settings.intruder
        for name in self.models.watch(self.now, unload=policy == "unload"):
            done = {"warn": "", "unload": ": it is unloaded again", "pause": ": the job makes room"}[policy]
            message = f"{said(name)} was loaded by a client while job {job.id} holds the GPU{done}"
            self.note(message, "warn")
            if policy == "pause":
                self._quiet_from = name
                self.unwelcome = Unwelcome(job.id, f"{said(name)} was loaded by a client")

    # A job had it.

    def _verify(self) -> None:
        if self._phase == "held":
            self._enter("verifying", self._job_id)
        known = self.view.known
        left = 0 if known is None else known.ours_bytes + known.unowned_bytes
        self._message = f"waiting for {left / 1e9:.1f} GB of job {self._job_id} to come back"
        if left <= self.terms.tolerance_bytes:
            self._message = f"looking at the GPU after job {self._job_id}"

    def _came_back(self) -> bool:
        """Whether the memory of the job that ended is back, or has had its time."""
        assert self._since is not None
        patience = self.now - self._since > self.settings.return_seconds
        if self.view.mute:
            return True
        if self.view.time <= self._since:
            return patience  # no look at the GPU since its end
        known = self.view.known
        left = 0 if known is None else known.ours_bytes + known.unowned_bytes
        if left <= self.terms.tolerance_bytes:
            return True
        if patience:
            seconds = self.settings.return_seconds
            self.note(f"{left / 1e9:.1f} GB of job {self._job_id} have not come back within {seconds:.0f} s", "bad")
            self.view.unowned_since = self._since
        return patience

    # A job wants it.

    def _hindrance(self, job: JobRow) -> str | None:
        """Why it is not even begun to make the GPU free; with None the lease is in hand."""
        waits = self._patience.waits(self.now, self._left_over()) or self._unquiet() or self._unseen()
        if waits is not None:
            return waits
        if self.lease is None:
            self.lease = gpu_lock.acquire(self.lease_path)
            self._refusals = 0 if self.lease is not None else self._refusals + 1
            if self.lease is None:
                # Whoever looks who holds it has it for a moment: one refusal proves nothing.
                held = gpu_lock.held_by(self.lease_path, self.home) if self._refusals > 1 else None
                return held or LOOKING
        problem = self._in_the_way()
        if problem is not None and self._phase != "restoring":
            self._release()
        return problem

    def _left_over(self) -> int:
        """Bytes in the way that are not what the model server lists."""
        known = self.view.known
        return 0 if known is None else max(0, admission.in_the_way(known, self.terms) - self.models.served_bytes)

    def _unquiet(self) -> str | None:
        """That a job which made room for a client's model still does; None once nobody has asked one for a while."""
        seconds = self.settings.retry_seconds
        if self._quiet_from is None or self.now - self.models.residency.active_at >= seconds:
            self._quiet_from = None
            return None
        name = said(self.models.residency.active_name or self._quiet_from)
        return f"clients ask {name}: it goes on once they have not for {seconds:.0f} s"

    def _unseen(self) -> str | None:
        """Why it cannot be told yet how the GPU stands."""
        if self.view.mute:
            return None
        if self.view.stale(self.now):
            return f"{NO_FIGURES} since {moment(self.view.time)}" if self.view.time else NO_FIGURES
        if self.view.known is None or not self.view.known.knows_idle:
            return LEARNING
        if self._phase == "clearing":
            return None  # for another job until now: it has been looked at all the while
        return LOOKING if self._wanted is not None and self.view.time <= self._wanted[1] else None

    def _in_the_way(self) -> str | None:
        """What no unloading will remove."""
        known = self.view.known
        if known is None or self.view.mute:
            return None
        others = admission.held_by_others(known, self.terms)
        if others is not None or self._phase == "clearing":  # what is being unloaded may be nobody's for a moment
            return others
        return admission.unowned(known, self.terms, self.view.unowned_since, around_models=self.models.managed)

    def _make_way(self, job: JobRow) -> None:
        """The lease is in hand: have the models go, and believe that the GPU is free when it has been for a while."""
        there = self.models.send_away(self.now)
        known = self.view.known
        clear = known is None or admission.is_clear(known, self.terms)
        settled = self.models.empty_for(self.settings.settle_seconds) or not self.models.managed
        begins = self._job_id != job.id if self._phase == "clearing" else bool(there) or not clear
        if begins:
            self._cleared_bytes = 0 if known is None else admission.in_the_way(known, self.terms)
            self._enter("clearing", job.id)
            assert self.lease is not None
            self.lease.note_holder(self.home, job.id)
            if there:
                self.note(f"unloading {of_ollama(there)}")
        if there:
            self._message = f"unloading {of_ollama(there)}"
        elif not clear and known is not None:
            self._message = f"waiting for {admission.in_the_way(known, self.terms) / 1e9:.1f} GB to come back"
        elif not settled:
            self._message = "making sure that nothing is being loaded"
        elif not self.models.stop_service():
            self._message = "ending the service of the models"
        else:
            self._free_for(job)
            return
        if self._phase != "clearing" and (self._phase, self._job_id) != ("free", job.id):
            self._enter("free", job.id)
        if self._since is not None and self.now - self._since > self.settings.clear_seconds:
            self._give_up(there)

    def _free_for(self, job: JobRow) -> None:
        if self._phase == "clearing" and self._since is not None:
            seconds = max(1, round(self.now - self._since))
            self.note(f"{self._cleared_bytes / 1e9:.1f} GB came back within {seconds} s: the GPU is free")
        if self.view.known is None and not self.view.sleeps:
            self.note("the GPU does not tell what it holds: a job starts without a look at its memory", "warn")
        self._patience.succeeded()
        # It is held once the job's process has it: the next round tells.
        self._ready, self._message = job.id, ""

    def _give_up(self, there: tuple[str, ...]) -> None:
        """The job waits, and the models come back."""
        known, seconds = self.view.known, self.settings.clear_seconds
        left_over = None
        if there:
            reason = f"{of_ollama(there)} still loaded after {seconds:.0f} s"
        elif known is not None and not admission.is_clear(known, self.terms):
            reason, left_over = admission.left_over(known, self.terms), self._left_over()
        else:
            unanswered = None if self.models.answers else self.models.problem
            reason = unanswered or f"models were loaded again and again for {seconds:.0f} s"
        self.note(reason, "bad")
        self._patience.give_up(self.now, reason, left_over)
        self._phase = "free"

    # Nobody wants it, or it cannot be had.

    def _restore(self, wanted: JobRow | None, hindered: str) -> None:
        if self.lease is None:
            self.lease = gpu_lock.acquire(self.lease_path)
        if self.lease is None:
            self._rest(wanted, hindered or gpu_lock.held_by(self.lease_path, self.home) or "")
            return
        if self._phase != "restoring":
            self._enter("restoring", self._job_id)
            self.lease.note_holder(self.home, self._job_id or 0)
            self.models.begin_return(self.now)
        doing = self.models.bring_back(self.now)
        if doing is None:
            self._rest(wanted, hindered)
        else:
            self._message = hindered or doing

    def _rest(self, wanted: JobRow | None, hindered: str) -> None:
        self._release()
        # Nobody is in the way while it is only being looked at.
        phase: Phase = "free" if wanted is None or hindered in AT_ONCE else "blocked"
        job_id = None if wanted is None else wanted.id
        if (self._phase, self._job_id) != (phase, job_id):
            self._enter(phase, job_id)
        self._message = hindered

    # What is told.

    def _enter(self, phase: Phase, job_id: int | None) -> None:
        self._phase, self._job_id, self._since = phase, job_id, self.now

    def _release(self) -> None:
        if self.lease is not None:
            self.lease.release()
            self.lease = None

    def _publish(self) -> None:
        """Write `gpu_lease.json` where it says something new."""
        stale = self.view.stale_bytes(self.now)
        self.state = replace(
            self.state,
            time=self.now,
            phase=self._phase,
            job_id=self._job_id,
            since=self._since,
            message=self._message,
            server=self.models.name,
            server_problem=self.models.problem,
            residents=self.models.residents,
            displaced=self.models.displaced.names,
            intruders=tuple(self.models.intruders.values()) if self._phase == "held" else (),
            models_stay=self.terms.serves_beside,
            tolerance_bytes=self.terms.tolerance_bytes,
            baseline_bytes=self.view.baseline_bytes,
            unowned_bytes=stale,
            unowned_since=self.view.unowned_since if stale else None,
            advice=admission.advice(self.gpu.vendor) if stale else "",
        )
        try:
            self._file.put(self.state)
        except OSError as error:
            self._complain(f"the state of the GPU is not written: {error.strerror}")

    def _complain(self, message: str) -> None:
        if message != self._trouble:
            self._trouble = message
            print(message, file=sys.stderr, flush=True)
