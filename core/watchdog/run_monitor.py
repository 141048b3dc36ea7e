"""Watching the runs: what the runner sees of each goes to its watchdog, what that finds to `watch.jsonl`.

Everything that a watchdog knows can be told again from the attempt's files, so the next runner goes on with the watching.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from core.attempt import launcher as launchers
from core.clock import SYSTEM_CLOCK, Clock
from core.events import EventReader, EventWriter
from core.files import read_lines, tail_offset
from core.gpu.reading import DeviceReading, Sample
from core.gpu_lease.gpu_fault import GpuFault
from core.home import AttemptDir, Home
from core.jobfile.gpu_use import GpuUses
from core.process.identity import current_boot_id
from core.telemetry.run_record import Summary, TelemetryRecord, read_summary
from core.watchdog.hang import ProcessLook
from core.watchdog.kernel_log import KernelLog
from core.watchdog.page_faults import fault_of, job_of, may_be_a_fault, owner, said_by_job, told_before
from core.watchdog.run_watch import GPU_FAULT, Finding, RunWatch

if TYPE_CHECKING:
    from core.attempt.launcher import Launcher, Observation
    from core.config.settings import WatchSettings
    from core.gpu.devices import Gpu
    from core.store.attempts import AttemptRow
    from core.watchdog.kernel_messages import KernelMessage

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
KERNEL_SECONDS = 10.0
KERNEL_PATIENCE_SECONDS = 15.0
"""How long the kernel's word on a crash is waited for: a tool may take some seconds for each of two looks."""
TAIL_BYTES = 2**18
"""How much of the end of `events.jsonl` a new runner reads: some hundreds of steps."""
ENDED_KEPT = 64
"""Attempts that are over and may still be spoken of in the same rounds: far more than run at once."""
WORKED_PERCENT = 5.0
SETTLE_SECONDS = 60.0
"""So long after it took over a runner does not tell what the former one has told."""


@dataclass
class Watched:
    """One attempt under watch. `seq` is the last event that its watchdog has seen, `told` what a former runner has told.

    `began` is in Unix seconds, the attempt's begin. `since`, `looked_at` and `looked_before` are monotonic: the begin of the
    watch, and the last two looks at its events.
    """

    job_id: int
    attempt: AttemptDir
    watch: RunWatch
    told: set[str]
    record: TelemetryRecord
    began: float
    since: float
    looked_at: float = -math.inf
    looked_before: float = -math.inf
    seq: int = 0
    trouble: set[str] = field(default_factory=set)


