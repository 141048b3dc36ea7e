"""The probes of `jobs.probe`, run under the interpreter of the jobs in their environment, with the GPU to themselves."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from typing import Any

from core.doctor.machine import Machine, one_line, text_of
from core.doctor.variables import environment_of
from core.errors import BakehouseError
from core.format import data_size
from core.gpu.devices import device_environment
from core.gpu.vendors import strands_memory
from core.gpu_lease import lock as gpu_lock

PROBE_SECONDS = 120.0
# Six probes at their limits, with the graces of their ends.
LIMIT_SECONDS = 1000.0
END_SECONDS = 40.0
# What the probes take of a GPU, its context included.
NEEDED_BYTES = 3_000_000_000


def run_probes(machine: Machine, python: str, *, probe_seconds: float = PROBE_SECONDS) -> dict[str, Any]:
    """The document of `jobs.probe`, or `{left_out: why}` where the GPU is in use, or `{problem: what}`.

    A GPU that a job computes on is not touched: a probe beside it could take the memory that it needs next.
    """
    if machine.gpu is None:
        return ask(machine, python, probe_seconds, None)
    if (busy := in_use(machine)) is not None:
        return {"left_out": busy}
    path = gpu_lock.lease_path(machine.home, machine.gpu.pci)
    try:
        lease = gpu_lock.take(path)
    except BakehouseError as error:
        return {"left_out": error.message}
    if lease is None:
        return {"left_out": held_by(gpu_lock.read_holder(path))}
    try:
        note = json.dumps({"home": str(machine.home.root), "since": time.time()}).encode()
        os.ftruncate(lease.descriptor, 0)
        os.pwrite(lease.descriptor, note, 0)
        return ask(machine, python, probe_seconds, lease.descriptor)
    finally:
        lease.release()


def held_by(holder: dict[str, Any]) -> str:
    job = f"job {holder['job']}" if "job" in holder else "somebody"
    return f"{job} of {holder.get('home', 'another home')} has the GPU"


def in_use(machine: Machine) -> str | None:
    """That others leave too little of the GPU's memory; None when there is enough, or nobody tells."""
    device = next((one for one in machine.sample.devices if machine.gpu and one.pci == machine.gpu.pci), None)
    if device is None or device.vram_total_bytes is None or device.vram_used_bytes is None:
        return None
    free = device.vram_total_bytes - device.vram_used_bytes
    if free >= NEEDED_BYTES:
        return None
    holders = [one.name for one in machine.sample.processes if one.name and (one.vram_bytes or 0) > 200_000_000]
    by = f" ({', '.join(dict.fromkeys(holders))} holds it)" if holders else ""
    return f"{data_size(free)} of the GPU are free, the probes take up to {NEEDED_BYTES / 1e9:.0f} GB{by}"


def ask(machine: Machine, python: str, probe_seconds: float, lease: int | None) -> dict[str, Any]:
    """Run `jobs.probe` and read its document."""
    words = [python, "-P", "-m", "jobs.probe", "--limit", str(probe_seconds)]
    if machine.gpu is not None and strands_memory(machine.gpu.vendor):
        words.append("--no-kill")
    if lease is not None:
        words += ["--lease", str(lease)]
    try:
        process = subprocess.Popen(
            words,
            cwd=machine.home.root,
            env=environ_of_jobs(machine),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=() if lease is None else (lease,),
        )
    except OSError as error:
        return {"problem": f"{python} cannot be started: {error.strerror}"}
    try:
        out, err = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return {"problem": f"they did not end within {LIMIT_SECONDS:.0f} s"}
    finally:
        # Also when a person has had enough: the probes end by their own ladder.
        end(process)
    # The last line: what is loaded at the start of an interpreter may print before the first of ours runs.
    with contextlib.suppress(ValueError, TypeError, KeyError):
        document = json.loads(out.strip().rpartition(b"\n")[2])
        if isinstance(document["probes"], list):
            return dict(document)
    said = text_of(err).strip().splitlines()
    last = f": {one_line(said[-1])}" if said else ""
    return {"problem": f"`{python} -P -m jobs.probe` ended with {process.returncode}{last}"}


def environ_of_jobs(machine: Machine) -> dict[str, str]:
    """What a job finds in its environment on this GPU."""
    _, made = environment_of(machine)
    kept = {name: value for name, value in machine.environ.items() if name not in made.unset}
    return {**kept, **made.set, **device_environment(machine.gpu, machine.environ)}


def end(process: subprocess.Popen[bytes]) -> None:
    """Have it end, if it has not, and let go of its output."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
