"""Following the living attempts: what their events say, and how they end.

A new runner does the same for attempts that it did not start; there is no other way of adopting one.
"""

from __future__ import annotations

import signal
import sqlite3
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.attempt.launcher import STOPPED_AT_A_STEP, Launcher, Observation
from core.attempt.observe import told_to_end, why_failed
from core.events import EventReader
from core.files import read_json
from core.home import AttemptDir, Home, RunDir
from core.store.attempts import (
    AttemptRow,
    Outcome,
    end_attempt,
    living_attempts,
    mark_orphaned,
    note_progress,
    note_telemetry,
)
from core.store.database import transaction
from core.store.jobs import JobRow, Progress, State, change_state, get_job
from core.store.results import import_answers, import_result, import_scores
from core.telemetry.run_record import Summary
from core.watchdog.run_monitor import RunMonitor, watchdog_reason

RUNNER = "runner"
UNREADABLE = (KeyError, TypeError, ValueError, sqlite3.IntegrityError)
"""What a file of a job that is not as this version expects it raises."""


def fold(progress: Progress, event: dict[str, Any]) -> Progress:
    """The summary after one more event."""
    progress = replace(progress, time=event.get("time"))
    match event["kind"]:
        case "phase":
            return replace(progress, phase=event.get("name"), eta_seconds=None)
        case "step":
            return replace(
                progress,
                phase=None,
                done=event.get("step"),
                total=event.get("total"),
                unit="steps",
                eta_seconds=event.get("eta_seconds"),
                loss=event.get("loss"),
                tokens_per_second=event.get("tokens_per_second"),
                peak_memory_bytes=event.get("peak_memory_bytes") or progress.peak_memory_bytes,
            )
        case "progress":
            return replace(
                progress,
                done=event.get("done"),
                total=event.get("total"),
                unit=event.get("unit"),
                eta_seconds=event.get("eta_seconds"),
                message=event.get("label") or progress.message,
            )
        case "memory":
            return replace(progress, peak_memory_bytes=event.get("peak_bytes") or progress.peak_memory_bytes)
        case "checkpoint":
            return replace(progress, checkpoint_step=event.get("step"))
        case "ladder":
            return replace(progress, phase="starting again with less memory", message=event.get("reason"))
        case "warning":
            return replace(progress, warnings=progress.warnings + 1, message=event.get("message"))
        case "result":
            return replace(progress, message=event.get("message"), eta_seconds=None)
        case _:
            return progress


@dataclass(frozen=True)
class Resolution:
    """What an end means for the job and for its attempt."""

    state: State
    outcome: Outcome
    reason: str
    requeue: str | None = None
    held: bool = False


def judge(job: JobRow, run: RunDir, attempt: AttemptDir, seen: Observation) -> Resolution:
    """How a job stands after its attempt ended.

    `result.json` proves success, whatever the exit looked like. A stop that was asked for is what was asked; everything else
    is a failure with its reason, except a restart of the machine and an end that nobody saw.
    """
    result = read_json(run.result)
    if result is not None:
        return Resolution("done", "done", result.get("message") or "done")
    step = job.progress.checkpoint_step if job.progress else None
    at_checkpoint = f" from step {step}" if step else ""
    onward = at_checkpoint or " from the start"
    if seen.condition in {"restarted", "never_started", "gone"} and job.stop_reason == "cancel":
        return Resolution("cancelled", "cancelled", f"by you{at_checkpoint and f'; a retry goes on{at_checkpoint}'}")
    if seen.condition in {"restarted", "never_started", "gone"} and job.stop_reason == "pause":
        reason = f"held by you; it goes on{onward}"
        return Resolution("waiting", "interrupted", reason, held=True)
    if seen.condition in {"restarted", "never_started", "gone"} and job.stop_reason in {"disk", "room"}:
        # Asked for while its shim was gone: what it was asked is what nobody saw it do.
        return Resolution("waiting", "interrupted", f"{made_room(job, attempt)}; it goes on{onward}")
    if seen.condition == "restarted":
        policy = f"requeued: it goes on{onward}" if job.on_restart == "requeue" else None
        reason = f"the machine restarted; a retry goes on{onward}"
        return Resolution("interrupted", "interrupted", reason, requeue=policy)
    if seen.condition == "never_started":
        reason = "the runner died before its process was started"
        return Resolution("lost", "lost", reason, requeue="queued again: its process had not been started")
    if seen.condition == "gone":
        return Resolution("lost", "lost", f"nobody saw its end; a retry goes on{onward}")
    if job.stop_reason == "pause" and stopped(seen):
        return Resolution("waiting", "stopped", f"held by you; it goes on{onward}", held=True)
    if job.stop_reason in {"disk", "room"} and stopped(seen):
        return Resolution("waiting", "stopped", f"{made_room(job, attempt)}; it goes on{onward}")
    if job.stop_reason == "watch" and stopped(seen):
        found = watchdog_reason(attempt) or "the watchdog ended it"
        return Resolution("failed", "failed", f"{found}; a retry goes on{onward}")
    if job.stop_reason == "cancel":
        return Resolution("cancelled", "cancelled", f"by you{at_checkpoint and f'; a retry goes on{at_checkpoint}'}")
    if seen.exit_code == STOPPED_AT_A_STEP:
        reason = f"asked from outside to end; a retry goes on{onward}"
        return Resolution("interrupted", "interrupted", reason)
    return Resolution("failed", "failed", why_failed(run, attempt, seen))


