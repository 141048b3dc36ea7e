"""The words for why a job is as it is, and for why a command was refused.

An unknown code is shown as it is: a home can hold reasons of a newer or an older version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.errors import BakehouseError
from core.format import data_size, listed, plural, when
from core.jobfile.kinds import kind_of
from core.reasons import Reason
from core.runner.commands import QueueCommand, RefusedError
from core.store.job_reasons import JobReasonCode, RefusalCode
from core.store.jobs import ACTIVE, QUEUED, RETRYABLE, JobRow, QueueState
from core.text import printable
from core.wording.fleet import FLEET_REFUSAL_WORDS
from core.wording.gpu import gpu_words, remedy

Values = Mapping[str, Any]
Words = Callable[[Values], str]


def reason_words(reason: Reason) -> str:
    """One line for a person, safe for a terminal; empty for a job that simply runs."""
    words = next((table[reason.code] for table in TABLES if reason.code in table), None)
    try:
        said = unknown(reason) if words is None else words(reason.values)
    except (KeyError, TypeError, ValueError):
        said = unknown(reason)
    return printable(said)


def unknown(reason: Reason) -> str:
    return " ".join([reason.code, *(f"{name}={value}" for name, value in reason.values.items())])


def outcome_words(job: JobRow, now: float | None = None) -> str:
    """What came of a job, or why it waits: for a bake-off that was rescored what the newest rescoring came to."""
    if job.state == "done" and job.rescored is not None:
        return printable(f"Rescored {when(job.rescored.time, now)}: {job.rescored.message}")
    return reason_words(job.reason)


def refused(error: RefusedError) -> BakehouseError:
    """A refused command as an error with words."""
    return BakehouseError(reason_words(error.reason), code=error.reason.code)


def phase_words(phase: str) -> str:
    """What a job does now: the phases that the runner itself notes are codes, those of a job are words already."""
    return PHASES.get(phase, phase)


def fixed(words: str) -> Words:
    return lambda values: words


def joined(head: str, values: Values, *, retry: bool = False) -> str:
    """A sentence with where the job resumes from, by itself or after a retry."""
    step = values.get("step")
    if retry:
        return f"{head}; retry resumes from step {step}" if step else f"{head}; retry starts from the beginning"
    return f"{head}; will resume from step {step}" if step else f"{head}; will start from the beginning"


def lease_words(values: Values) -> str:
    """What the GPU's lease gave for a reason."""
    return gpu_words(Reason(values["why"], values))


def client(values: Values) -> str:
    return f"{values['model']} was loaded by a client" if values.get("model") else "a client needs the GPU"


def noted(head: str, values: Values) -> str:
    """With what the person wrote."""
    return f"{head}: {values['note']}" if values.get("note") else head


def numbered(jobs: list[int | str]) -> str:
    return ("job " if len(jobs) == 1 else "jobs ") + listed([str(job) for job in jobs])


def slot(values: Values) -> str:
    return "CPU" if values.get("slot") == "cpu" else "GPU"


def held(values: Values) -> str:
    """Of a job: the GPU and the CPU are "in use by" one."""
    return noted(f"Held at step {values['step']}" if values.get("step") else "Held", values)


def cancelled(values: Values) -> str:
    return f"Cancelled; retry resumes from step {values['step']}" if values.get("step") else "Cancelled"


def cancelled_in_queue(values: Values) -> str:
    after = f"Cancelled in the queue after {plural(int(values['attempts']), 'attempt')}"
    return f"{after}; retry resumes from step {values['step']}" if values.get("step") else after


def killed(values: Values) -> str:
    hint = " (possibly by the kernel: out of memory)" if values["signal"] == "SIGKILL" else ""
    return f"Killed by {values['signal']}{hint}"


def exit_code(values: Values) -> str:
    last = values.get("last_line")
    return f"Exit code {values['exit_code']}" + (f": {last}" if last else "")


def job_error(values: Values) -> str:
    where = ":".join(str(values[part]) for part in ("file", "line") if values.get(part) is not None)
    parts = ["Gate" if values.get("gate") else "", where, values["message"]]
    said = ": ".join(part for part in parts if part)
    return f"{said}; {values['remedy']}" if values.get("remedy") else said