class RunMonitor:
    """Watches every living attempt of a home. For one thread; nothing in it waits for a GPU, a tool or a server.

    The watchdogs live on monotonic time. Events, samples and the kernel tell the time of day, which is translated when it is
    read: a clock that is set while a run goes on makes no run look silent.
    """

    def __init__(
        self,
        home: Home,
        settings: WatchSettings,
        gpu: Gpu | None,
        launcher: Launcher | None = None,
        clock: Clock = SYSTEM_CLOCK,
        uses: GpuUses | None = None,
    ) -> None:
        self.home = home
        self.uses = uses or GpuUses(home)
        self.launcher = launcher or launchers.launcher(home, gpu)
        self.settings = settings
        self.gpu = gpu
        self.watched: dict[AttemptDir, Watched] = {}
        self.ended: deque[AttemptDir] = deque(maxlen=ENDED_KEPT)
        self.kernel: KernelLog | None = None
        self.clock = clock
        self.kernel_asked = -math.inf
        self.looked = -math.inf
        self.faults: list[GpuFault] = []
        """Page faults of the GPU that nobody has taken yet (`take_faults`)."""
        self._fault_told: set[tuple[AttemptDir | None, int | None]] = set()
        self._ends: dict[AttemptDir, tuple[float, float]] = {}

    def follow(self, row: AttemptRow, attempt: AttemptDir) -> None:
        """Begin to watch an attempt, also one that has not told anything yet. Called before each look at its events."""
        entry = self._entry(row.job_id, attempt, row.created_at, row.boot_id)
        if entry is not None:
            entry.looked_before, entry.looked_at = entry.looked_at, self.clock.monotonic()

    def on_event(self, row: AttemptRow, attempt: AttemptDir, event: dict[str, Any]) -> None:
        """A new line of an attempt's `events.jsonl`."""
        entry = self._entry(row.job_id, attempt, row.created_at, row.boot_id)
        if entry is not None:
            self._play(entry, event)

    def on_sample(self, sample: Sample, on_gpu: AttemptDir | None) -> None:
        """The newest sample; it is written down for the attempt that holds the GPU."""
        if on_gpu is None or (device := self._device(sample)) is None:
            return
        entry = self._entry(job_of(on_gpu), on_gpu, _begin_of(on_gpu, sample.time), current_boot_id())
        if entry is None:
            return
        entry.watch.sample(self._steady(sample.time), device)
        try:
            entry.record.add(sample)
        except OSError as error:  # a full disk is the runner's affair, and no reason to stop watching
            self._complain(entry, f"its telemetry is not written: {error.strerror}")

    def tick(self) -> list[tuple[int, Finding]]:
        """What is newly wrong with which job, each finding a line of the attempt's `watch.jsonl` already."""
        now = self.clock.monotonic()
        if now - self.kernel_asked >= KERNEL_SECONDS:
            self._ask_the_kernel(now)
        if now - self.looked >= LOOK_SECONDS:
            self.looked = now
            self._look(now)
        found = []
        for entry in self.watched.values():
            # What a job that was asked to stop does no more is the ladder's affair.
            stopping = entry.attempt.stop_request.exists()
            for finding in entry.watch.check(now):
                # A reason to stop is told again: the former runner may have died before it asked for the stop.
                if not stopping and (finding.stop or finding.code not in entry.told):
                    if finding.code != GPU_FAULT:  # that is written when it is seen
                        self._write(entry, finding)
                    found.append((entry.job_id, replace(finding, time=self.clock.time())))
            if now - entry.since > SETTLE_SECONDS:
                entry.told.clear()
        return found

    def take_faults(self) -> list[GpuFault]:
        """The page faults of the GPU since this was last called: of jobs, of other programs, of nobody who is named."""
        found, self.faults = self.faults, []
        return found

    def knows_the_end(self, attempt: AttemptDir, seen: Observation) -> bool:
        """Whether all that there is to know about this end is known: the kernel's word on a crash can be seconds behind it."""
        if self.gpu is None or not may_be_a_fault(seen) or attempt not in self.watched:
            return True
        now, real = self.clock.monotonic(), time.monotonic()
        since, real_since = self._ends.setdefault(attempt, (now, real))
        self._ask_the_kernel(now)
        assert self.kernel is not None
        if self.kernel.told_after(real_since) or now - since > KERNEL_PATIENCE_SECONDS:
            self._ends.pop(attempt)
            return True
        self.kernel.ask_soon()
        return False

    def fault_of(self, attempt: AttemptDir, seen: Observation, boot_id: str) -> str | None:
        """The page fault by which an attempt ended, in the kernel's words or its own; None where there was none."""
        if (text := told_before(attempt)) is not None:
            return text
        text = said_by_job(attempt) if may_be_a_fault(seen) else None
        if text is not None:
            self._note_fault(GpuFault(text, self.clock.time(), boot_id, job_of(attempt)), attempt)
        return text

    def finish(self, job_id: int, attempt: AttemptDir) -> Summary | None:
        """The attempt ended: forget it. What it did to the GPU, None where no sample was taken."""
        self.watched.pop(attempt, None)
        self._ends.pop(attempt, None)
        self.ended.append(attempt)
        return read_summary(attempt)

    # How an attempt comes under watch.

    def _entry(self, job_id: int, attempt: AttemptDir, began: float, boot_id: str) -> Watched | None:
        if attempt not in self.watched:
            # Whoever still speaks of an attempt that is over does not bring it back.
            if attempt in self.ended or not attempt.path.is_dir():
                return None
            self.watched[attempt] = self._begin(job_id, attempt, began, boot_id)
        return self.watched[attempt]

    def _begin(self, job_id: int, attempt: AttemptDir, began: float, boot_id: str) -> Watched:
        """Play to a new watchdog what the attempt has told so far; what was found in it then is not told again."""
        record = TelemetryRecord(attempt)
        summary = record.summary()
        first = next((line for line, _ in read_lines(attempt.telemetry)), {})
        watch = RunWatch(
            self.settings,
            self._steady(began),
            gtt_bytes=first.get("gtt_used_bytes"),
            asks_server=self.uses.of(job_id).mode != "exclusive",
            gpu_worked=summary is not None and (summary.mean_busy_percent or 0.0) > WORKED_PERCENT,
        )
        told = {str(line.get("code")) for line, _ in read_lines(attempt.watch)}
        if (text := told_before(attempt)) is not None:
            # The former runner may have died before it asked for the stop, and before it blocked the GPU.
            watch.gpu_fault(self.clock.monotonic(), text)
            self.faults.append(GpuFault(text, self.clock.time(), boot_id, job_id))
        entry = Watched(job_id, attempt, watch, told, record, began, since=self.clock.monotonic())
        # The last events; a first line that is cut is left out.
        for event in EventReader(attempt.events, tail_offset(attempt.events, TAIL_BYTES)):
            self._play(entry, event)
        return entry

    def _play(self, entry: Watched, event: dict[str, Any]) -> None:
        seq = event.get("seq")
        if isinstance(seq, int) and seq > entry.seq:
            entry.seq = seq
            if isinstance(moment := event.get("time"), int | float):
                # What is read now and was not there at the look before was written since.
                event = {**event, "time": self._steady(moment, not_before=entry.looked_before)}
            entry.watch.event(event)

    def _steady(self, moment: float, *, not_before: float = -math.inf) -> float:
        """A time of day in Unix seconds as monotonic time; never in the future."""
        now = self.clock.monotonic()
        return min(now, max(not_before, now - (self.clock.time() - moment)))

    # Evidence.

    def _device(self, sample: Sample) -> DeviceReading | None:
        device = next(iter(sample.devices), None)
        if device is None or self.gpu is None or device.pci != self.gpu.pci or device.suspended:
            return None
        return device

    def _ask_the_kernel(self, now: float) -> None:
        if self.gpu is None or not self.watched:
            return
        self.kernel_asked = now
        if self.kernel is None:
            # A runner that takes over asks for what was said since the first of its runs began.
            began = min(entry.began for entry in self.watched.values())
            self.kernel = KernelLog(since=began)
        for message in self.kernel.new():
            if message.pci not in (None, self.gpu.pci):
                continue
            for entry in self.watched.values():
                entry.watch.kernel(now if message.time is None else self._steady(message.time), message.text)
            if message.code == "page_fault":
                self._page_fault(message, self.kernel.names_our_pids)

    def _page_fault(self, message: KernelMessage, names_our_pids: bool) -> None:
        attempts = [*self.watched, *self.ended]
        attempt, elsewhere = owner(message, attempts, self.launcher, names_our_pids=names_our_pids)
        when = message.time if message.time is not None else self.clock.time()
        self._note_fault(fault_of(message, attempt, elsewhere, when, current_boot_id()), attempt)

    def _note_fault(self, fault: GpuFault, attempt: AttemptDir | None) -> None:
        """Keep one fault of each process: a thousand can be told in a second."""
        if (key := (attempt, None if attempt else fault.pid)) in self._fault_told and (attempt or fault.pid):
            return
        self._fault_told.add(key)
        self.faults.append(fault)
        entry = None if attempt is None else self.watched.get(attempt)
        if entry is not None and told_before(entry.attempt) is None:
            # Written at once: the run may have ended, and is judged by this file.
            finding = Finding(GPU_FAULT, fault.text, True, fault.time)
            self._write(entry, finding)
            entry.watch.gpu_fault(self.clock.monotonic(), fault.text)

    def _look(self, now: float) -> None:
        suspects = [entry for entry in self.watched.values() if entry.watch.suspicious(now)]
        if suspects:
            self._ask_the_kernel(now)
        for entry in suspects:
            if (activity := self.launcher.activity(entry.attempt)) is not None:
                entry.watch.process(ProcessLook(now, activity.state, activity.cpu_seconds))

    # What is told.

    def _write(self, entry: Watched, finding: Finding) -> None:
        try:
            EventWriter(entry.attempt.watch).write(
                "warning", code=finding.code, message=finding.message, stop=finding.stop
            )
        except OSError as error:
            self._complain(entry, f"a finding is not written: {finding.message}: {error.strerror}")

    def _complain(self, entry: Watched, message: str) -> None:
        if message not in entry.trouble:
            entry.trouble.add(message)
            logger.warning("job %d: %s", entry.job_id, message)


def _begin_of(attempt: AttemptDir, otherwise: float) -> float:
    """When an attempt began, in Unix seconds, by the file that is written before it is started."""
    try:
        return min(otherwise, attempt.launcher.stat().st_mtime)
    except OSError:
        return otherwise
