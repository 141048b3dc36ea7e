"""Why a job is as it is, and why a command is refused: every code that the queue stores. `core.wording.jobs` has the words.

A value carries what its words need, under a name with its unit. `step` is the checkpoint that a job resumes from; without
one it starts from the beginning.
"""

from __future__ import annotations

import json
from typing import Literal

from core.reasons import Reason, Value

JobReasonCode = Literal[
    # Queued.
    "submitted",
    "retried",  # step
    "released",
    "ready",
    "held",  # note (what the person said), step
    "after",  # jobs
    "after_end",  # jobs (the first few), more: those must have ended, however
    "need_failed",  # job, state
    "queue_paused",  # note
    "disk_low",  # free_bytes, needed_bytes
    "host_memory_low",  # free_bytes, needed_bytes
    "slot_held",  # slot (gpu, cpu), job
    "slot_held_asking",  # slot, job, kind: it asks the model server
    "slot_held_elsewhere",  # slot, why (a code of the GPU's lease, its values beside it)
    "gpu_next",  # job
    "gpu_lease",  # why, as above
    "alias_moving",  # alias: what the job may ask is on its way to another model
    "requeued_after_restart",  # step
    "requeued_not_started",
    "disk_was_low",  # step
    "preempted",  # why, as above, step
    "requeued_after_gpu_fault",  # variable (that the next attempt gets), step
    "held_after_gpu_fault",  # count, at_step, step
    # Active.
    "starting",
    "running",  # variable, as above
    "stopping_to_cancel",
    "stopping_to_hold",
    "stopping_for_disk",
    "stopping_for_client",  # why, as above
    "stopping_for_watchdog",  # finding (its code), message
    "signal_sent",  # signal, after_seconds (of grace)
    "still_running",  # signal, job
    "killed_by_person",  # author
    # Ended.
    "done",  # message
    "cancelled_before_start",  # no attempt was made
    "cancelled_in_queue",  # attempts (made before), step
    "cancelled",  # step
    "watchdog",  # finding, message, step
    "gpu_fault",  # message, at_step (the last step before it), step
    "machine_restarted",  # step
    "not_started",
    "end_unseen",  # step
    "stopped_from_outside",  # step
    "killed",  # signal
    "exit_code",  # exit_code, last_line
    "job_error",  # error (its code), message, file, line, remedy, gate
    "launch_failed",  # error, message
    "result_unreadable",  # error
]

RefusalCode = Literal[
    "wrong_state",  # command, job, state, states (those it applies to)
    "being_cancelled",  # job
    "not_held",  # job
    "nothing_in_chain",  # command, chain
    "no_process",  # job
    "unknown_place",  # place, places
    "gpu_not_blocked",
    "unknown_command",  # command
    "command_failed",  # message
]


def job_reason(code: JobReasonCode, **values: Value) -> Reason:
    """Why a job is as it is. A value of None is left out: it is not known."""
    return Reason(code, {name: value for name, value in values.items() if value is not None})


def about_the_gpu(code: JobReasonCode, why: Reason, **values: Value) -> Reason:
    """A job's reason that is one of the GPU's lease: the lease's code is under `why`, its values beside it."""
    return job_reason(code, **{**why.values, **values, "why": why.code})


def refusal(code: RefusalCode, **values: Value) -> Reason:
    """Why a command is refused."""
    return Reason(code, values)


def values_to_json(reason: Reason) -> str:
    """In ASCII: a lone surrogate, as a foreign name can hold one, is no UTF-8."""
    return json.dumps(dict(reason.values), allow_nan=False)


def from_columns(code: str, values: str) -> Reason:
    """A reason as the database holds it."""
    return Reason(code, json.loads(values))
