"""A page fault of the GPU under a real runner: the job retries with what helps, once a person has released the GPU."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.attempt.observe import job_process
from core.files import read_json, read_lines
from core.gpu_lease.gpu_fault import read_fault
from core.gpu_lease.state import LeaseState, read_lease_state
from core.runner.commands import RefusedError
from core.wording.gpu import gpu_words
from core.wording.jobs import reason_words
from tests.support.cardsim import GpuSim
from tests.support.cardsim_tree import GIB, SimGpu
from tests.support.queueing import Queue
from tests.support.waiting import wait_until
from tests.unit.test_page_faults import BEHIND, IN_PROCESS, NO_RETRY, UNNAMED, XID, written

PCI = "0000:2b:00.0"
CACHE_OFF = "with the memory cache off after a GPU page fault"


@pytest.fixture
def kmsg(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = machine / "kmsg"
    file.touch()
    monkeypatch.setenv("BAKEHOUSE_KMSG", str(file))
    return file


@pytest.fixture
def gpu(machine: Path, kmsg: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuSim]:
    """An AMD GPU that the stand-in jobs use; no model server is on the machine."""
    settings = machine / "config/bakehouse/settings.yaml"
    settings.write_text("ollama: {managed: false}\ngpu: {settle_seconds: 0.1}\nqueue: {stop_grace_seconds: 3}\n")
    with GpuSim(machine / "gpu", SimGpu(total_bytes=16 * GIB)) as made:
        made.use(monkeypatch)
        yield made


def state(queue: Queue) -> LeaseState | None:
    return read_lease_state(queue.home)


def wait_blocked(queue: Queue) -> LeaseState:
    found = wait_until(lambda: (now := state(queue)) is not None and now.faulted and now, what="the GPU blocked")
    assert isinstance(found, LeaseState)
    return found


def codes(queue: Queue, job: int) -> list[str]:
    return [change.reason.code for change in queue.history(job)]


def environment(queue: Queue, job: int, number: int) -> dict[str, str]:
    document = read_json(queue.home.run_dir(job).attempt(number).path / "start.json")
    return dict(document["environment"])


def kill_at_a_step(queue: Queue, kmsg: Path, job: int, lines: str) -> None:
    """The kernel says this, and the job's process, which waits before a step, dies of SIGABRT."""
    with kmsg.open("a") as file:
        file.write(lines)
    process = job_process(queue.attempt(job))
    assert process is not None
    os.kill(process.pid, signal.SIGABRT)


def stamp() -> str:
    return f"[{time.clock_gettime(time.CLOCK_MONOTONIC):13.6f}] "


def test_a_job_that_faulted_retries_with_the_cache_off_once_a_person_has_released_the_gpu(
    queue: Queue, gpu: GpuSim
) -> None:
    job = queue.submit("steps=12 fault=7 save=5 vram=3e9")
    other = queue.submit("steps=3 vram=3e9")
    queue.wait_for_lease(job, "gpu_faulted")
    wait_blocked(queue)
    queue.wait_for_lease(other, "gpu_faulted")
    assert codes(queue, job)[-2:] == ["gpu_fault", "requeued_after_gpu_fault"]
    failed, waits = queue.history(job)[-2:]
    assert (failed.to_state, failed.reason.values["at_step"], failed.reason.values["step"]) == ("failed", 6, 5)
    assert "Memory access fault by GPU node-1" in str(failed.reason.values["message"])
    assert reason_words(waits.reason) == f"Retries {CACHE_OFF}; will resume from step 5"
    said = reason_words(queue.job(job).reason)
    assert "restart the machine, or `bakehouse queue release-gpu`" in said
    assert "then this job retries with the memory cache off" in said
    assert queue.attempts(other) == [], "the GPU is not given to the next job"

    queue.ask("release-gpu")
    queue.wait_for(job, "done")
    queue.wait_for(other, "done")
    assert queue.seen(job) == list(range(1, 13)), "each step once"
    assert [attempt.outcome for attempt in queue.attempts(job)] == ["failed", "done"]
    assert "PYTORCH_NO_HIP_MEMORY_CACHING" not in environment(queue, job, 1)
    assert environment(queue, job, 2)["PYTORCH_NO_HIP_MEMORY_CACHING"] == "1"
    assert "PYTORCH_NO_HIP_MEMORY_CACHING" not in environment(queue, other, 1)
    running = [change.reason for change in queue.history(job) if change.to_state == "running"]
    assert [reason_words(reason) for reason in running] == ["", f"Runs {CACHE_OFF}"]
    with pytest.raises(RefusedError) as refused:
        queue.ask("release-gpu")
    assert refused.value.reason.code == "gpu_not_blocked"


def test_a_second_fault_at_the_same_step_holds_the_job_and_others_go_on(queue: Queue, gpu: GpuSim) -> None:
    job = queue.submit("steps=12 fault=8 save=5 stubborn")
    wait_blocked(queue)
    queue.ask("release-gpu")
    wait_until(lambda: queue.job(job).held, what="the job held")
    wait_blocked(queue)
    held = queue.job(job)
    assert (held.state, held.reason.code) == ("waiting", "held_after_gpu_fault")
    assert (held.reason.values["count"], held.reason.values["at_step"]) == (2, 7)
    assert "the last after step 7" in reason_words(held.reason) and "another data order" in reason_words(held.reason)
    other = queue.submit("steps=3")
    queue.ask("release-gpu")
    queue.wait_for(other, "done")
    assert len(queue.attempts(job)) == 2 and queue.job(job).reason == held.reason

    (queue.home.run_dir(job).path / "mended").touch()
    queue.ask("release", job)
    queue.wait_for(job, "done")


