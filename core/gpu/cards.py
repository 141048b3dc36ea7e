"""The card that jobs run on: one answer for submission, lease, runner and `bakehouse gpu`.

It is told from files of the kernel and of NVIDIA's driver: no library is loaded and no sleeping card is woken. AMD's tools are
asked only where sysfs has no card. A GPU that is a part of the processor is never the card.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.gpu.amdsmi import AmdSmiSource
from core.gpu.guard import Guard
from core.gpu.kernelfile import names, read_text, read_uevent
from core.gpu.kfd import kfd_nodes
from core.gpu.rocmsmi import RocmSmiSource
from core.gpu.source import SourceError, procfs_root, sysfs_root
from core.gpu.sysfs import find_cards
from core.gpu.tool import Tool

log = logging.getLogger(__name__)
NVIDIA_VENDOR = "0x10de"
TOOLS = ("amd-smi", "rocm-smi")
_TOOL_LIMIT_SECONDS = 4.0
_ASK_AGAIN_SECONDS = 60.0
# Where a tool lies → when it was asked, and the cards it named.
_told: dict[str, tuple[float, tuple[Card, ...]]] = {}
_PCI_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# The variables by which a person says what a program may see. Each group filters what the one before it leaves; in a
# group the first that is set counts. HIP obeys CUDA's variable, too.
_AMD_FILTERS = (("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))
_NVIDIA_FILTERS = (("CUDA_VISIBLE_DEVICES",),)


@dataclass(frozen=True)
class Card:
    """A GPU that jobs can run on. `pci` is its address as the kernel writes it (`0000:0f:00.0`).

    `ordinal` counts from 0 as the vendor's runtime does: NVIDIA's cards by PCI address, AMD's as KFD numbers its nodes,
    integrated ones among them; None where KFD does not offer the card. `uuid` is known of a running NVIDIA card.
    """

    pci: str
    vendor: Literal["amd", "nvidia"]
    name: str
    integrated: bool | None
    ordinal: int | None
    uuid: str | None = None
    architecture: str | None = None
    """Of an AMD card, as LLVM names it (`gfx1201`); NVIDIA's files do not tell."""


def find_card(environ: Mapping[str, str] | None = None) -> Card | None:
    """The card that jobs run on, None where the CPU is all there is. Takes about a millisecond.

    It is the first discrete card by PCI address; of two vendors AMD's, unless only the other can compute.
    `BAKEHOUSE_GPU_SOURCE` narrows the choice to what that source reads (`sysfs`, `rocm-smi` and `amd-smi` AMD, `nvml` NVIDIA,
    `none` nothing), and a person's own CUDA_, HIP_ or ROCR_VISIBLE_DEVICES to what it names, in its order. Where the files
    show no card, AMD's tools are asked if they are on PATH: that takes up to seconds, once a process.
    """
    environ = os.environ if environ is None else environ
    source = environ.get("BAKEHOUSE_GPU_SOURCE")
    sysfs, procfs = sysfs_root(environ), procfs_root(environ)
    cards: list[Card] = []
    if not source or source in ("sysfs", *TOOLS):
        cards += visible(amd_cards(sysfs), _AMD_FILTERS, environ)
    if not source or source == "nvml":
        cards += visible(nvidia_cards(sysfs, procfs), _NVIDIA_FILTERS, environ)
    discrete = [card for card in cards if not card.integrated]
    if not discrete and (source in TOOLS or not source):
        # A card in sysfs that is integrated, or that the person has hidden, is not made another by a tool.
        seen = {card.pci for card in find_cards(sysfs)}
        if source or not seen:
            told = [card for card in tool_cards((source,) if source else TOOLS, environ) if card.pci not in seen]
            discrete = [card for card in visible(told, _AMD_FILTERS, environ) if not card.integrated]
    return min(discrete, key=lambda card: card.ordinal is None, default=None)


