"""How much memory there is for a training: a GPU's, or the machine's where there is none. All in bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from core.errors import InputError
from core.format import data_size, listed
from core.gpu.idle_baseline import read_baselines
from core.gpu.memory_owners import USABLE, memory_owners
from core.gpu.reading import DeviceReading, Sample
from core.gpu.room import GpuRoom, gpu_room
from core.gpu_lease.state import read_lease_state
from core.home import Home
from core.process.identity import current_boot_id
from core.store.database import runner_lives
from core.telemetry.newest import newest_sample
from core.vram.layers import NotPredicted

if TYPE_CHECKING:
    from core.config.settings import OllamaSettings, Settings

# Who holds less of a GPU than this is not worth a name: a window of a browser, a probe.
NAMED_FROM_BYTES = 200_000_000
NAMED_AT_MOST = 3
SERVER_SECONDS = 1.0
"""A model server on this machine answers at once, or it is not there."""
OF_OURS = (["-m", "jobs"], ["-m", "core.served.shim"])
"""In the command lines of our processes that hold memory, or whose children do."""
_VRAM = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|GiB|G|)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """Memory to plan for. `baseline_bytes` stays in use while a job runs: a GPU's idle use, on a CPU all that others hold.

    `name` says whose memory it is, `device` is the GPU's name as its driver gives it, None where there is none to measure.
    `room` tells more of a GPU: what makes way for a job, and what a job waits for.
    """

    total_bytes: int
    baseline_bytes: int
    name: str
    kind: Literal["gpu", "cpu"]
    device: str | None = None
    room: GpuRoom | None = None
    held_bytes: int | None = None
    """On a CPU: what is in use now; None of a budget that is only named."""
    passed_over: tuple[DeviceReading, ...] = ()
    """GPUs of the machine that jobs do not run on, where it has none that they do."""

    @property
    def used_bytes(self) -> int:
        """What is in use now, as `core.gpu.room` defines it."""
        if self.room is not None and self.room.used_bytes:
            return self.room.used_bytes
        return self.baseline_bytes if self.held_bytes is None else self.held_bytes

    @property
    def limit_bytes(self) -> int:
        """What is usable by a job."""
        return max(0, int(USABLE * self.total_bytes) - self.baseline_bytes)

    @property
    def emptied(self) -> Budget:
        """The same memory with nothing else in it: what could be had, did everybody leave."""
        return replace(self, baseline_bytes=0, room=None, held_bytes=None)

    @property
    def in_use(self) -> str:
        """`4.0 GB in use`, and what of that a GPU keeps, loses or is waited for; empty when nothing is in use."""
        room = self.room
        parts = []
        if room is not None and room.staying:
            parts.append(f"the models of {listed(room.staying)} stay loaded")
        if room is not None and room.unloaded_bytes:
            parts.append(f"{data_size(room.unloaded_bytes)} of served models are unloaded for a job")
        if room is not None and room.in_the_way_bytes >= NAMED_FROM_BYTES:
            holders = listed(room.holders[:NAMED_AT_MOST]) or "no process"
            parts.append(f"a job waits for {data_size(room.in_the_way_bytes)} held by {holders}")
        if not self.used_bytes:
            return ""
        return f"{data_size(self.used_bytes)} in use" + (f": {', '.join(parts)}" if parts else "")


def parse_vram(text: str) -> int:
    """`16` is a GPU sold as 16 GB, which holds 16·2³⁰ bytes; `16GB` is 16e9 bytes and `16GiB` 16·2³⁰. Raises `InputError`."""
    found = _VRAM.fullmatch(text.strip())
    count = float(found[1]) if found else 0.0
    if found is None or not 0 < count <= 10_000:
        raise InputError(
            f"`{text}` is no amount of memory",
            code="bad_vram",
            key="vram",
            remedy="a GPU's size as it is sold (16), or 16GB or 16GiB",
        )
    return round(count * (10**9 if found[2].lower() == "gb" else 2**30))


def budget_for(text: str) -> Budget:
    """The budget of a GPU that is only named: `--vram 16`. Nothing else is on it."""
    return Budget(parse_vram(text), 0, f"--vram {text.strip()}", "gpu")


def this_machine(home: Home, sample: Sample | None = None) -> Budget:
    """The budget of this machine: of its GPU, or of its memory. `sample` is its newest reading, which is asked for without one.

    The idle use is what the runner has learnt in this boot; what a model server holds is told by the runner, or by the server
    itself where no runner lives. Raises `NotPredicted` where there is a GPU that does not say how much memory it has.
    """
    sample = newest_sample(home) if sample is None else sample
    device = sample.job_gpu
    if device is None:
        return budget_of(sample)
    settings = _machine_settings()
    idle = read_baselines(home.idle_baseline, current_boot_id()).get(device.pci or "")
    return budget_of(
        sample,
        idle_bytes=idle,
        served_bytes=served_bytes(home, settings.ollama),
        models_stay=not settings.ollama.managed,
        tolerance_bytes=settings.gpu.tolerance_bytes,
    )


def budget_of(
    sample: Sample | None,
    *,
    idle_bytes: int | None = None,
    served_bytes: int = 0,
    models_stay: bool = False,
    tolerance_bytes: int = 0,
) -> Budget:
    """The budget of the machine that a sample was taken on: its GPU's memory, else the host's.

    `idle_bytes` is the GPU's idle use as it was learnt, `served_bytes` what a model server says that it holds there, and
    `models_stay` that its models are not unloaded for a job. Up to `tolerance_bytes` of others keep no job waiting. Raises
    `NotPredicted`.
    """
    device = None if sample is None else sample.job_gpu
    if sample is not None and device is not None:
        if device.vram_total_bytes is None:
            raise NotPredicted(
                f"{device.name} does not say how much memory it has", remedy="name it: bakehouse plan --vram 16"
            )
        known = memory_owners(sample, device, idle_bytes, served_bytes)
        room = (
            GpuRoom(device.vram_total_bytes)
            if known is None
            else gpu_room(known, models_stay=models_stay, tolerance_bytes=tolerance_bytes)
        )
        return Budget(device.vram_total_bytes, room.stays_bytes, device.name, "gpu", device.name, room)
    import psutil

    host = psutil.virtual_memory()
    used = host.total - host.available
    # Our jobs and served models are not among the idle use: the queue starts one only when there is memory, and for a job that
    # has the CPU to itself the served models make way.
    jobs = _jobs_resident()
    over = () if sample is None else sample.passed_over
    return Budget(host.total, max(0, used - jobs), "host memory", "cpu", held_bytes=used, passed_over=over)


def _machine_settings() -> Settings:
    """The person's; a settings file that cannot be read is told by who submits, and is no reason to plan for nothing."""
    from core.config.settings import Settings, load_settings

    try:
        return load_settings()
    except InputError:
        return Settings()


