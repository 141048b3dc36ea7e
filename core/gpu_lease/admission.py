"""Whether a job may have the GPU as it stands, told from one account of its memory, and the reason when it may not.

Nothing is asked here and nothing waits, so each answer is a line of a test.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.gpu.memory_owners import Holding, MemoryOwners
from core.gpu.room import gpu_room
from core.gpu.vendors import strands_memory
from core.reasons import Reason, Value

UNSEEN_SHARE, UNSEEN_BYTES = 0.25, 1_000_000_000


@dataclass(frozen=True)
class AdmissionTerms:
    """What counts as a free GPU. `serves_beside`: the models of a server may stay where they are, but for those of the home's
    own served models."""

    tolerance_bytes: int
    serves_beside: bool = False


def in_the_way(known: MemoryOwners, terms: AdmissionTerms) -> int:
    """Bytes that have to go before a job may have the GPU: all that is in use beyond its idle use."""
    served = known.home_served_bytes if terms.serves_beside else known.served_bytes
    return known.ours_bytes + served + known.others_bytes + known.unowned_bytes


def is_clear(known: MemoryOwners, terms: AdmissionTerms) -> bool:
    return in_the_way(known, terms) <= terms.tolerance_bytes


def room_bytes(known: MemoryOwners, terms: AdmissionTerms) -> int:
    """What a job can have of the GPU at best: once all that can go has gone."""
    return gpu_room(known, models_stay=terms.serves_beside, tolerance_bytes=terms.tolerance_bytes).room_bytes


def too_large(expected_bytes: int | None, known: MemoryOwners, terms: AdmissionTerms) -> Reason | None:
    """Why a job with this expected peak can never have the GPU as it is; None when it can, or when nobody knows."""
    room = room_bytes(known, terms)
    if expected_bytes is None or expected_bytes <= room:
        return None
    values: dict[str, Value] = {
        "needed_bytes": expected_bytes,
        "usable_bytes": room,
        "total_bytes": known.total_bytes,
        "beside_models": terms.serves_beside and known.served_bytes > known.home_served_bytes,
    }
    return Reason("job_too_large", values)


def held_by_others(known: MemoryOwners, terms: AdmissionTerms) -> Reason | None:
    """Which programs of others are in the way, the largest named; None when together they are within the tolerance."""
    if known.others_bytes <= terms.tolerance_bytes:
        return None
    largest, *further = known.others
    more: dict[str, Value] = {}
    if further:
        more = {"more_programs": len(further), "more_bytes": rounded(sum(one.vram_bytes for one in further))}
    return Reason("held_by_program", {**_named(largest), **more})


def _named(holding: Holding) -> dict[str, Value]:
    """Who holds how much since when: `since` in Unix seconds, None where it is not known, as is the user."""
    return {
        "name": holding.name,
        "pid": holding.pid,
        "user": holding.user,
        "held_bytes": rounded(holding.vram_bytes),
        "since": holding.since,
    }


def unowned(
    known: MemoryOwners, terms: AdmissionTerms, since: float | None, *, around_models: bool = False
) -> Reason | None:
    """That memory belongs to nobody since then (Unix seconds); None when it is within the tolerance.

    `around_models`: a server's models are about to go. Where the driver does not show whose memory is whose, they hold more
    than the server says (contexts, buffers), and that goes with them.
    """
    slack = int(UNSEEN_SHARE * known.unseen_bytes) + UNSEEN_BYTES if around_models and known.unseen_bytes else 0
    if known.unowned_bytes <= terms.tolerance_bytes + slack:
        return None
    return Reason("memory_unowned", {"unowned_bytes": rounded(known.unowned_bytes), "since": since})


def left_over(known: MemoryOwners, terms: AdmissionTerms) -> Reason:
    """What is still in the way although no model is listed any more: a server that is not Ollama's, or memory of nobody."""
    if known.served_bytes > terms.tolerance_bytes and known.servers:
        return Reason("held_by_other_server", _named(known.servers[0]))
    left = in_the_way(known, terms)
    return unowned(known, terms, None) or Reason("memory_not_freed", {"left_bytes": rounded(left)})


def remedy_for_unowned(vendor: str) -> Reason:
    """What to do about memory that belongs to nobody. Never a reset of the GPU: it can take the machine down."""
    return Reason("restart_after_driver_death" if strands_memory(vendor) else "find_hidden_holder")


def rounded(count: int) -> int:
    """Bytes to 0.1 GB, as they are shown: a reason is another one when a person would see another one."""
    return round(count / 1e8) * 100_000_000
