"""The doctor's line about the newest stress test."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.doctor.stress import stress_test
from core.reasons import Reason
from core.store.database import open_database, transaction
from core.store.job_reasons import job_reason
from core.store.jobs import change_state, claim_next
from tests.support.doctorbench import Bench
from tests.support.stored import add_job

PASSED = job_reason(
    "done", message="no fault in 344 steps over 9 layouts in 5.0 min; this does not prove that there is none"
)


def ended(bench: Bench, state: str, reason: Reason, kind: str = "stress") -> int:
    connection = open_database(bench.home)
    job = add_job(connection, kind=kind)
    with transaction(connection):
        change_state(connection, job, "ready", job_reason("ready"), "runner")
    claim_next(connection, "gpu", "boot", "runner")
    with transaction(connection):
        connection.execute("UPDATE attempts SET outcome = 'failed', ended_at = 1.0 WHERE job_id = ?", [job])
        change_state(connection, job, state, reason, "runner")  # type: ignore[arg-type]
    connection.close()
    return job


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench.of_its_own(tmp_path, monkeypatch)


def test_without_one_there_is_no_line(bench: Bench) -> None:
    assert stress_test(bench.box()) == []
    ended(bench, "done", PASSED, kind="train")
    assert stress_test(bench.box()) == []


def test_a_pass_says_what_it_is_worth_and_a_fault_what_to_do(bench: Bench) -> None:
    first = ended(bench, "done", PASSED)
    (found,) = stress_test(bench.box())
    assert (found.state, found.section) == ("ok", "probes")
    assert f"job {first}, " in found.message and "does not prove that there is none" in found.message
    second = ended(bench, "failed", job_reason("gpu_fault", message="[gfxhub] page fault", at_step=61))
    (found,) = stress_test(bench.box())
    assert found.state == "fault" and "page fault" in found.message and f"queue retry {second}" in found.remedy
    ended(bench, "failed", job_reason("killed", signal="SIGKILL"))
    assert [one.state for one in stress_test(bench.box())] == ["warning"]