GPU_FAULT_RETRY = "Retries after a GPU page fault"


def at_step(values: Values) -> str:
    return f" after step {values['at_step']}" if values.get("at_step") else ""


def held_after_fault(values: Values) -> str:
    said = f"Held: {values['count']} GPU page faults, the last{at_step(values)}. Try another data order (seed), or ROCm 7.1"
    return f"{said}; will resume from step {values['step']}" if values.get("step") else said


JOB_WORDS: dict[JobReasonCode, Words] = {
    "submitted": fixed("Submitted"),
    "retried": lambda values: f"Retried from step {values['step']}" if values.get("step") else "Retried",
    "released": fixed("Released"),
    "ready": fixed("Ready to start"),
    "held": held,
    "after": lambda values: f"After {numbered(values['jobs'])}",
    "after_end": lambda values: (
        f"After the end of {numbered([*values['jobs'], 'others'] if values.get('more') else values['jobs'])}"
    ),
    "need_failed": lambda values: (
        f"Job {values['job']} {'was cancelled' if values['state'] == 'cancelled' else values['state']}: "
        f"retry job {values['job']}, or cancel this one"
    ),
    "queue_paused": lambda values: noted("Queue paused", values),
    "disk_low": lambda values: (
        f"Disk: {data_size(values['free_bytes'])} free, {data_size(values['needed_bytes'])} needed"
    ),
    "host_memory_low": lambda values: (
        f"Host memory: {data_size(values['free_bytes'])} free, {data_size(values['needed_bytes'])} needed"
    ),
    "slot_held": lambda values: f"Waiting for the {slot(values)} (job {values['job']})",
    "slot_held_asking": lambda values: (
        f"Waiting for the {slot(values)}: {kind_of(values['kind']).noun} (job {values['job']}) uses the model server"
    ),
    "slot_held_elsewhere": lambda values: f"{slot(values)}: {lease_words(values)}",
    "gpu_next": lambda values: f"GPU: job {values['job']} is next",
    "gpu_lease": lambda values: f"GPU: {lease_words(values)}",
    "alias_moving": lambda values: f"Waiting: the alias {values['alias']} is on its way to another model",
    "requeued_after_restart": lambda values: joined("Requeued after a restart of the machine", values),
    "requeued_not_started": fixed("Requeued: the job's process had not been started"),
    "disk_was_low": lambda values: joined("Stopped because the disk was nearly full", values),
    "preempted": lambda values: joined(f"Stopped because {client(values)}", values),
    "requeued_after_gpu_fault": lambda values: joined(
        f"Retries {remedy(values['variable'])} after a GPU page fault" if values.get("variable") else GPU_FAULT_RETRY,
        values,
    ),
    "held_after_gpu_fault": held_after_fault,
    "starting": fixed("Starting the job's process"),
    "running": lambda values: (
        f"Runs {remedy(values['variable'])} after a GPU page fault" if values.get("variable") else ""
    ),
    "stopping_to_cancel": fixed("Stopping at the next step"),
    "stopping_to_hold": lambda values: noted("Stopping at the next step, then held", values),
    "stopping_for_disk": fixed("Disk nearly full: stopping at the next step"),
    "stopping_for_client": lambda values: f"Stopping at the next step: {client(values)}",
    "stopping_for_watchdog": lambda values: f"Stopping at the next step: {values['message']}",
    "signal_sent": lambda values: f"Did not stop within {values['after_seconds']:.0f} s; {values['signal']} sent",
    "still_running": lambda values: (
        f"Still running after {values['signal']}. Force-kill it with `bakehouse queue kill {values['job']}`."
    ),
    "killed_by_person": lambda values: f"Killed by {values['author']}",
    "done": lambda values: values.get("message") or "Done",
    "cancelled_before_start": fixed("Cancelled before it started"),
    "cancelled_in_queue": cancelled_in_queue,
    "cancelled": cancelled,
    "watchdog": lambda values: joined(str(values.get("message") or "Ended by the watchdog"), values, retry=True),
    "gpu_fault": lambda values: joined(f"GPU page fault{at_step(values)}: {values['message']}", values, retry=True),
    "machine_restarted": lambda values: joined("Interrupted by a restart of the machine", values, retry=True),
    "not_started": fixed("Lost: the runner died before the job's process was started"),
    "end_unseen": lambda values: joined("Lost: exit status unknown", values, retry=True),
    "stopped_from_outside": lambda values: joined("Interrupted from outside the queue", values, retry=True),
    "killed": killed,
    "exit_code": exit_code,
    "job_error": job_error,
    "launch_failed": lambda values: values["message"],
    "result_unreadable": lambda values: f"The files that the job left cannot be read: {values['error']}",
}


