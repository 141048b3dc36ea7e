"""A job sees the leased GPU and no other. Runner, shim and job are real; the kernel's files are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.gpu_lease.lock import acquire, lease_path
from tests.support.machines import FakeMachine
from tests.support.queueing import Queue, kill

VARIABLES = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
HIDDEN = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}
IGPU, FIRST, SECOND = "0000:0a:00.0", "0000:2b:00.0", "0000:2f:00.0"


@pytest.fixture
def gpus(machine: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    made = FakeMachine(machine / "kernel")
    made.use(monkeypatch)
    return made


def seen_by_a_job(queue: Queue, held: str | None) -> dict[str, str]:
    """The variables of a running job, once it is certain that it holds this GPU's lock."""
    job = queue.submit("steps=2 waits=2")
    queue.wait_for_step(job, 1)
    pid = queue.process(job)
    pairs = (item.partition("=") for item in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    environ = {name: value for name, _, value in pairs if name in VARIABLES}
    assert acquire(lease_path(queue.home, held)) is None
    kill(pid)
    return environ


def test_with_two_amd_gpus_and_an_integrated_one_a_job_sees_the_leased_one(gpus: FakeMachine, queue: Queue) -> None:
    gpus.amd(IGPU, integrated=True).amd(SECOND).amd(FIRST)
    assert seen_by_a_job(queue, FIRST) == {"HIP_VISIBLE_DEVICES": "2"}


def test_with_an_rtx_beside_a_ryzen_s_own_gpu_a_job_sees_the_rtx(gpus: FakeMachine, queue: Queue) -> None:
    gpus.amd(IGPU, integrated=True).nvidia(FIRST)
    assert seen_by_a_job(queue, FIRST) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0",
        "HIP_VISIBLE_DEVICES": "-1",
    }


def test_what_a_person_has_set_is_passed_on_and_leased(
    gpus: FakeMachine, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.amd(FIRST).amd(SECOND)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    assert seen_by_a_job(queue, SECOND) == {"HIP_VISIBLE_DEVICES": "1"}


def test_without_a_gpu_for_jobs_a_job_sees_none(gpus: FakeMachine, queue: Queue) -> None:
    """A torch that finds a GPU all the same would take it without lease, unloading and watch."""
    gpus.amd(IGPU, integrated=True)
    assert seen_by_a_job(queue, None) == HIDDEN


@pytest.mark.parametrize("name", ["HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"])
def test_a_gpu_that_an_empty_variable_hides_is_hidden_from_jobs(
    gpus: FakeMachine, queue: Queue, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """HIP takes an empty variable for none."""
    gpus.amd(FIRST)
    monkeypatch.setenv(name, "")
    assert {**seen_by_a_job(queue, None), **HIDDEN} == {**HIDDEN, **({name: ""} if "ROCR" in name else {})}


def test_a_gpu_whose_device_files_are_not_in_the_container_is_not_leased_and_not_seen(
    gpus: FakeMachine, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.amd(FIRST).devices("dri/renderD128")
    gpus.use(monkeypatch)
    assert seen_by_a_job(queue, None) == HIDDEN


def test_a_link_in_the_lock_s_place_makes_jobs_wait_with_the_reason(gpus: FakeMachine, queue: Queue) -> None:
    gpus.amd(FIRST)
    path = lease_path(queue.home, FIRST)
    path.symlink_to(queue.home.root / "bakehouse.db")
    job = queue.submit("steps=2")
    assert queue.wait_for_lease(job, "lock_not_regular").values["path"] == str(path)
    path.unlink()
    queue.wait_for(job, "done")