def made_room(job: JobRow, attempt: AttemptDir) -> str:
    """What a job was stopped for that is to go on by itself."""
    if job.stop_reason == "disk":
        return "the disk was nearly full"
    return str((read_json(attempt.stop_request) or {}).get("reason") or "others needed its GPU")


def stopped(seen: Observation) -> bool:
    """True for an end that the ladder of a stop request brings about."""
    return told_to_end(seen) or seen.signal == signal.SIGKILL


class Watch:
    """Follows every living attempt of a home."""

    def __init__(
        self, home: Home, connection: sqlite3.Connection, launcher: Launcher, guard: RunMonitor | None = None
    ) -> None:
        self.home = home
        self.launcher = launcher
        self.connection = connection
        self.guard = guard
        self.answers_read: dict[Path, int] = {}

    def tick(self) -> int:
        """Read what is new and note every end; returns how many attempts still live."""
        living = 0
        for row in living_attempts(self.connection):
            run = self.home.run_dir(row.job_id)
            attempt = run.attempt(row.number)
            # Looked at before its files are read: what it wrote before its end is then read for certain.
            seen = self.launcher.observe(attempt, row.boot_id)
            if self.guard is not None:
                self.guard.follow(row, attempt)
            self.read_events(row, attempt)
            self.read_answers(row.job_id, run)
            if seen.condition in {"alive", "orphaned"}:
                living += 1
                if seen.condition == "orphaned" and not row.orphaned:
                    mark_orphaned(self.connection, row.job_id, row.number)
            else:
                self.finish(row, run, attempt, seen)
        return living

    def read_events(self, row: AttemptRow, attempt: AttemptDir) -> None:
        """Fold new events into the job's summary; the first of them is the process's sign of life."""
        reader = EventReader(attempt.events, row.events_offset)
        job: JobRow | None = None
        progress: Progress | None = None
        for event in reader:
            if progress is None:
                job = get_job(self.connection, row.job_id)
                progress = job.progress or Progress()
            progress = fold(progress, event)
            if self.guard is not None:
                self.guard.on_event(row, attempt, event)
        if job is None or progress is None:
            return
        with transaction(self.connection):
            note_progress(self.connection, row.job_id, row.number, progress, reader.offset)
            if job.state == "starting":
                change_state(self.connection, job.id, "running", "", RUNNER)

    def read_answers(self, job_id: int, run: RunDir) -> None:
        """Import the answers that a bake-off has written since the last look."""
        offset = self.answers_read.get(run.path, 0)
        try:
            if run.answers.stat().st_size <= offset:
                return
            with transaction(self.connection):
                self.answers_read[run.path] = import_answers(self.connection, job_id, run, offset)
        except FileNotFoundError:
            return
        except UNREADABLE as error:
            # The file stays, and can be read by a version that understands it; the queue must not stop for it.
            self.answers_read[run.path] = run.answers.stat().st_size
            print(f"job {job_id}: its answers are not imported: {error!r}", file=sys.stderr, flush=True)

    def finish(self, row: AttemptRow, run: RunDir, attempt: AttemptDir, seen: Observation) -> None:
        """Move the job on, import what it made and close its attempt, in one transaction."""
        self.read_answers(row.job_id, run)
        job = get_job(self.connection, row.job_id)
        measured = self.guard.finish(row.job_id, attempt) if self.guard is not None else None
        try:
            self.close(job, row, judge(job, run, attempt, seen), run, seen, measured)
        except UNREADABLE as error:
            reason = f"what it left cannot be read: {error!r}"
            self.close(job, row, Resolution("failed", "failed", reason), run, seen, measured)
        self.answers_read.pop(run.path, None)

    def close(
        self,
        job: JobRow,
        row: AttemptRow,
        ending: Resolution,
        run: RunDir,
        seen: Observation,
        measured: Summary | None = None,
    ) -> None:
        with transaction(self.connection):
            if measured is not None:
                note_telemetry(self.connection, job.id, row.number, measured.to_json())
            if ending.state == "done":
                import_result(self.connection, job.id, run)
                import_scores(self.connection, job.id, run)
            end_attempt(
                self.connection, job.id, row.number, ending.outcome, exit_code=seen.exit_code, signal=seen.signal
            )
            change_state(self.connection, job.id, ending.state, ending.reason, RUNNER, held=int(ending.held))
            if ending.requeue is not None:
                change_state(self.connection, job.id, "waiting", ending.requeue, RUNNER)
