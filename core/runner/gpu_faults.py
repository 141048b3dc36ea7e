"""What follows an attempt that ended in a page fault of the GPU.

The attempt failed. The step is fixed by the order of the data and by the checkpoint, and a plain retry runs into the same fault
(ROCm issue 6600). So the next attempt has the vendor's remedy in its environment, and a second fault at the same step holds the
job. Nothing starts on the GPU before a person has released it, or the machine has restarted (`core.gpu_lease.gpu_fault`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.jobfile.kinds import kind_of
from core.reasons import Reason
from core.store.job_reasons import job_reason
from core.store.jobs import JobRow

if TYPE_CHECKING:
    from core.config.settings import GpuSettings
    from core.gpu.devices import Gpu

MOST_FAULTS = 3
"""So many faults at different steps hold a job as well."""


@dataclass(frozen=True)
class Faulted:
    """A page fault of an attempt, in the kernel's words or the job's; `former`: at which steps the job's others were.

    `remedies` are the variables that help, empty where none is known.
    """

    text: str
    former: Sequence[int | None]
    remedies: Mapping[str, str]


@dataclass(frozen=True)
class AfterFault:
    """Why the attempt failed, and why the job waits again, held or not; None: it stays as it ended."""

    failed: Reason
    waits: Reason | None
    held: bool = False


def remedies_of(gpu: Gpu | None, settings: GpuSettings) -> Mapping[str, str]:
    """What helps on this GPU against page faults, without what the person's settings decide."""
    if gpu is None:
        return {}
    from core.gpu.vendors import VENDORS  # with the readers of every vendor

    known = VENDORS[gpu.vendor].fault_remedies
    return {name: value for name, value in known.items() if name not in settings.environment}


def after_fault(job: JobRow, fault: Faulted, *, restarted: bool) -> AfterFault:
    """`restarted`: the machine went down with the attempt."""
    progress = job.progress
    step = (progress.checkpoint_step if progress else None) or None
    at_step = (progress.step if progress else None) or step
    failed = job_reason("gpu_fault", message=fault.text, at_step=at_step, step=step)
    if not kind_of(job.kind).retries_itself or (restarted and job.on_restart == "hold"):
        return AfterFault(failed, None)
    if job.stop_reason == "hold":
        return AfterFault(failed, job_reason("held", step=step), held=True)
    count = len(fault.former) + 1
    if at_step in fault.former or count >= MOST_FAULTS:
        return AfterFault(
            failed, job_reason("held_after_gpu_fault", count=count, at_step=at_step, step=step), held=True
        )
    return AfterFault(
        failed, job_reason("requeued_after_gpu_fault", variable=next(iter(fault.remedies), None), step=step)
    )
