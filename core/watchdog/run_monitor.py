"""Watching the runs: what the runner sees of each goes to its watchdog, what that finds to `watch.jsonl`.

Everything that a watchdog knows can be told again from the attempt's files, so the next runner goes on with the watching.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from core.attempt import launcher as launchers
from core.clock import SYSTEM_CLOCK, Clock
from core.events import EventReader, EventWriter
from core.files import read_lines, tail_offset
from core.gpu.reading import DeviceReading, Sample
from core.home import AttemptDir, Home
from core.telemetry.run_record import Summary, TelemetryRecord, read_summary
from core.watchdog.hang import ProcessLook
from core.watchdog.kernel_log import KernelLog
from core.watchdog.run_watch import Finding, RunWatch

if TYPE_CHECKING:
    from core.attempt.launcher import Launcher
    from core.config.settings import WatchSettings
    from core.gpu.devices import Gpu
    from core.store.attempts import AttemptRow

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
KERNEL_SECONDS = 10.0
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

    `since`, `looked_at` and `looked_before` are monotonic: the begin of the watch, and the last two looks at its events.
    """

    job_id: int
    attempt: AttemptDir
    watch: RunWatch
    told: set[str]
    record: TelemetryRecord
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
    ) -> None:
        self.home = home
        self.launcher = launcher or launchers.launcher(home, gpu)
        self.settings = settings
        self.gpu = gpu
        self.watched: dict[AttemptDir, Watched] = {}
        self.ended: deque[AttemptDir] = deque(maxlen=ENDED_KEPT)
        self.kernel: KernelLog | None = None
        self.clock = clock
        self.kernel_asked = -math.inf
        self.looked = -math.inf

    def follow(self, row: AttemptRow, attempt: AttemptDir) -> None:
        """Begin to watch an attempt, also one that has not told anything yet. Called before each look at its events."""
        entry = self._entry(row.job_id, attempt, row.created_at)
        if entry is not None:
            entry.looked_before, entry.looked_at = entry.looked_at, self.clock.monotonic()

    def on_event(self, row: AttemptRow, attempt: AttemptDir, event: dict[str, Any]) -> None:
        """A new line of an attempt's `events.jsonl`."""
        entry = self._entry(row.job_id, attempt, row.created_at)
        if entry is not None:
            self._play(entry, event)

    def on_sample(self, sample: Sample, on_gpu: AttemptDir | None) -> None:
        """The newest sample; it is written down for the attempt that holds the GPU."""
        if on_gpu is None or (device := self._device(sample)) is None:
            return
        entry = self._entry(int(on_gpu.path.parent.name), on_gpu, sample.time)
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
                    self._write(entry, finding)
                    found.append((entry.job_id, replace(finding, time=self.clock.time())))
            if now - entry.since > SETTLE_SECONDS:
                entry.told.clear()
        return found

    def finish(self, job_id: int, attempt: AttemptDir) -> Summary | None:
        """The attempt ended: forget it. What it did to the GPU, None where no sample was taken."""
        self.watched.pop(attempt, None)
        self.ended.append(attempt)
        return read_summary(attempt)

    # How an attempt comes under watch.

    def _entry(self, job_id: int, attempt: AttemptDir, began: float) -> Watched | None:
        if attempt not in self.watched:
            # Whoever still speaks of an attempt that is over does not bring it back.
            if attempt in self.ended or not attempt.path.is_dir():
                return None
            self.watched[attempt] = self._begin(job_id, attempt, began)
        return self.watched[attempt]

    def _begin(self, job_id: int, attempt: AttemptDir, began: float) -> Watched:
        """Play to a new watchdog what the attempt has told so far; what was found in it then is not told again."""
        record = TelemetryRecord(attempt)
        summary = record.summary()
        first = next((line for line, _ in read_lines(attempt.telemetry)), {})
        watch = RunWatch(
            self.settings,
            self._steady(began),
            gtt_bytes=first.get("gtt_used_bytes"),
            gpu_worked=summary is not None and (summary.mean_busy_percent or 0.0) > WORKED_PERCENT,
        )
        told = {str(line.get("code")) for line, _ in read_lines(attempt.watch)}
        entry = Watched(job_id, attempt, watch, told, record, since=self.clock.monotonic())
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
            self.kernel = KernelLog()
        for message in self.kernel.new():
            if message.pci in (None, self.gpu.pci):
                for entry in self.watched.values():
                    entry.watch.kernel(now if message.time is None else self._steady(message.time), message.text)

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
