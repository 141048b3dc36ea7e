"""The commands about one job."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.attempt.launcher import launcher
from core.attempt.stopping import ask_to_stop
from core.format import plural
from core.jobfile.kinds import kind_of
from core.reasons import Reason
from core.runner.commands.base import Argument, Confirmation, Key, QueueCommand, RefusedError, Request, applies_to
from core.store.job_reasons import job_reason, refusal
from core.store.jobs import ACTIVE, JobRow, change_state, set_held, set_reason
from core.store.stop_reasons import StopReason

PLACES = ("first", "last", "up", "down")


def stop(request: Request, job: JobRow, stop_reason: StopReason, reason: Reason) -> None:
    """Ask an active job to stop; asking again with another intent replaces the former one. `reason` goes to job and attempt."""
    asked_at = job.stop_asked_at or time.time()
    change_state(
        request.connection,
        job.id,
        "stopping",
        reason,
        request.author,
        stop_reason=stop_reason,
        stop_asked_at=asked_at,
    )
    ask_to_stop(request.home.run_dir(job.id).attempt(job.attempt), stop_reason, reason)


def cancel(request: Request, job: JobRow) -> None:
    if job.state in ACTIVE:
        stop(request, job, "cancel", job_reason("stopping_to_cancel"))
    else:
        step = job.progress.checkpoint_step if job.progress else None
        ran = job_reason("cancelled_in_queue", attempts=job.attempt, step=step or None)
        reason = ran if job.attempt else job_reason("cancelled_before_start")
        change_state(request.connection, job.id, "cancelled", reason, request.author, held=0)


def retry(request: Request, job: JobRow) -> None:
    step = job.progress.checkpoint_step if job.progress else None
    change_state(request.connection, job.id, "waiting", job_reason("retried", step=step), request.author, held=0)


def kill(request: Request, job: JobRow) -> None:
    """On a GPU the runner sends no SIGKILL of its own accord: that is left to a person."""
    attempt = request.home.run_dir(job.id).attempt(job.attempt)
    if not launcher(request.home).signal(attempt, signal.SIGKILL, request.author):
        raise RefusedError(refusal("no_process", job=job.id))
    set_reason(request.connection, job.id, job_reason("killed_by_person", author=request.author))


def hold(request: Request, job: JobRow) -> None:
    note = request.arguments.get("reason") or None
    if job.state in ACTIVE:
        stop(request, job, "hold", job_reason("stopping_to_hold", note=note))
        return
    reason = job_reason("held", note=note)
    if job.held and note is None:
        return
    if job.state == "ready":
        change_state(request.connection, job.id, "waiting", reason, request.author)
    set_held(request.connection, job.id, True, reason, request.author)


def hold_refusal(job: JobRow) -> Reason | None:
    if job.stop_reason == "cancel":
        return refusal("being_cancelled", job=job.id)
    return applies_to("hold", "waiting", "ready", "starting", "running", "stopping")(job)


def release(request: Request, job: JobRow) -> None:
    set_held(request.connection, job.id, False, job_reason("released"), request.author)


def release_refusal(job: JobRow) -> Reason | None:
    return None if job.held else refusal("not_held", job=job.id)


def move(request: Request, job: JobRow) -> None:
    rows = request.connection.execute(
        "SELECT id, position FROM jobs WHERE state IN ('waiting', 'ready') ORDER BY position, id"
    ).fetchall()
    order = [row["id"] for row in rows]
    index = order.index(job.id)
    order.pop(index)
    places = dict(zip(PLACES, (0, len(order), max(0, index - 1), min(len(order), index + 1)), strict=True))
    to = request.arguments.get("to")
    if to not in places:
        raise RefusedError(refusal("unknown_place", place=str(to), places=list(PLACES)))
    order.insert(places[to], job.id)
    # The same positions are dealt out again, so nothing outside the queued jobs moves.
    for row, job_id in zip(rows, order, strict=True):
        request.connection.execute("UPDATE jobs SET position = ? WHERE id = ?", [row["position"], job_id])


def moving_order(arguments: Mapping[str, Any]) -> Callable[[Sequence[int]], Sequence[int]]:
    """Each that is moved to the front, or down, stands before those that were moved earlier."""
    backwards = arguments.get("to") in {"first", "down"}
    return lambda job_ids: [*reversed(job_ids)] if backwards else job_ids


def explain_cancel(job: JobRow, vendor: str | None) -> str:
    if job.state in ACTIVE and kind_of(job.kind).resumes:
        return "The job stops at its next step and keeps a checkpoint; r resumes it from there."
    if job.state in ACTIVE:
        return "The job stops as soon as it can; r starts it again from the beginning."
    if job.attempt:
        step = job.progress.checkpoint_step if job.progress else None
        whence = f"from step {step:,}" if step else "from the beginning"
        return f"The job waits after {plural(job.attempt, 'attempt')}; r queues it again, and it starts {whence}."
    return "The job has not started; r queues it again."


def explain_kill(job: JobRow, vendor: str | None) -> str:
    """What SIGKILL can do to a process that works on the GPU."""
    from core.gpu.vendors import VENDORS  # with the readers of every vendor, which nothing else here needs

    known = VENDORS.get(vendor or "")
    if job.lane == "gpu" and known is not None and known.strands_memory:
        return (
            f"On an {known.label} GPU this is the last resort: a process that is killed inside a driver call can leave GPU "
            "memory that no process owns until the machine restarts, and the machine itself can hang. Work since the last "
            "checkpoint is lost. Waiting costs nothing but time."
        )
    return "The process cannot clean up: work since the last checkpoint is lost."


def named(words: str) -> Any:
    """The line about a command that was carried out, with `{job}` and the command's arguments filled in."""
    return lambda job, arguments: words.format(job=job.id, **arguments)