@pytest.mark.parametrize("form", [BEHIND, NO_RETRY, IN_PROCESS, XID])
def test_a_job_that_dies_of_a_signal_is_told_by_the_kernel_why(
    queue: Queue, gpu: GpuSim, kmsg: Path, form: str
) -> None:
    job = queue.submit("steps=4 waits=3")
    queue.wait_for_step(job, 2)
    process = job_process(queue.attempt(job))
    assert process is not None
    kill_at_a_step(queue, kmsg, job, written(form, process.pid, pci=PCI, at=stamp()))
    assert wait_blocked(queue).status is not None
    queue.wait_for_lease(job, "gpu_faulted")
    assert codes(queue, job)[-2:] == ["gpu_fault", "requeued_after_gpu_fault"]
    fault = read_fault(queue.home)
    assert fault is not None and (fault.job_id, fault.pid) == (job, process.pid)
    assert [line["code"] for line, _ in read_lines(queue.attempt(job).watch)] == ["gpu_fault"]
    queue.go_on(job)
    queue.ask("release-gpu")
    queue.wait_for(job, "done")


def test_a_job_that_lives_on_after_its_fault_is_ended(queue: Queue, gpu: GpuSim, kmsg: Path) -> None:
    job = queue.submit("steps=4 waits=3")
    queue.wait_for_step(job, 2)
    process = job_process(queue.attempt(job))
    assert process is not None
    with kmsg.open("a") as file:
        file.write(written(NO_RETRY, process.pid, pci=PCI, at=stamp()))
    queue.wait_for_lease(job, "gpu_faulted")
    assert codes(queue, job)[-3:] == ["stopping_for_watchdog", "gpu_fault", "requeued_after_gpu_fault"]
    assert queue.attempts(job)[0].exit_code == 75, "asked, not killed"


def test_a_fault_of_another_program_holds_no_job(queue: Queue, gpu: GpuSim, kmsg: Path) -> None:
    job = queue.submit("steps=4 waits=3")
    queue.wait_for_step(job, 2)
    with kmsg.open("a") as file:
        file.write(written(BEHIND, os.getpid(), "kwin_wayland", pci=PCI, at=stamp()))

    def told() -> bool:
        now = state(queue)
        return now is not None and "gpu_fault_elsewhere" in [note.reason.code for note in now.notes]

    wait_until(told, what="a note about it")
    queue.go_on(job)
    queue.wait_for(job, "done")
    other = queue.submit("steps=3")
    queue.wait_for(other, "done")
    assert "gpu_fault" not in codes(queue, job) and read_fault(queue.home) is None


def test_a_job_that_dies_beside_a_fault_of_another_keeps_its_own_reason(queue: Queue, gpu: GpuSim, kmsg: Path) -> None:
    job = queue.submit("steps=4 waits=3")
    queue.wait_for_step(job, 2)
    kill_at_a_step(queue, kmsg, job, written(NO_RETRY, os.getpid(), "blender", pci=PCI, at=stamp()))
    ended = queue.wait_for(job)
    assert (ended.state, ended.reason.code) == ("failed", "killed")
    assert read_fault(queue.home) is None


def test_a_fault_that_nobody_is_named_for_blocks_the_gpu_and_fails_no_job(
    queue: Queue, gpu: GpuSim, kmsg: Path
) -> None:
    job = queue.submit("steps=4 waits=3")
    queue.wait_for_step(job, 2)
    kill_at_a_step(queue, kmsg, job, written(UNNAMED[1], pci=PCI, at=stamp()))
    ended = queue.wait_for(job)
    assert (ended.state, ended.reason.code) == ("failed", "killed"), "what is not known is not said"
    assert "a process that nobody names" in gpu_words(wait_blocked(queue).status)
    other = queue.submit("steps=3")
    queue.wait_for_lease(other, "gpu_faulted")
    queue.ask("release-gpu")
    queue.wait_for(other, "done")


def test_a_cancelled_job_stays_cancelled_and_the_gpu_is_blocked(queue: Queue, gpu: GpuSim, kmsg: Path) -> None:
    job = queue.submit("steps=4 waits=3 deaf=all")
    queue.wait_for_step(job, 2)
    process = job_process(queue.attempt(job))
    assert process is not None
    queue.ask("cancel", job)
    kill_at_a_step(queue, kmsg, job, written(BEHIND, process.pid, pci=PCI, at=stamp()))
    assert queue.wait_for(job).state == "cancelled"
    wait_blocked(queue)


def test_after_a_restart_of_the_machine_the_job_goes_on_by_itself_with_the_cache_off(
    queue: Queue, gpu: GpuSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "first-boot")
    job = queue.submit("steps=12 fault=7 save=5")
    wait_blocked(queue)
    queue.kill_runner()
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "second-boot")
    queue.start_runner()
    queue.wait_for(job, "done")
    assert environment(queue, job, 2)["PYTORCH_NO_HIP_MEMORY_CACHING"] == "1"
    assert not queue.home.gpu_fault.exists()


def test_a_runner_that_is_killed_in_between_forgets_nothing(queue: Queue, gpu: GpuSim, kmsg: Path) -> None:
    job = queue.submit("steps=4 waits=3 deaf=all")
    queue.wait_for_step(job, 2)
    process = job_process(queue.attempt(job))
    assert process is not None
    queue.kill_runner()
    kill_at_a_step(queue, kmsg, job, written(IN_PROCESS, process.pid, pci=PCI, at=stamp()))
    queue.start_runner()
    wait_blocked(queue)
    assert codes(queue, job)[-2:] == ["gpu_fault", "requeued_after_gpu_fault"]
    queue.kill_runner()
    queue.start_runner()
    other = queue.submit("steps=3")
    queue.wait_for_lease(other, "gpu_faulted")
