"""What a snapshot tells of the GPU: which one it is, whose its memory is, who is to have it next."""

from __future__ import annotations

import re
from dataclasses import replace

from core.gpu.memory_owners import MemoryOwners, memory_owners
from core.gpu.reading import DeviceReading, Sample
from core.gpu.room import GpuRoom, gpu_room
from core.gpu_lease.state import LeaseState
from core.store.jobs import QUEUED, JobRow
from core.text import printable
from tui.model.snapshot import Snapshot

MAKER = re.compile(r"^(?:AMD |NVIDIA )?(?:Radeon|GeForce) (?=R|G)")
HOT_C = 85.0


def gpu(sample: Sample | None) -> DeviceReading | None:
    """The GPU that the console shows: that of the jobs comes first; where none is, it is that of the processor."""
    if sample is None:
        return None
    own = (device for device in sample.devices if device.integrated or device.for_jobs is None)
    return sample.job_gpu or next(own, None)


def gpu_name(sample: Sample | None) -> str:
    """`RX 9070 XT`: who made it does not help to tell it from another."""
    device = gpu(sample)
    return "" if sample is None else MAKER.sub("", printable(device.name)) if device else "no GPU"


def shares(snapshot: Snapshot) -> MemoryOwners | None:
    """Whose memory the GPU's is; None where it does not say how much is used."""
    sample, state = snapshot.sample, snapshot.lease_state
    device = gpu(sample)
    if sample is None or device is None:
        return None
    served = state.loaded_bytes if state else 0
    return memory_owners(sample, device, state.baseline_bytes if state else None, served)


def room(snapshot: Snapshot) -> GpuRoom | None:
    """What a job can have of its GPU's memory, as the runner counts; None without a GPU for jobs, or without its figures."""
    known, state = shares(snapshot), snapshot.lease_state
    if known is None or snapshot.sample is None or snapshot.sample.job_gpu is None:
        return None
    terms = state or LeaseState(time=0.0)
    found = gpu_room(known, models_stay=terms.models_stay, tolerance_bytes=terms.tolerance_bytes)
    # After a job its memory takes a moment to come back, and is in nobody's way.
    returning = state is not None and state.phase == "verifying"
    return replace(found, in_the_way_bytes=known.others_bytes) if returning else found


def server_name(snapshot: Snapshot) -> str:
    """Who serves models on the GPU: `Ollama`, or the name of its process."""
    state = snapshot.lease_state
    if state is not None and state.server:
        return printable(state.server).partition(" ")[0]
    names = [process.name or "" for process in (snapshot.sample.processes if snapshot.sample else ())]
    return "llama-server" if any(name.startswith("llama") for name in names) else "Ollama"


def next_on_gpu(snapshot: Snapshot) -> JobRow | None:
    """The job that is to take the GPU next."""
    queued = (job for job in snapshot.jobs if job.lane == "gpu" and job.state in QUEUED and not job.held)
    return next(queued, None)


def next_bytes(snapshot: Snapshot) -> int | None:
    """What the next job is expected to take of the GPU."""
    following = snapshot.slot.next_forecast
    if following is not None and following.known:
        return following.device_bytes
    job = next_on_gpu(snapshot)
    return job.device_memory_bytes if job else None