def cancelled(job: JobRow | None, arguments: Mapping[str, Any]) -> str:
    assert job is not None
    return f"Job {job.id} is stopping" if job.state in ACTIVE else f"Job {job.id} is cancelled"


def held(job: JobRow | None, arguments: Mapping[str, Any]) -> str:
    assert job is not None
    return f"Job {job.id} stops at a checkpoint, then is held" if job.state in ACTIVE else f"Job {job.id} is held"


JOB_COMMANDS = (
    QueueCommand(
        name="cancel",
        help="End jobs: a running one stops at its next step, with a checkpoint.",
        example="bakehouse queue cancel 12",
        refusal=applies_to("cancel", "waiting", "ready", "starting", "running", "stopping"),
        job_is_needless=lambda job: job.stop_reason == "cancel",
        on_job=cancel,
        done=cancelled,
        from_the_end=True,
        keys=(Key("x", "x", "cancel", "Cancel the job"),),
        confirmation=Confirmation("Cancel job {name}?", "Cancel job {job}", "Keep it", explain_cancel),
    ),
    QueueCommand(
        name="retry",
        help="Queue jobs again that failed, were cancelled, interrupted or lost; they resume from their last checkpoint.",
        example="bakehouse queue retry 12",
        refusal=applies_to("retry", "failed", "cancelled", "interrupted", "lost"),
        on_job=retry,
        done=named("Job {job} is queued again"),
        keys=(Key("r", "r", "retry", "Retry the job from its last checkpoint", rank=1),),
    ),
    QueueCommand(
        name="hold",
        help="Keep jobs from starting; a running one stops at its next step and waits.",
        example='bakehouse queue hold 12 --reason "data not ready"',
        refusal=hold_refusal,
        job_is_needless=lambda job: job.held or job.stop_reason == "hold",
        on_job=hold,
        done=held,
        from_the_end=True,
        arguments=(Argument("reason", help="Shown beside the job."),),
        keys=(Key("h", "h", "hold", "Hold the job; a running one stops at a checkpoint"),),
    ),
    QueueCommand(
        name="kill",
        help="""Force-kill (SIGKILL) a job that ignores the request to stop: the last resort.

        On an AMD GPU a process that is killed inside the driver can leave memory that only a restart frees, and can take the
        machine down.
        """,
        example="bakehouse queue kill 12 --yes",
        refusal=applies_to("kill", "stopping"),
        on_job=kill,
        done=named("Job {job} was killed with SIGKILL"),
        keys=(Key("X", "X", "kill", "Force-kill a job that ignores the stop request (SIGKILL)", rank=1),),
        confirmation=Confirmation(
            "Force-kill job {name} with SIGKILL?", "Kill job {job}", "Let it be", explain_kill, on_command_line=True
        ),
    ),
    QueueCommand(
        name="release",
        help="Let held jobs run.",
        example="bakehouse queue release 12",
        refusal=release_refusal,
        on_job=release,
        done=named("Job {job} is released"),
        keys=(Key("l", "l", "release", "Release the held job", rank=1),),
    ),
    QueueCommand(
        name="move",
        help="Change the place of waiting jobs; several stand in the order in which they are named.",
        example="bakehouse queue move 12 14 first",
        refusal=applies_to("move", "waiting", "ready"),
        on_job=move,
        done=named("Job {job} moved {to}"),
        arguments=(Argument("to", choices=PLACES),),
        order=moving_order,
        keys=(
            Key("K,left_square_bracket", "K", "earlier", "Move the waiting job up", rank=0, arguments={"to": "up"}),
            Key("J,right_square_bracket", "J", "later", "Move the waiting job down", rank=0, arguments={"to": "down"}),
        ),
    ),
)
