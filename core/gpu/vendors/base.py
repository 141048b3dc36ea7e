"""What Bakehouse has to know of a GPU vendor, as one record; and the GPU itself, as jobs see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class GpuVendor:
    """One vendor. To support another, write its record and list it in `core.gpu.vendors`.

    `find` lists the GPUs that the kernel's files show, without loading a library or waking a GPU. `find_by_tools` asks the
    vendor's programs where the files show none; its second argument is the source that `BAKEHOUSE_GPU_SOURCE` forces, if any.
    `sources` makes the ways to read the GPUs' figures, by the words that force them, the preferred one first. `visibility`
    are the variables by which a person says what a program may see: each group filters what the one before it leaves, and in
    a group the first that is set counts. `select` are the variables that make a GPU the only one that a job sees.

    `pci_id` and `driver` are the vendor's number on the PCI bus and the kernel's driver that computes; `driver_remedy` is what
    to do where that driver is absent. `torch_build` matches a word of the local part of a version of torch that was built
    for this vendor (`rocm6.4`). `names_architecture`: the driver tells a GPU's architecture. `strands_memory`: a process that
    is killed inside the driver can leave memory behind that no process owns. `probe_remedies`: what helps, in words, against a
    probe of the doctor (`lora`, `attention`) that fails on this vendor's GPUs.
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
    names_architecture: bool
    strands_memory: bool
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
