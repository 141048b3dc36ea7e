"""What Bakehouse has to know of a GPU vendor, as one record; and the GPU itself, as jobs see it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from core.gpu.source import Source

Environ = Mapping[str, str]


@dataclass(frozen=True)
class Gpu:
    """A GPU that jobs can run on. `pci` is its address as the kernel writes it (`0000:0f:00.0`).

    `vendor` is the name of its record in `core.gpu.vendors`. `ordinal` counts from 0 as the vendor's runtime does: NVIDIA's
    GPUs by PCI address, AMD's as KFD numbers its nodes, integrated ones among them; None where the runtime does not offer the
    GPU. `uuid` is known of a running NVIDIA GPU.
    """

    pci: str
    vendor: str
    name: str
    integrated: bool | None
    ordinal: int | None
    uuid: str | None = None
    architecture: str | None = None
    """Of an AMD GPU, as LLVM names it (`gfx1201`); NVIDIA's files do not tell."""
    nodes: tuple[str, ...] = ()
    """The device files that are this GPU's own, relative to `/dev`, as far as its driver tells."""


class Obstacle(NamedTuple):
    """Why jobs do not run on a GPU; `core.wording.gpu` has the words.

    | code             | detail                                                        |
    |------------------|---------------------------------------------------------------|
    | `integrated`     |                                                               |
    | `hidden`         | the variable that hides it                                    |
    | `source_forced`  | what BAKEHOUSE_GPU_SOURCE is                                  |
    | `no_device_file` | the file that is absent                                       |
    | `no_rights`      | the file that this user may not open                          |
    | `access_revoked` | the file whose rights are right and that cannot be opened     |
    | `not_offered`    | who does not offer it: KFD, NVIDIA's driver                   |
    | `no_address`     |                                                               |
    """

    code: str
    detail: str = ""


@dataclass(frozen=True)
class GpuVendor:
    """One vendor. To support another, write its record and list it in `core.gpu.vendors`.

    `find` lists the GPUs that the kernel's files show, without loading a library or waking a GPU. `find_by_tools` asks the
    vendor's programs where the files show none; its second argument is the source that `BAKEHOUSE_GPU_SOURCE` forces, if any.
    `sources` makes the ways to read the GPUs' figures, by the words that force them, the preferred one first. `visibility`
    are the variables by which a person says what a program may see: each group filters what the one before it leaves, and in
    a group the first that is set counts. `select` are the variables that make a GPU the only one that a job sees, and `hide` is
    the variable of which `-1` leaves a job none. `obstacle` says why this user cannot compute on a GPU, None where that can be.

    `pci_id` and `driver` are the vendor's number on the PCI bus and the kernel's driver that computes; `driver_remedy` is what
    to do where that driver is absent. `torch_build` matches a word of the local part of a version of torch that was built
    for this vendor (`rocm6.4`). `names_architecture`: the driver tells a GPU's architecture. `strands_memory`: a process that
    is killed inside the driver can leave memory behind that no process owns. `fault_remedies`: variables that a job gets after
    an attempt that ended in a page fault of the GPU, empty where none is known to help. `probe_remedies`: what helps, in words,
    against a probe of the doctor (`lora`, `attention`) that fails on this vendor's GPUs.
    """

    name: str
    label: str
    pci_id: str
    driver: str
    driver_remedy: str
    torch_build: str
    visibility: Sequence[Sequence[str]]
    find: Callable[[Environ], list[Gpu]]
    find_by_tools: Callable[[Environ, str | None], list[Gpu]]
    sources: Mapping[str, Callable[[Environ], Source]]
    select: Callable[[Gpu, Environ], dict[str, str]]
    hide: str
    obstacle: Callable[[Gpu, Environ], Obstacle | None]
    names_architecture: bool
    strands_memory: bool
    fault_remedies: Mapping[str, str] = field(default_factory=dict)
    probe_remedies: Mapping[str, str] = field(default_factory=dict)


def visible(gpus: list[Gpu], groups: Sequence[Sequence[str]], environ: Environ) -> list[Gpu]:
    """The GPUs that a person's variables leave, in their order; all as they come where nothing is set."""
    for group in groups:
        chosen = next((environ[name] for name in group if name in environ), None)
        if chosen is not None:
            gpus = _named(sorted((gpu for gpu in gpus if gpu.ordinal is not None), key=_ordinal), chosen)
    return gpus


def _ordinal(gpu: Gpu) -> int:
    return -1 if gpu.ordinal is None else gpu.ordinal


def _named(gpus: list[Gpu], chosen: str) -> list[Gpu]:
    """As the runtimes read it: numbers count in `gpus`, a UUID may be cut short, and nothing counts behind a bad item."""
    found: list[Gpu] = []
    for word in (item.strip() for item in chosen.split(",")):
        if word.isascii() and word.isdigit():
            gpu = next(iter(gpus[int(word[:4]) :]), None)
        elif word.startswith(("GPU-", "MIG-")):
            # A name that cannot be told is taken for the first: a lease too many does less harm than one too few.
            gpu = next((gpu for gpu in gpus if gpu.uuid and gpu.uuid.startswith(word)), next(iter(gpus), None))
        else:
            gpu = None
        if gpu is None:
            break
        found.append(gpu)
    return found


def hides(groups: Sequence[Sequence[str]], environ: Environ) -> str:
    """The variables by which a person has chosen among GPUs: `HIP_VISIBLE_DEVICES`."""
    chosen = (next((name for name in group if name in environ), None) for group in groups)
    return " and ".join(name for name in chosen if name is not None)


def closed(path: Path) -> Obstacle | None:
    """Why a device file cannot be used; None when this user may read and write it. It is not opened: that can wake a GPU."""
    if not path.exists():
        return Obstacle("no_device_file", str(path))
    return None if os.access(path, os.R_OK | os.W_OK) else Obstacle("no_rights", str(path))


def revoked(path: Path) -> Obstacle | None:
    """That the kernel refuses a device file whose rights are right, as after a reload of a container's cgroup; it is opened."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EPERM:
            return Obstacle("access_revoked", str(path))
    return None


def in_container(environ: Environ) -> bool:
    return "container" in environ or any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))


ASK_AGAIN_SECONDS = 60.0
_named_by: dict[str, tuple[float, tuple[Gpu, ...]]] = {}


def remembered(key: str, ask: Callable[[], Sequence[Gpu]]) -> list[Gpu]:
    """The GPUs that a tool names. An answer is kept for this process; that there is none, for a minute."""
    known = _named_by.get(key)
    if known is None or (not known[1] and time.monotonic() - known[0] > ASK_AGAIN_SECONDS):
        known = _named_by[key] = (time.monotonic(), tuple(ask()))
    return list(known[1])
