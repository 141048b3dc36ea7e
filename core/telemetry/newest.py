"""The newest reading of the machine, and with it which GPU jobs run on: the runner's while one lives, else one's own.

Jobs are started by the runner, in its environment: while it lives its choice of GPU counts, whatever this process has set.
"""

from __future__ import annotations

from core.gpu.devices import gpu_vendor
from core.gpu.reading import Sample
from core.home import Home
from core.store.database import runner_lives
from core.telemetry.ring import TelemetryRing
from core.telemetry.sampler import Sampler

STALE_SECONDS = 5.0
"""A reading that is older tells nothing about now."""


def runner_sample(home: Home) -> Sample | None:
    """What a living runner has read within the last seconds; None without one."""
    if not runner_lives(home):
        return None
    ring = TelemetryRing(home.telemetry)
    try:
        sample = ring.latest()
    finally:
        ring.close()
    return sample if sample is not None and sample.age_seconds() <= STALE_SECONDS else None


def newest_sample(home: Home) -> Sample:
    """The runner's reading, else one that is taken now."""
    sample = runner_sample(home)
    if sample is not None:
        return sample
    sampler = Sampler(home)
    try:
        return sampler.read()
    finally:
        sampler.close()


def jobs_vendor(home: Home) -> str | None:
    """The vendor of the GPU that jobs of this home run on; None where the CPU is all they have. Takes milliseconds."""
    sample = runner_sample(home)
    if sample is None:
        return gpu_vendor()
    return None if sample.job_gpu is None else sample.job_gpu.vendor
