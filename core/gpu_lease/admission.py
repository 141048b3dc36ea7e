"""Whether a job may have the GPU as it stands, told from one account of its memory; the words when it may not.

Nothing is asked here and nothing waits, so each answer is a line of a test.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.format import moment
from core.gpu.memory_owners import Holding, MemoryOwners
from core.gpu.room import gpu_room
from core.text import printable

UNSEEN_SHARE, UNSEEN_BYTES = 0.25, 1_000_000_000

AMD_ADVICE = "a process died inside the driver, most likely: close what else uses the GPU, else restart the machine"
OTHER_ADVICE = "no process here is known to hold it: look into containers and at other users, else restart the machine"


@dataclass(frozen=True)
class AdmissionTerms:
    """What counts as a free GPU. `serves_beside`: the models of a server may stay where they are."""

    tolerance_bytes: int
    serves_beside: bool = False


def in_the_way(known: MemoryOwners, terms: AdmissionTerms) -> int:
    """Bytes that have to go before a job may have the GPU: all that is in use beyond its idle use."""
    served = 0 if terms.serves_beside else known.served_bytes
    return known.ours_bytes + served + known.others_bytes + known.unowned_bytes


def is_clear(known: MemoryOwners, terms: AdmissionTerms) -> bool:
    return in_the_way(known, terms) <= terms.tolerance_bytes


def room_bytes(known: MemoryOwners, terms: AdmissionTerms) -> int:
    """What a job can have of the GPU at best: once all that can go has gone."""
    return gpu_room(known, models_stay=terms.serves_beside).room_bytes


def too_large(expected_bytes: int | None, known: MemoryOwners, terms: AdmissionTerms) -> str | None:
    """Why a job with this expected peak can never have the GPU as it is; None when it can, or when nobody knows."""
    room = room_bytes(known, terms)
    if expected_bytes is None or expected_bytes <= room:
        return None
    kept = "its idle use" + (" and the served models" if terms.serves_beside and known.served_bytes else "")
    return (
        f"{expected_bytes / 1e9:.1f} GB are expected, {room / 1e9:.1f} of {known.total_bytes / 1e9:.1f} GB can be had beside "
        f"{kept}: make the run smaller"
    )


def held_by_others(known: MemoryOwners, terms: AdmissionTerms) -> str | None:
    """Which programs of others are in the way, the largest named; None when together they are within the tolerance."""
    if known.others_bytes <= terms.tolerance_bytes:
        return None
    largest, *further = known.others
    more = "" if not further else f", and {len(further)} more {sum(one.vram_bytes for one in further) / 1e9:.1f} GB"
    return f"{holds(largest)}{more}"


def holds(holding: Holding) -> str:
    """`blender (pid 52110, ben) holds 9.1 GB since 13:13`."""
    who = f"pid {holding.pid}" + (f", {printable(holding.user)}" if holding.user else "")
    since = f" since {moment(holding.since)}" if holding.since is not None else ""
    return f"{printable(holding.name)} ({who}) holds {holding.vram_bytes / 1e9:.1f} GB{since}"


def unowned(
    known: MemoryOwners, terms: AdmissionTerms, since: float | None, *, around_models: bool = False
) -> str | None:
    """That memory belongs to nobody; None when it is within the tolerance.

    `around_models`: a server's models are about to go. Where the driver does not show whose memory is whose, they hold more
    than the server says (contexts, buffers), and that goes with them.
    """
    slack = int(UNSEEN_SHARE * known.unseen_bytes) + UNSEEN_BYTES if around_models and known.unseen_bytes else 0
    if known.unowned_bytes <= terms.tolerance_bytes + slack:
        return None
    when = f" since {moment(since)}" if since is not None else ""
    return f"{known.unowned_bytes / 1e9:.1f} GB belong to no process{when}"


def left_over(known: MemoryOwners, terms: AdmissionTerms) -> str:
    """What is still in the way although no model is listed any more: a server that is not Ollama's, or memory of nobody."""
    if known.served_bytes > terms.tolerance_bytes and known.servers:
        return f"{holds(known.servers[0])}, and Ollama does not list it"
    left = in_the_way(known, terms)
    return unowned(known, terms, None) or f"{left / 1e9:.1f} GB have not come back"


def advice(vendor: str) -> str:
    """What to do about memory that belongs to nobody. Never a reset of the GPU: it can take the machine down."""
    return AMD_ADVICE if vendor == "amd" else OTHER_ADVICE
