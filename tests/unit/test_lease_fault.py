"""A GPU that has had a page fault: nobody gets it before a person releases it, or the machine has restarted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.gpu_lease import gpu_fault
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.gpu_fault import GpuFault, read_fault, release_gpu
from core.process.identity import current_boot_id
from core.wording.gpu import gpu_phase_words, gpu_words
from tests.support.leasesim import GB, LeaseSim

pytestmark = pytest.mark.usefixtures("own_leases")


def fault(sim: LeaseSim, job_id: int | None = 1, **changes: object) -> GpuFault:
    values: dict[str, object] = {"job_id": job_id, "pid": 900, "process": "python3", **changes}
    return GpuFault("[gfxhub] page fault", sim.clock.time(), current_boot_id(), **values)  # type: ignore[arg-type]


def faulted(sim: LeaseSim, **changes: object) -> None:
    """Job 1 has the GPU, faults and ends."""
    sim.until_ready()
    sim.round()
    sim.manager.note_fault(fault(sim, **changes))  # type: ignore[arg-type]
    sim.end_job()
    sim.until(lambda: sim.state.phase != "held" and sim.state.phase != "verifying", "the look at the memory of the job")


def test_the_next_job_waits_until_a_person_has_released_the_gpu(sim: LeaseSim) -> None:
    faulted(sim)
    assert (sim.state.phase, sim.state.cause, sim.state.faulted, sim.status) == (
        "blocked",
        "gpu_faulted",
        True,
        "gpu_faulted",
    )
    assert gpu_phase_words("blocked", None, "gpu_faulted") == "blocked after a page fault"
    assert "release-gpu" in gpu_words(sim.state.status) and "of job 1 at" in gpu_words(sim.state.status)
    sim.wanted = sim.second
    sim.rounds(3600)
    assert not sim.manager.ready_for(sim.second) and sim.manager.blocked_by_fault is not None
    assert gpu_lock.held_by(sim.manager.lease_path, sim.home) is None, "nobody has it"

    assert release_gpu(sim.home) and not release_gpu(sim.home)
    sim.until(lambda: sim.manager.ready_for(sim.second), "the GPU")
    assert sim.notes[-2:] == ["gpu_page_fault", "gpu_released"]
    assert sim.manager.blocked_by_fault is None and not sim.state.faulted


def test_no_model_is_loaded_onto_it_before_and_all_come_back_afterwards(sim: LeaseSim) -> None:
    sim.load()
    faulted(sim)
    sim.rounds(1200)
    assert sim.ollama.listed() == [] and sim.manager.models.evicted.names == ("judge:latest",)
    assert sim.manager.busy, "this runner stays to bring it back"
    release_gpu(sim.home)
    sim.until(lambda: not sim.manager.busy, "its model back")
    assert sim.ollama.listed() == ["judge:latest"]


def test_the_next_runner_knows_it_and_a_restart_of_the_machine_ends_it(
    sim: LeaseSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulted(sim)
    sim.kill_runner()
    sim.next_runner()
    sim.wanted = sim.second
    sim.rounds(60)
    assert sim.state.faulted and not sim.manager.ready_for(sim.second)
    sim.kill_runner()
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "after-the-restart")
    sim.next_runner()
    sim.until(lambda: sim.manager.ready_for(sim.second), "the GPU")
    assert "gpu_fault_over" in sim.notes and not sim.home.gpu_fault.exists()
    sim.manager.note_fault(replace(fault(sim), boot_id="former"))  # told late
    assert sim.manager.blocked_by_fault is None


def test_a_fault_of_another_program_is_told_and_blocks_nothing(sim: LeaseSim) -> None:
    faulted(sim, job_id=None, process="kwin_wayland", elsewhere=True)
    assert sim.state.phase == "free" and not sim.home.gpu_fault.exists()
    assert sim.notes == ["gpu_fault_elsewhere"]
    assert "kwin_wayland (pid 900), which is no job's" in gpu_words(sim.state.notes[-1].reason)
    sim.until_ready(sim.second)


def test_one_that_nobody_is_named_for_blocks_the_gpu_only_while_a_job_has_it(sim: LeaseSim) -> None:
    sim.round()
    sim.manager.note_fault(fault(sim, None, pid=None, process=""))
    sim.rounds(10)
    assert not sim.state.faulted
    faulted(sim, job_id=None, pid=None, process="")
    assert sim.state.faulted and "a process that nobody names" in gpu_words(sim.state.status)


def test_one_that_nobody_is_named_for_is_no_job_s_while_the_job_only_asks_a_server(sim: LeaseSim) -> None:
    """No process of it is on the GPU, so nothing is blocked: a person could only wonder, and restart for nothing."""
    sim.asks("judge", loads_models=False)
    faulted(sim, job_id=None, pid=None, process="")
    assert not sim.state.faulted and not sim.home.gpu_fault.exists()
    told = gpu_words(sim.state.notes[-1].reason)
    assert sim.notes[-1] == "gpu_fault_elsewhere" and "which is no job's: job 1 only asks the model server" in told
    sim.until_ready(sim.second)


def test_one_that_may_be_the_job_s_own_says_which_job_had_the_gpu_also_after_a_restart_of_the_runner(
    sim: LeaseSim,
) -> None:
    """It asks a server and loads models itself: it may have been either."""
    sim.asks("judge", loads_models=True)
    faulted(sim, job_id=None, pid=None, process="")
    words = "a process that nobody names while job 1 had the GPU"
    assert sim.state.faulted and words in gpu_words(sim.state.status)
    sim.kill_runner()
    sim.next_runner()
    sim.rounds(5)
    assert sim.state.faulted and words in gpu_words(sim.state.status)
    assert "restart the machine" in gpu_words(sim.state.status)


def test_who_it_was_is_learnt_later(sim: LeaseSim) -> None:
    faulted(sim, job_id=None, pid=None, process="")
    sim.manager.note_fault(fault(sim))
    sim.round()
    known = read_fault(sim.home)
    assert known is not None and known.job_id == 1 and "of job 1" in gpu_words(sim.state.status)


def test_a_file_that_cannot_be_read_does_not_count_as_none(sim: LeaseSim) -> None:
    sim.home.gpu_fault.write_text("{torn")
    sim.wanted = sim.job
    sim.rounds(60)
    assert sim.state.faulted and not sim.manager.ready_for(sim.job)
    release_gpu(sim.home)
    sim.until(lambda: sim.manager.ready_for(sim.job), "the GPU")


def test_a_disk_that_takes_nothing_blocks_it_all_the_same(sim: LeaseSim) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_fault, "write_atomic", full)
        faulted(sim)
        assert sim.state.faulted and not sim.home.gpu_fault.exists()
    sim.round()
    assert read_fault(sim.home) is not None, "written as soon as there is room"


def test_a_job_that_still_runs_keeps_the_gpu(sim: LeaseSim) -> None:
    """Who has it stopped is the watchdog; the lease sees to the next one."""
    sim.until_ready()
    sim.job_bytes = 8 * GB
    sim.manager.note_fault(fault(sim))
    sim.rounds(20)
    assert sim.state.phase == "held" and not sim.state.faulted