def served_bytes(home: Home, ollama: OllamaSettings) -> int:
    """What the models of the server beside the jobs hold of GPUs, in bytes; 0 where there is none, or nobody knows."""
    state = read_lease_state(home)
    if state is not None and runner_lives(home):
        return state.loaded_bytes
    from core.serving.address import is_here
    from core.serving.errors import ServerError
    from core.serving.ollama import Ollama

    try:
        with Ollama(ollama.url, timeout_seconds=SERVER_SECONDS) as server:
            # Another machine's server holds nothing of this GPU, unless the person says that it is this one's.
            if ollama.url is None and not is_here(server.url):
                return 0
            return sum(model.size_vram_bytes or 0 for model in server.ps())
    except (InputError, ServerError):
        return 0


def _jobs_resident() -> int:
    """Bytes of their own of the jobs that run on this machine (`PYTHON … -m jobs RUN_DIR`), of the shims of served models, and
    of what these have started: a llama-server, a converter."""
    import psutil

    held, parents, jobs = {}, {}, set()
    for process in psutil.process_iter(["cmdline", "memory_info", "ppid"]):
        words = process.info["cmdline"] or []
        memory = process.info["memory_info"]
        if memory is not None:
            # Pages of files can be had at any time: the kernel counts them as available already.
            held[process.pid] = memory.rss - getattr(memory, "shared", 0)
        parents[process.pid] = process.info["ppid"]
        if any(words[at : at + 2] in OF_OURS for at in range(len(words) - 1)):
            jobs.add(process.pid)
    return sum(size for pid, size in held.items() if pid in jobs or parents[pid] in jobs)
