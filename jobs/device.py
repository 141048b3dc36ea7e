"""The device of a job: the GPU that was leased for it, or the CPU; never one in the place of the other without a word."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from core.errors import BakehouseError
from core.jobfile.raw import LEASED_GPU
from jobs import models
from jobs.context import JobContext

if TYPE_CHECKING:
    import torch


def job_device(context: JobContext) -> torch.device:
    """The device to compute on.

    A job that has a GPU's lease and whose torch does not see the GPU would compute on the CPU, for days, while the GPU is kept
    free for it. Raises `BakehouseError` where torch was built for a GPU, so that something is broken; a build for the CPU is
    somebody's choice, and is warned of.
    """
    import torch

    device = models.choose_device()
    leased = os.environ.get(LEASED_GPU)
    if leased is None or device.type != "cpu":
        return device
    version = f"torch {torch.__version__}"
    if torch.version.cuda is None and torch.version.hip is None:
        context.warn("gpu_unused", f"{version} is a build for the CPU: the GPU at {leased} was leased and is not used")
        return device
    raise BakehouseError(
        f"{version} does not see the GPU at {leased}, which was made free for this job",
        code="gpu_not_seen",
        remedy="`bakehouse doctor` names the cause; a runner with BAKEHOUSE_GPU_SOURCE=none runs jobs on the CPU",
    )
