"""Whether a GPU is free for a job, and the words when it is not: each account of a GPU one answer."""

from __future__ import annotations

import time
from typing import Any

from core.gpu.memory_owners import Holding, MemoryOwners
from core.gpu_lease import admission
from core.gpu_lease.admission import AdmissionTerms

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
    assert admission.too_large(17 * GB, serving, TERMS) == (
        "17.0 GB are expected, 16.0 of 17.0 GB can be had beside its idle use: make the run smaller"
    )
    said = admission.too_large(13 * GB, serving, BESIDE)
    assert said is not None and "beside its idle use and the served models" in said


def test_who_holds_the_gpu_is_named_with_how_much_and_since_when() -> None:
    one = holding(user="ben", since=time.time())
    said = admission.held_by_others(known(others=(one,)), TERMS)
    assert said == f"blender (pid 52110, ben) holds 9.0 GB since {time.strftime('%H:%M')}"
    said = admission.held_by_others(known(others=(holding(), holding("python", 2 * GB), holding("x", GB))), TERMS)
    assert said == "blender (pid 52110) holds 9.0 GB, and 2 more 3.0 GB"
    assert admission.held_by_others(known(others=(holding(held=300_000_000),)), TERMS) is None


def test_names_of_others_are_text() -> None:
    said = admission.held_by_others(known(others=(holding("a\x1b[2J\u202eb", user="\x07ben"),)), TERMS)
    assert said is not None and said.isprintable()


def test_memory_of_nobody_is_told_with_what_to_do_and_never_with_a_reset() -> None:
    assert admission.unowned(known(unowned_bytes=300_000_000), TERMS, None) is None
    said = admission.unowned(known(unowned_bytes=11_400_000_000), TERMS, time.time())
    assert said == f"11.4 GB belong to no process since {time.strftime('%H:%M')}"
    for vendor in ("amd", "nvidia"):
        assert "restart the machine" in admission.advice(vendor)
        assert "reset" not in admission.advice(vendor)


def test_where_the_driver_shows_nobody_s_share_models_hold_more_than_their_server_says() -> None:
    around = known(served_bytes=4 * GB, unowned_bytes=900_000_000, unseen_bytes=4 * GB)
    assert admission.unowned(around, TERMS, None, around_models=True) is None, "it may go with them"
    assert admission.unowned(around, TERMS, None) == "0.9 GB belong to no process"
    much = known(served_bytes=4 * GB, unowned_bytes=9 * GB, unseen_bytes=4 * GB)
    assert admission.unowned(much, TERMS, None, around_models=True) == "9.0 GB belong to no process"
    seen = known(served_bytes=4 * GB, unowned_bytes=900_000_000)
    assert admission.unowned(seen, TERMS, None, around_models=True) is not None, "each share is known"


def test_what_is_left_when_no_model_is_listed_any_more_is_named() -> None:
    server = holding("llama-server", 6 * GB, user="ben")
    said = admission.left_over(known(served_bytes=6 * GB, servers=(server,)), TERMS)
    assert said == "llama-server (pid 52110, ben) holds 6.0 GB, and Ollama does not list it"
    assert admission.left_over(known(unowned_bytes=2 * GB), TERMS) == "2.0 GB belong to no process"
    assert admission.left_over(known(ours_bytes=2 * GB), TERMS) == "2.0 GB have not come back"
