"""Whether a GPU is free for a job, and the reason when it is not: each account of a GPU one answer."""

from __future__ import annotations

from typing import Any

from core.gpu.memory_owners import Holding, MemoryOwners
from core.gpu_lease import admission
from core.gpu_lease.admission import AdmissionTerms
from core.reasons import Reason

GB = 1_000_000_000
TOTAL, IDLE = 17 * GB, GB // 2
TERMS, BESIDE = AdmissionTerms(300_000_000), AdmissionTerms(300_000_000, serves_beside=True)


def holding(name: str = "blender", held: int = 9 * GB, **more: Any) -> Holding:
    return Holding(52110, name, held, **more)


def known(**shares: Any) -> MemoryOwners:
    """A GPU of 17 GB with these shares, all else idle."""
    parts: dict[str, Any] = {"ours_bytes": 0, "served_bytes": 0, "others": (), "unowned_bytes": 0, **shares}
    used = IDLE + sum(parts[name] for name in ("ours_bytes", "served_bytes", "unowned_bytes"))
    used += sum(one.vram_bytes for one in parts["others"])
    return MemoryOwners(total_bytes=TOTAL, used_bytes=used, idle_bytes=IDLE, knows_idle=True, **parts)


def test_idle_use_and_the_tolerance_are_in_nobody_s_way() -> None:
    assert admission.is_clear(known(), TERMS)
    assert admission.is_clear(known(unowned_bytes=200_000_000, ours_bytes=100_000_000), TERMS)
    assert not admission.is_clear(known(unowned_bytes=200_000_000, ours_bytes=100_000_001), TERMS)


def test_served_models_are_in_the_way_unless_they_are_to_stay() -> None:
    serving = known(served_bytes=4 * GB)
    assert admission.in_the_way(serving, TERMS) == 4 * GB and not admission.is_clear(serving, TERMS)
    assert admission.in_the_way(serving, BESIDE) == 0 and admission.is_clear(serving, BESIDE)


def test_a_job_fits_into_97_percent_without_what_stays() -> None:
    serving = known(served_bytes=4 * GB)
    room = int(0.97 * TOTAL) - IDLE
    assert admission.room_bytes(serving, TERMS) == room
    assert admission.room_bytes(serving, BESIDE) == room - 4 * GB
    assert admission.too_large(room, serving, TERMS) is None
    assert admission.too_large(None, serving, TERMS) is None, "nobody knows"
    values = {"needed_bytes": 17 * GB, "usable_bytes": room, "total_bytes": TOTAL, "beside_models": False}
    assert admission.too_large(17 * GB, serving, TERMS) == Reason("job_too_large", values)
    beside = admission.too_large(13 * GB, serving, BESIDE)
    assert beside is not None and beside.values["beside_models"] is True
    assert beside.values["usable_bytes"] == room - 4 * GB


def test_who_holds_the_gpu_is_named_with_how_much_and_since_when() -> None:
    one = holding(user="ben", since=1_700_000_000.0)
    named = {"name": "blender", "pid": 52110, "user": "ben", "held_bytes": 9 * GB, "since": 1_700_000_000.0}
    assert admission.held_by_others(known(others=(one,)), TERMS) == Reason("held_by_program", named)
    three = admission.held_by_others(known(others=(holding(), holding("python", 2 * GB), holding("x", GB))), TERMS)
    assert three is not None
    assert (three.values["name"], three.values["more_programs"], three.values["more_bytes"]) == ("blender", 2, 3 * GB)
    assert admission.held_by_others(known(others=(holding(held=300_000_000),)), TERMS) is None


def test_memory_of_nobody_is_told_with_what_to_do() -> None:
    assert admission.unowned(known(unowned_bytes=300_000_000), TERMS, None) is None
    told = admission.unowned(known(unowned_bytes=11_400_000_000), TERMS, 1_700_000_000.0)
    assert told == Reason("memory_unowned", {"unowned_bytes": 11_400_000_000, "since": 1_700_000_000.0})
    assert admission.remedy_for_unowned("amd").code == "restart_after_driver_death"
    assert admission.remedy_for_unowned("nvidia").code == "find_hidden_holder"


def test_a_reason_is_another_one_when_a_person_would_see_another_one() -> None:
    one, other = (
        admission.unowned(known(unowned_bytes=count), TERMS, None) for count in (11_410_000_000, 11_430_000_000)
    )
    assert one == other
    assert admission.unowned(known(unowned_bytes=11_460_000_000), TERMS, None) != one


def test_where_the_driver_shows_nobody_s_share_models_hold_more_than_their_server_says() -> None:
    around = known(served_bytes=4 * GB, unowned_bytes=900_000_000, unseen_bytes=4 * GB)
    assert admission.unowned(around, TERMS, None, around_models=True) is None, "it may go with them"
    assert admission.unowned(around, TERMS, None) is not None
    much = known(served_bytes=4 * GB, unowned_bytes=9 * GB, unseen_bytes=4 * GB)
    assert admission.unowned(much, TERMS, None, around_models=True) is not None
    seen = known(served_bytes=4 * GB, unowned_bytes=900_000_000)
    assert admission.unowned(seen, TERMS, None, around_models=True) is not None, "each share is known"


def test_what_is_left_when_no_model_is_listed_any_more_is_named() -> None:
    server = holding("llama-server", 6 * GB, user="ben")
    left = admission.left_over(known(served_bytes=6 * GB, servers=(server,)), TERMS)
    assert (left.code, left.values["name"], left.values["held_bytes"]) == (
        "held_by_other_server",
        "llama-server",
        6 * GB,
    )
    assert admission.left_over(known(unowned_bytes=2 * GB), TERMS).code == "memory_unowned"
    assert admission.left_over(known(ours_bytes=2 * GB), TERMS) == Reason("memory_not_freed", {"left_bytes": 2 * GB})