def device_environment(card: Card | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that make the card the only one a job sees; none that a person has set, nothing without a card."""
    if card is None or card.ordinal is None:
        return {}
    if card.vendor == "nvidia":
        wanted = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": card.uuid or str(card.ordinal)}
        return {name: value for name, value in wanted.items() if name not in environ}
    if any(name in environ for group in _AMD_FILTERS for name in group):
        return {}
    # Not ROCR_VISIBLE_DEVICES beside it: HIP would count anew in what that leaves.
    return {"HIP_VISIBLE_DEVICES": str(card.ordinal)}


def amd_cards(sysfs: Path) -> list[Card]:
    """The cards of the amdgpu driver that have an address, discrete ones first."""
    nodes = kfd_nodes(sysfs)
    order = {node.pci: (ordinal, node.architecture) for ordinal, node in enumerate(nodes) if node.pci is not None}
    cards = []
    for found in find_cards(sysfs):
        if found.pci is not None:
            ordinal, architecture = order.get(found.pci, (None, None))
            cards.append(Card(found.pci, "amd", found.name, found.integrated, ordinal, architecture=architecture))
    return cards


def tool_cards(tools: Sequence[str], environ: Mapping[str, str]) -> list[Card]:
    """The cards that the first of AMD's tools with an answer names, the largest first.

    The answer is kept for this process; that there is none, for a minute. `ordinal` counts the cards as the tool does.
    """
    for tool in tools:
        path = Tool(tool, environ).path()
        if path is None:
            continue
        known = _told.get(path)
        if known is None or (not known[1] and time.monotonic() - known[0] > _ASK_AGAIN_SECONDS):
            known = _told[path] = (time.monotonic(), tuple(_ask(tool, environ)))
        if known[1]:
            return list(known[1])
    return []


def _ask(tool: str, environ: Mapping[str, str]) -> list[Card]:
    program = Tool(tool, environ)
    source: AmdSmiSource | RocmSmiSource = AmdSmiSource(program) if tool == "amd-smi" else RocmSmiSource(program)
    guard = Guard(source, limit_seconds=_TOOL_LIMIT_SECONDS)
    try:
        devices = guard.read()[0] if guard.available() else ()
    except SourceError as error:
        log.warning("%s names no card: %s", tool, error)
        return []
    finally:
        guard.close()
    # Not every version says enough to tell a part of the processor: that one has the least memory of its own.
    largest = sorted(devices, key=lambda device: -(device.vram_total_bytes or 0))
    return [
        Card(device.pci, "amd", device.name, device.integrated, device.index, architecture=device.architecture)
        for device in largest
        if device.pci is not None
    ]


def nvidia_cards(sysfs: Path, procfs: Path) -> list[Card]:
    """The cards of NVIDIA's driver by PCI address. In a container its own list has only those that were passed in."""
    folder = procfs / "driver/nvidia/gpus"
    listed = {entry.lower() for entry in names(folder)}
    found = sorted(filter(_PCI_ADDRESS.fullmatch, listed or _nvidia_devices(sysfs)), key=_place)
    cards = []
    for ordinal, pci in enumerate(found):
        # The driver may wake a card to answer.
        asleep = read_text(sysfs / "bus/pci/devices" / pci / "power/runtime_status") in ("suspended", "suspending")
        said = "" if asleep else read_text(folder / pci / "information") or ""
        lines = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
        name, uuid = lines.get("Model", "").strip(), lines.get("GPU UUID", "").strip()
        shown = name if name.isprintable() else ""
        # The driver shows question marks for a card that nobody has used yet.
        cards.append(
            Card(pci, "nvidia", shown[:128] or "NVIDIA GPU", False, ordinal, uuid if _UUID.fullmatch(uuid) else None)
        )
    return cards


def _nvidia_devices(sysfs: Path) -> set[str]:
    """The addresses of the display devices of NVIDIA's that its driver has, not nouveau or a virtual machine."""
    bus, drm = sysfs / "bus/pci/devices", sysfs / "class/drm"
    found = set()
    for device in [*(bus / entry for entry in names(bus)), *(drm / entry / "device" for entry in names(drm))]:
        # The sound and USB parts of a card have its vendor, too, and another class.
        if read_text(device / "vendor") != NVIDIA_VENDOR or not (read_text(device / "class") or "0x03").startswith(
            "0x03"
        ):
            continue
        uevent = read_uevent(device)
        if not uevent or uevent.get("DRIVER") == "nvidia":
            found.add((uevent.get("PCI_SLOT_NAME") or device.name).lower())
    return found


def _place(pci: str) -> list[int]:
    return [int(part, 16) for part in re.split(r"[:.]", pci)]


def visible(cards: list[Card], filters: Sequence[Sequence[str]], environ: Mapping[str, str]) -> list[Card]:
    """The cards that a person's variables leave, in their order; all as they come where nothing is set."""
    for group in filters:
        said = next((environ[name] for name in group if name in environ), None)
        if said is not None:
            cards = _named(sorted((card for card in cards if card.ordinal is not None), key=_ordinal), said)
    return cards


def _ordinal(card: Card) -> int:
    return -1 if card.ordinal is None else card.ordinal


def _named(cards: list[Card], said: str) -> list[Card]:
    """As the runtimes read it: numbers count in `cards`, a UUID may be cut short, and nothing counts behind a bad item."""
    found: list[Card] = []
    for word in (item.strip() for item in said.split(",")):
        if word.isascii() and word.isdigit():
            card = next(iter(cards[int(word[:4]) :]), None)
        elif word.startswith(("GPU-", "MIG-")):
            # A name that cannot be told is taken for the first: a lease too many does less harm than one too few.
            card = next((card for card in cards if card.uuid and card.uuid.startswith(word)), next(iter(cards), None))
        else:
            card = None
        if card is None:
            break
        found.append(card)
    return found
