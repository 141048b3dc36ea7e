"""Following the living attempts: what their events say, and how they end.

A new runner does the same for attempts that it did not start; there is no other way of adopting one.
"""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.attempt.launcher import NO_REMEDIES, STOPPED_AT_A_STEP, Launcher, Observation
from core.attempt.observe import told_to_end, why_failed
from core.attempt.stopping import stop_asked_for
from core.events import EventReader
from core.files import read_json
from core.gpu_lease.gpu_fault import GpuFault
from core.home import AttemptDir, Home, RunDir
from core.progress import Progress, fold
from core.reasons import Reason
from core.runner.drift_notes import note_drift
from core.runner.gpu_faults import Faulted, after_fault
from core.runner.log import logger
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
from core.store.gpu_faults import former_faults
from core.store.job_reasons import job_reason
from core.store.jobs import JobRow, State, change_state, get_job
from core.store.results import import_answers, import_measured, import_result
from core.store.scores import import_judging, import_scores
from core.store.stop_reasons import StopRule, stop_rules
from core.store.verdicts import import_verdicts, judged_bakeoff
from core.telemetry.run_record import Summary
from core.watchdog.run_monitor import RunMonitor

RUNNER = "runner"
UNSEEN = frozenset({"restarted", "never_started", "gone"})
"""Ends of which nobody saw how they came about."""
UNREADABLE = (KeyError, TypeError, ValueError, sqlite3.IntegrityError)
"""What a file of a job that is not as this version expects it raises."""


@dataclass(frozen=True)
class Resolution:
    """What an end means for the job and for its attempt. `requeue`: it is queued again at once, for this reason."""

    state: State
    outcome: Outcome
    reason: Reason
    requeue: Reason | None = None
    held: bool = False


def resolve_outcome(
    job: JobRow,
    run: RunDir,
    attempt: AttemptDir,
    seen: Observation,
    rules: Mapping[str, StopRule],
    fault: Faulted | None = None,
) -> Resolution:
    """How a job stands after its attempt ended.

    `result.json` proves success, whatever the exit looked like. A page fault of the GPU accounts for every other end that no
    person asked for. A stop that was asked for ends as its rule says; everything else is a failure with its reason, except a
    restart of the machine and an end that nobody saw.
    """
    result = read_json(run.result)
    if result is not None:
        return Resolution("done", "done", job_reason("done", message=result.get("message")))
    step = (job.progress.checkpoint_step if job.progress else None) or None
    if fault is not None and job.stop_reason != "cancel":
        after = after_fault(job, fault, restarted=seen.condition == "restarted")
        return Resolution("failed", "failed", after.failed, after.waits, after.held)
    if (stopped := stop_outcome(job, seen, rules)) is not None:
        rule, outcome = stopped
        asked = stop_asked_for(attempt, rule.stop_reason)
        values = {**({} if asked is None else asked.values), **({} if step is None else {"step": step})}
        return Resolution(rule.then_state, outcome, Reason(rule.then_reason_code, values), held=rule.then_held)
    if seen.condition == "restarted":
        requeue = job_reason("requeued_after_restart", step=step) if job.on_restart == "requeue" else None
        return Resolution("interrupted", "interrupted", job_reason("machine_restarted", step=step), requeue)
    if seen.condition == "never_started":
        return Resolution("lost", "lost", job_reason("not_started"), job_reason("requeued_not_started"))
    if seen.condition == "gone":
        return Resolution("lost", "lost", job_reason("end_unseen", step=step))
    if seen.exit_code == STOPPED_AT_A_STEP:
        return Resolution("interrupted", "interrupted", job_reason("stopped_from_outside", step=step))
    return Resolution("failed", "failed", why_failed(attempt, seen))


def stop_outcome(job: JobRow, seen: Observation, rules: Mapping[str, StopRule]) -> tuple[StopRule, Outcome] | None:
    """The rule of the stop that a job was asked for and its attempt's outcome; None where the stop did not decide this end."""
    if job.stop_reason is None:
        return None
    rule = rules[job.stop_reason]
    if seen.condition in UNSEEN:
        # Asked for while its shim was gone: whether it obeyed is what nobody saw.
        return None if rule.unseen_outcome is None else (rule, rule.unseen_outcome)
    obeyed = told_to_end(seen) or seen.signal == signal.SIGKILL
    return (rule, rule.stopped_outcome) if obeyed or rule.any_end else None


