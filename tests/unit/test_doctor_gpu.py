"""What the doctor says of GPU, driver, rights and environment, on machines of every kind."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.doctor import driver, variables
from core.doctor.machine import Machine
from core.doctor.results import Diagnostic
from core.gpu_lease.gpu_fault import GpuFault, write_fault
from core.gpu_lease.lock import lease_path, take
from core.gpu_lease.state import LeaseState, write_lease_state
from core.home import Home
from core.process.identity import current_boot_id
from core.reasons import Reason
from core.wording.gpu import gpu_words
from tests.support.doctorbench import PCI, Bench, one
from tests.support.machines import write

NOBODY = 65534


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench.of_its_own(tmp_path, monkeypatch)


# GPU, driver, rights.


@pytest.mark.process
def test_an_rdna_4_box_in_order(bench: Bench) -> None:
    bench.machine.amd(PCI, name="Radeon RX 9070 XT", gfx=120001)
    write(bench.machine.sysfs, {"module/amdgpu/version": "6.16.6"})
    write(bench.machine.procfs, {"sys/kernel/osrelease": "6.17.2-test"})
    write(bench.opt, {"rocm/.info/version": "7.1.0-20"})
    write(bench.dev, {"kfd": "", "dri/renderD128": ""})
    bench.tool("dmesg", "echo '[  12.3] amdgpu 0000:2b:00.0: amdgpu: SMU is initialized successfully!'")
    lines = driver.examine(bench.box())
    assert {line.subject: line.state for line in lines} == dict.fromkeys(
        ("GPU", "driver", "KFD", "render", "ROCm", "kernel log", "telemetry", "lease"), "ok"
    )
    assert one(lines, "GPU").message == f"Radeon RX 9070 XT, gfx1201, 25.8 GB, at {PCI}"
    assert one(lines, "driver").message == "amdgpu 6.16.6, Linux 6.17.2-test"
    assert one(lines, "ROCm").message.startswith("7.1.0-20 under ")


def test_memory_that_belongs_to_nobody_is_told_as_the_runner_saw_it(bench: Bench) -> None:
    bench.machine.amd(PCI)
    box = bench.box()
    box.home.create()
    remedy = Reason("find_hidden_holder")
    write_lease_state(box.home, LeaseState(time=0.0, pci=PCI, unowned_bytes=10_300_000_000, remedy=remedy))
    found = one(driver.examine(box), "stale memory")
    assert (found.state, found.remedy) == ("warning", gpu_words(remedy))
    assert found.message.startswith("10.3 GB belong to no process, as the runner saw at ")


def test_without_kfd_or_render_nodes_rocm_cannot_compute(bench: Bench) -> None:
    bench.machine.amd(PCI)
    lines = driver.examine(bench.box())
    assert one(lines, "KFD").state == one(lines, "render").state == "fault"
    assert one(lines, "KFD").remedy
    assert one(lines, "ROCm").state == "absent", "a wheel of torch brings its own"


def test_a_processor_s_own_gpu_alone_is_no_reason_to_miss_rocm(bench: Bench) -> None:
    bench.machine.amd("0000:0a:00.0", integrated=True, kfd=False)
    write(bench.machine.sysfs, {"module/amdgpu/refcnt": "12"})
    lines = driver.examine(bench.box())
    assert {line.state for line in lines} == {"ok", "absent"}
    assert one(lines, "GPU").remedy == ""


def test_a_variable_that_may_hide_the_gpu_is_named(bench: Bench) -> None:
    bench.machine.nvidia(PCI)
    found = one(driver.examine(bench.box(CUDA_VISIBLE_DEVICES="")), "GPU")
    assert found.state == "absent"
    assert "CUDA_VISIBLE_DEVICES" in found.remedy


def test_a_gpu_that_kfd_does_not_offer_is_a_fault(bench: Bench) -> None:
    bench.machine.amd(PCI, kfd=False)
    write(bench.dev, {"kfd": "", "dri/renderD128": ""})
    assert "does not offer" in one(driver.examine(bench.box()), "KFD").message


def as_another_user(ask: Callable[[], Diagnostic]) -> Diagnostic:
    """What a process gets that is not root, for whom every file is open."""
    if os.getuid():
        return ask()
    importlib.import_module("getpass")  # nobody may not read the interpreter's own files
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, json.dumps(ask().to_json()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return Diagnostic.from_json(json.loads(said))


@pytest.mark.process
def test_a_device_that_is_not_ours_to_open_names_the_group_to_join() -> None:
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        folder.chmod(0o755)
        write(folder, {"kfd": "", "dri/renderD128": "", "dri/renderD129": ""})
        for device, mode in (("kfd", 0o000), ("dri/renderD128", 0o666), ("dri/renderD129", 0o000)):
            (folder / device).chmod(mode)
        box = Machine(Home(folder), {}, dev=folder)
        found, render = as_another_user(lambda: driver.kfd(box)), as_another_user(lambda: driver.render_nodes(box))
    assert found.state == "fault"
    assert "is not yours to open (----------, group " in found.message
    assert "usermod -aG" in found.remedy
    assert (render.state, render.message) == ("warning", "renderD128 is yours to open, renderD129 not")


@pytest.mark.process
def test_a_kernel_log_without_trouble_speaks_for_what_it_still_holds(bench: Bench) -> None:
    bench.machine.amd(PCI)
    bench.tool("dmesg", "echo '[999999.0] amdgpu: a message of yesterday, all before are overwritten'")
    found = driver.kernel_log(bench.box())
    assert (found.state, "no known message of GPU trouble in what it still holds" in found.message) == ("ok", True)


@pytest.mark.process
def test_trouble_in_the_kernel_s_log_is_told_and_a_closed_log_is_no_fault(bench: Bench) -> None:
    bench.machine.amd(PCI)
    bench.tool("dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1")
    assert driver.kernel_log(bench.box()).state == "absent"
    bench.tool(
        "dmesg",
        f"echo '[ 99.0] amdgpu {PCI}: [drm] ring gfx_0.0.0 timeout, signaled seq=1, emitted seq=3'\n"
        f"echo '[ 99.5] amdgpu {PCI}: amdgpu: GPU reset begin!'",
    )
    found = driver.kernel_log(bench.box())
    assert found.state == "warning"
    assert "2 messages" in found.message
    assert "GPU reset begin" in found.message


@pytest.mark.process
def test_nvidia_s_driver_its_devices_and_a_gpu_that_nouveau_has(bench: Bench) -> None:
    bench.machine.nvidia(PCI).nvidia("0000:2f:00.0", driver="nouveau", listed=False)
    version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build"
    write(bench.machine.procfs, {"driver/nvidia/version": version})
    lines = driver.examine(bench.box())
    drivers = [line for line in lines if line.subject == "driver"]
    assert [line.state for line in drivers] == ["warning", "ok"]
    assert "driven by nouveau" in drivers[0].message
    assert drivers[1].message == "NVIDIA 580.95.05, open kernel modules"
    assert one(lines, "CUDA").state == "fault"
    write(bench.dev, {"nvidiactl": "", "nvidia-uvm": ""})
    bench.tool(
        "nvcc", "echo 'nvcc: NVIDIA (R) Cuda compiler driver'; echo 'Cuda compilation tools, release 12.8, V12.8.61'"
    )
    lines = driver.examine(bench.box())
    assert one(lines, "CUDA").state == "ok"
    assert "release 12.8" in one(lines, "toolkit").message


def test_a_lock_that_cannot_be_trusted_is_a_fault_and_a_held_one_is_not(bench: Bench) -> None:
    bench.machine.amd(PCI)
    path = lease_path(bench.home, PCI)
    path.symlink_to(bench.folder / "elsewhere")
    assert driver.lease_folder(bench.box()).state == "fault"
    path.unlink()
    held = take(path)
    assert held is not None
    held.note_holder(bench.home, 42)
    assert "job 42" in driver.lease_folder(bench.box()).message
    held.release()
    assert driver.lease_folder(bench.box()).message == f"{path} can be locked"


def test_a_gpu_that_no_source_reads_is_a_warning_with_the_source_s_own_words(bench: Bench) -> None:
    bench.machine.nvidia(PCI)
    found = driver.telemetry(bench.box())
    assert found.state == "warning"
    assert found.message


# Environment.


def test_what_of_the_person_s_environment_stands_against_the_profile_is_a_warning(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120000)
    lines = variables.examine(
        bench.box(
            HSA_OVERRIDE_GFX_VERSION="11.0.0", MIOPEN_FIND_MODE="3", PYTORCH_HIP_ALLOC_CONF="expandable_segments:True"
        )
    )
    states = {line.subject: line.state for line in lines}
    assert states == {
        "profile": "ok",
        "HSA_OVERRIDE_GFX_VERSION": "warning",
        "PYTORCH_HIP_ALLOC_CONF": "warning",
        "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL": "ok",
        "MIOPEN_FIND_MODE": "warning",
    }
    assert all(line.remedy for line in lines if line.state == "warning")
    assert {line.state for line in variables.examine(bench.box())} == {"ok"}


def test_a_gpu_that_is_blocked_after_a_page_fault_is_a_fault_until_a_restart(bench: Bench) -> None:
    bench.machine.amd(PCI)
    assert driver.page_fault(bench.box()) == []
    write_fault(bench.home, GpuFault("[gfxhub] page fault", 0.0, current_boot_id(), 7))
    found = one(driver.examine(bench.box()), "page fault")
    assert (found.state, "of job 7" in found.message, "release-gpu" in found.remedy) == ("fault", True, True)
    write_fault(bench.home, GpuFault("[gfxhub] page fault", 0.0, "former-boot", 7))
    assert driver.page_fault(bench.box()) == []
