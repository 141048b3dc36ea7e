"""What follows a page fault of the GPU: the attempt failed; the job retries with the remedy, or is held."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.attempt.launcher import Observation
from core.config.settings import GpuSettings
from core.files import write_json
from core.gpu.devices import Gpu
from core.jobfile.kinds import KINDS
from core.progress import Progress
from core.runner.gpu_faults import Faulted, remedies_of
from core.runner.reconcile import Resolution, resolve_outcome
from core.runner.schedule import Resources, find_blocker
from core.store.database import transaction
from core.store.gpu_faults import former_faults
from core.store.job_reasons import job_reason
from core.store.jobs import JobRow, change_state, get_job
from core.store.stop_reasons import stop_rules
from tests.support.stored import add_job, fresh, job_in

REMEDY = {"PYTORCH_NO_HIP_MEMORY_CACHING": "1"}
CRASHED = Observation("ended", signal=6)


class Books:
    """A home with one job, and what an end of its attempt means."""

    def __init__(self, folder: Path) -> None:
        self.home, self.connection = fresh(folder)
        self.job = get_job(self.connection, add_job(self.connection))
        self.home.run_dir(self.job.id).attempt(1).path.mkdir(parents=True)
        self.rules = stop_rules(self.connection)

    def resolve(self, fault: Faulted | None, seen: Observation = CRASHED, **changes: Any) -> Resolution:
        job = replace(self.job, state=changes.pop("state", "running"), **changes)
        run = self.home.run_dir(job.id)
        return resolve_outcome(job, run, run.attempt(1), seen, self.rules, fault)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Books:
    return Books(tmp_path_factory.mktemp("faults"))


def at(step: int | None, checkpoint: int | None = None) -> Progress:
    return Progress(done=step, unit="steps" if step is not None else None, checkpoint_step=checkpoint)


def fault(*former: int | None, **remedies: str) -> Faulted:
    return Faulted("[gfxhub] page fault", former, remedies or REMEDY)


def test_the_first_fault_fails_the_attempt_and_the_job_waits_for_another_with_the_remedy(books: Books) -> None:
    found = books.resolve(fault(), progress=at(61, 60))
    assert (found.state, found.outcome, found.held) == ("failed", "failed", False)
    assert found.reason == job_reason("gpu_fault", message="[gfxhub] page fault", at_step=61, step=60)
    assert found.requeue == job_reason("requeued_after_gpu_fault", variable="PYTORCH_NO_HIP_MEMORY_CACHING", step=60)


@pytest.mark.parametrize(
    ("former", "step", "checkpoint", "held"),
    [
        ([61], 61, 60, True),
        ([60], None, 60, True),  # the first step after the checkpoint, which was never told
        ([None], None, None, True),  # a job without steps
        ([61], 140, 120, False),
        ([61, 140], 200, 180, True),  # the third, wherever it is
        ([], 1, None, False),
    ],
)
def test_a_second_fault_at_the_same_step_holds_the_job(
    books: Books, former: list[int | None], step: int | None, checkpoint: int | None, held: bool
) -> None:
    found = books.resolve(fault(*former), progress=at(step, checkpoint))
    assert found.held == held and found.requeue is not None
    assert found.requeue.code == ("held_after_gpu_fault" if held else "requeued_after_gpu_fault")


def test_a_job_that_is_held_for_it_keeps_its_reason_while_it_waits(books: Books) -> None:
    reason = job_reason("held_after_gpu_fault", count=2, at_step=61, step=60)
    job = replace(books.job, held=True, reason=reason)
    blocker = find_blocker(job, {}, Resources(None, None, 10**12, 10**12), 0)
    assert blocker is not None and blocker.reason == reason and blocker.needs_user


@pytest.mark.parametrize("vendor", ["amd", "nvidia"])
def test_the_remedy_is_the_vendor_s_and_the_person_s_settings_come_first(vendor: str) -> None:
    gpu = Gpu("0000:2b:00.0", vendor, "Stand-in", False, 0)
    assert remedies_of(gpu, GpuSettings()) == (REMEDY if vendor == "amd" else {})
    decided = GpuSettings(environment={"PYTORCH_NO_HIP_MEMORY_CACHING": None})
    assert remedies_of(gpu, decided) == {} == remedies_of(None, GpuSettings())


def test_what_a_person_asked_for_meanwhile_counts(books: Books) -> None:
    stopping: dict[str, Any] = {"state": "stopping", "progress": at(61, 60)}
    cancelled = books.resolve(fault(), stop_reason="cancel", **stopping)
    assert (cancelled.state, cancelled.requeue) == ("cancelled", None)
    held = books.resolve(fault(), stop_reason="hold", **stopping)
    assert (held.state, held.held, held.requeue) == ("failed", True, job_reason("held", step=60))
    for reason in ("watchdog", "disk", "preempted"):
        found = books.resolve(fault(), Observation("ended", exit_code=75), stop_reason=reason, **stopping)
        assert (found.reason.code, found.held) == ("gpu_fault", False)


def test_a_machine_that_went_down_with_it_requeues_as_the_job_says(books: Books) -> None:
    seen = Observation("restarted")
    assert books.resolve(fault(), seen, progress=at(61, 60)).requeue is not None
    assert books.resolve(fault(), seen, progress=at(61, 60), on_restart="hold").requeue is None


def test_a_result_that_is_there_is_a_success_all_the_same(tmp_path: Path) -> None:
    books = Books(tmp_path)
    write_json(books.home.run_dir(books.job.id).result, {"message": "trained", "artefacts": []})
    assert books.resolve(fault()).state == "done"


def test_a_stress_test_that_found_a_fault_is_over_and_is_repeated_with_the_remedy_when_a_person_says_so(
    books: Books,
) -> None:
    found = books.resolve(fault(), kind="stress", progress=at(61))
    assert (found.state, found.reason.code, found.requeue) == ("failed", "gpu_fault", None)
    assert not KINDS["stress"].retries_itself and all(
        KINDS[name].retries_itself for name in ("train", "bakeoff", "merge")
    )


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=4),
    st.one_of(st.none(), st.integers(0, 5)),
    st.one_of(st.none(), st.integers(1, 5)),
    st.sampled_from([None, "hold", "disk", "preempted", "watchdog", "cancel"]),
    st.sampled_from([CRASHED, Observation("ended", exit_code=75), Observation("gone"), Observation("restarted")]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_job_never_faults_for_ever_and_nobody_loses_it(
    books: Books,
    former: list[int | None],
    step: int | None,
    checkpoint: int | None,
    stop: str | None,
    seen: Observation,
) -> None:
    state = "running" if stop is None else "stopping"
    found = books.resolve(fault(*former), seen, state=state, stop_reason=stop, progress=at(step, checkpoint))
    if stop == "cancel":
        assert found.state == "cancelled" and found.requeue is None
        return
    assert found.state == found.outcome == "failed" and found.requeue is not None
    if len(former) >= 2 or stop == "hold":
        assert found.held
    if not former and stop != "hold":
        assert not found.held


def test_the_steps_of_former_faults_stand_in_the_history(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    job: JobRow = job_in(connection, "running")
    with contextlib.closing(connection):
        assert former_faults(connection, job.id) == []
        with transaction(connection):
            change_state(connection, job.id, "failed", job_reason("gpu_fault", message="x", at_step=61), "runner")
            change_state(connection, job.id, "waiting", job_reason("requeued_after_gpu_fault"), "runner")
        assert former_faults(connection, job.id) == [61]
