"""How much memory there is for a training: a GPU's, or the machine's where there is none. All in bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from core.errors import InputError
from core.gpu.memory_owners import USABLE
from core.gpu.reading import Sample
from core.home import Home
from core.telemetry.sampler import Sampler
from core.vram.layers import NotPredicted

# Who holds less of a GPU than this is not worth a name: a window of a browser, a probe.
NAMED_FROM_BYTES = 200_000_000
NAMED_AT_MOST = 3
_VRAM = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|GiB|G|)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """Memory to plan for. `baseline_bytes` is in use now by others than our jobs: a desktop, a model server, other programs.

    `name` says whose memory it is, `device` is the GPU's name as its driver gives it, None where there is none to measure;
    `holders` are the programs that hold most of the baseline, as far as the driver tells.
    """

    total_bytes: int
    baseline_bytes: int
    name: str
    kind: Literal["gpu", "cpu"]
    device: str | None = None
    holders: tuple[str, ...] = ()

    @property
    def limit_bytes(self) -> int:
        """What a job may use."""
        return max(0, int(USABLE * self.total_bytes) - self.baseline_bytes)

    @property
    def emptied(self) -> Budget:
        """The same memory with nothing else in it: what could be had, did everybody leave."""
        return replace(self, baseline_bytes=0, holders=())

    @property
    def in_use(self) -> str:
        """`8.1 GB in use now by ollama`; empty when nothing is."""
        by = f" by {' and '.join(self.holders)}" if self.holders else ""
        return f"{self.baseline_bytes / 1e9:.1f} GB in use now{by}" if self.baseline_bytes else ""


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


def this_machine(home: Home) -> Budget:
    """The budget of this machine as it is now: one reading of its GPU, or of its memory.

    Raises `NotPredicted` where there is a GPU that does not say how much memory it has.
    """
    sampler = Sampler(home)
    try:
        return budget_of(sampler.read())
    finally:
        sampler.close()


def budget_of(sample: Sample | None) -> Budget:
    """The budget of the machine that a sample was taken on: its GPU's memory, else the host's.

    The baseline is what is in use without our jobs. A model server's share is part of it: nothing makes it give the GPU up.
    """
    for device in (sample.devices if sample else ())[:1]:
        if device.integrated:
            continue
        if device.vram_total_bytes is None:
            raise NotPredicted(
                f"{device.name} does not say how much memory it has", remedy="name it: bakehouse plan --vram 16"
            )
        used, holders = _others(sample)
        return Budget(device.vram_total_bytes, used, device.name, "gpu", device.name, holders)
    import psutil

    host = psutil.virtual_memory()
    used = host.total - host.available
    # Our jobs are not among the idle use; the queue starts one only when there is memory.
    return Budget(host.total, max(0, used - _jobs_resident()), "host memory", "cpu")


def _others(sample: Sample | None) -> tuple[int, tuple[str, ...]]:
    """(bytes, names): what the GPU's memory holds beside our jobs, and who holds most of it, the largest first.

    Only what is known is taken off: without figures of each process our own jobs count as others, which plans for too little
    rather than for memory that is not there.
    """
    assert sample is not None
    gpu = sample.devices[0]
    here = [one for one in sample.processes if one.pci in (None, gpu.pci)]
    ours = sum(one.vram_bytes or 0 for one in here if one.ours)
    used = max(0, (gpu.vram_used_bytes or 0) - ours)
    large = [one for one in here if not one.ours and one.name and (one.vram_bytes or 0) >= NAMED_FROM_BYTES]
    large.sort(key=lambda one: -(one.vram_bytes or 0))
    return used, tuple(dict.fromkeys(one.name or "" for one in large))[:NAMED_AT_MOST] if used else ()


def _jobs_resident() -> int:
    """Bytes of their own of the jobs that run on this machine (`PYTHON … -m jobs RUN_DIR`)."""
    import psutil

    found = 0
    for process in psutil.process_iter(["cmdline", "memory_info"]):
        words = process.info["cmdline"] or []
        memory = process.info["memory_info"]
        if memory is not None and any(words[at : at + 2] == ["-m", "jobs"] for at in range(len(words) - 1)):
            # Pages of files can be had at any time: the kernel counts them as available already.
            found += memory.rss - getattr(memory, "shared", 0)
    return found