DONE_TO: Mapping[str, str] = {
    "cancel": "cancelled",
    "retry": "retried",
    "hold": "held",
    "kill": "force-killed",
    "move": "moved",
}
"""What a command does to a job, as `can be …`."""

STATE_GROUPS: tuple[tuple[frozenset[str], str], ...] = (
    (QUEUED | ACTIVE, "a job that has not ended"),
    (RETRYABLE, "a job that ended without a result"),
    (QUEUED, "a waiting job"),
    (ACTIVE, "a running job"),
    (frozenset({"stopping"}), "a job that was asked to stop"),
)

NEEDLESS: Mapping[str, str] = {
    "cancel": "Job {job} is already being cancelled.",
    "hold": "Job {job} is already held.",
    "pause": "The queue is already paused.",
    "resume": "The queue is not paused.",
    "release-gpu": "The GPU is not blocked by a page fault.",
}
"""Why a command that applies is not offered."""


def wrong_state(values: Values) -> str:
    """`Job 3 is running. Only a job that ended without a result can be retried.`"""
    states = frozenset(values["states"])
    which = next((words for group, words in STATE_GROUPS if group == states), None)
    state = "has failed" if values["state"] == "failed" else f"is {values['state']}"
    done_to = DONE_TO.get(values["command"])
    if which is None or done_to is None:
        return f"Job {values['job']} {state}. `{values['command']}` needs one that is {' or '.join(values['states'])}."
    return f"Job {values['job']} {state}. Only {which} can be {done_to}."


def why_not_offered(command: QueueCommand, job: JobRow | None, queue: QueueState) -> str:
    """Why the console does not offer a command of the queue now, and when it would."""
    if command.on_job is None:
        return NEEDLESS.get(command.name, "It would change nothing now.")
    if job is None:
        return "No job is selected."
    if (reason := command.refusal(job)) is not None:
        return reason_words(reason)
    return NEEDLESS.get(command.name, "It would change nothing now.").format(job=job.id)


def nothing_in_chain(values: Values) -> str:
    """`No job of chain 3 can be retried now.`"""
    done_to = DONE_TO.get(values["command"])
    what = f"can be {done_to}" if done_to is not None else f"fits `{values['command']}`"
    return f"No job of chain {values['chain']} {what} now."


REFUSAL_WORDS: dict[RefusalCode, Words] = {
    "wrong_state": wrong_state,
    "being_cancelled": lambda values: f"Job {values['job']} is being cancelled and cannot be held.",
    "not_held": lambda values: f"Job {values['job']} is not held.",
    "nothing_in_chain": nothing_in_chain,
    "no_process": lambda values: f"Job {values['job']} has no running process.",
    "unknown_place": lambda values: f"A job can be moved to {listed(values['places'])}, not to {values['place']}.",
    "gpu_not_blocked": fixed("The GPU is not blocked by a page fault."),
    "unknown_command": lambda values: f"This runner does not know the command `{values['command']}`.",
    "command_failed": lambda values: f"The command failed: {values['message']}",
}

PHASES = {"restarting_with_less_memory": "restarting with less memory"}

TABLES: tuple[Mapping[Any, Words], ...] = (JOB_WORDS, REFUSAL_WORDS, FLEET_REFUSAL_WORDS)