class Watch:
    """Follows every living attempt of a home.

    `on_fault` is told of every page fault of the GPU, before an attempt that ended in one is closed; `remedies` are the
    variables that help against them.
    """

    def __init__(
        self,
        home: Home,
        connection: sqlite3.Connection,
        launcher: Launcher,
        guard: RunMonitor | None = None,
        *,
        on_fault: Callable[[GpuFault], None] = lambda fault: None,
        remedies: Mapping[str, str] = NO_REMEDIES,
    ) -> None:
        self.on_fault = on_fault
        self.remedies = remedies
        self.home = home
        self.launcher = launcher
        self.connection = connection
        self.guard = guard
        self.stop_rules = stop_rules(connection)
        self.answers_read: dict[Path, int] = {}
        self.verdicts_read: dict[Path, int] = {}

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
            self.read_verdicts(row.job_id, run)
            if seen.condition in {"alive", "orphaned"}:
                living += 1
                if seen.condition == "orphaned" and not row.orphaned:
                    mark_orphaned(self.connection, row.job_id, row.number)
            elif self.guard is None or self.guard.knows_the_end(attempt, seen):
                self.finish(row, run, attempt, seen)
            else:
                living += 1
        self.report_faults()
        return living

    def report_faults(self) -> None:
        """Hand on what was seen of page faults of the GPU."""
        for fault in self.guard.take_faults() if self.guard is not None else ():
            self.on_fault(fault)

    def fault_of(self, job: JobRow, attempt: AttemptDir, row: AttemptRow, seen: Observation) -> Faulted | None:
        """The page fault that ended an attempt; the GPU is blocked for it when this returns."""
        if self.guard is None or job.lane != "gpu":
            return None
        text = self.guard.fault_of(attempt, seen, row.boot_id)
        self.report_faults()
        return None if text is None else Faulted(text, former_faults(self.connection, job.id), self.remedies)

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
                variable = next(iter(self.remedies), None) if former_faults(self.connection, job.id) else None
                change_state(self.connection, job.id, "running", job_reason("running", variable=variable), RUNNER)

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
            logger.warning("job %d: its answers are not imported: %r", job_id, error)

    def read_verdicts(self, job_id: int, run: RunDir) -> None:
        """Import what judges have said since the last look."""
        offset = self.verdicts_read.get(run.path, 0)
        try:
            if run.verdicts.stat().st_size <= offset:
                return
            with transaction(self.connection):
                judged = judged_bakeoff(self.connection, job_id)
                self.verdicts_read[run.path] = import_verdicts(self.connection, job_id, judged, run, offset)
        except FileNotFoundError:
            return
        except UNREADABLE as error:
            self.verdicts_read[run.path] = run.verdicts.stat().st_size
            logger.warning("job %d: its verdicts are not imported: %r", job_id, error)

    def read_measured(self, job_id: int, run: RunDir) -> None:
        """Import what a bake-off measured of its candidates beside their answers."""
        try:
            with transaction(self.connection):
                import_measured(self.connection, job_id, run)
        except UNREADABLE as error:
            logger.warning("job %d: what was measured of its candidates is not imported: %r", job_id, error)

    def finish(self, row: AttemptRow, run: RunDir, attempt: AttemptDir, seen: Observation) -> None:
        """Move the job on, import what it made and close its attempt, in one transaction."""
        self.read_answers(row.job_id, run)
        self.read_verdicts(row.job_id, run)
        if run.candidates.exists():
            self.read_measured(row.job_id, run)
        job = get_job(self.connection, row.job_id)
        fault = self.fault_of(job, attempt, row, seen)
        measured = self.guard.finish(row.job_id, attempt) if self.guard is not None else None
        try:
            self.close(job, row, resolve_outcome(job, run, attempt, seen, self.stop_rules, fault), run, seen, measured)
        except UNREADABLE as error:
            reason = job_reason("result_unreadable", error=repr(error))
            self.close(job, row, Resolution("failed", "failed", reason), run, seen, measured)
        self.answers_read.pop(run.path, None)
        self.verdicts_read.pop(run.path, None)

    def close(
        self,
        job: JobRow,
        row: AttemptRow,
        resolution: Resolution,
        run: RunDir,
        seen: Observation,
        measured: Summary | None = None,
    ) -> None:
        with transaction(self.connection):
            if measured is not None:
                note_telemetry(self.connection, job.id, row.number, measured.to_json())
            if resolution.state == "done":
                result = import_result(self.connection, job.id, run)
                if job.kind == "judging":
                    import_judging(self.connection, run, result)
                else:
                    import_scores(self.connection, job.id, run)
                if job.kind == "drift":
                    note_drift(self.connection, job.id, result)
            end_attempt(
                self.connection, job.id, row.number, resolution.outcome, exit_code=seen.exit_code, signal=seen.signal
            )
            held = int(resolution.held)
            if resolution.requeue is None:
                change_state(self.connection, job.id, resolution.state, resolution.reason, RUNNER, held=held)
            else:
                change_state(self.connection, job.id, resolution.state, resolution.reason, RUNNER)
                change_state(self.connection, job.id, "waiting", resolution.requeue, RUNNER, held=held)
