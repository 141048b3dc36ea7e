"""One GPU, whoever asks: submission, lease, runner, job and `bakehouse gpu`, on machines of every kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.cli.main import main
from core.errors import BakehouseError, InputError
from core.gpu.devices import Gpu, device_environment, find_gpu, gpu_vendor
from core.gpu.source import procfs_root, sysfs_root
from core.gpu.source_choice import ChosenSource
from core.gpu.sources.nvml import NvmlSource
from core.gpu.sources.sysfs import SysfsSource
from core.gpu_lease.lock import acquire, holder, lease_path, take
from core.home import Home
from core.submission.python_environment import require, torch_vendor
from core.telemetry.sampler import Sampler
from tests.support.machines import UUID, FakeMachine, write
from tests.unit.test_gpu_nvml import CARD as NVML_CARD
from tests.unit.test_gpu_nvml import StandInForNvml

IGPU, FIRST, SECOND, THIRD = "0000:0a:00.0", "0000:2b:00.0", "0000:2f:00.0", "0000:5e:00.0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    made = FakeMachine(tmp_path / "machine")
    made.use(monkeypatch)
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    return made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def found(machine: FakeMachine, **environ: str) -> Gpu | None:
    return find_gpu({**machine.environ, **environ})


def environment(machine: FakeMachine, **environ: str) -> dict[str, str]:
    """What a job's environment gets, but for the variable that hides all GPUs of the other vendor from an NVIDIA job."""
    gpu = found(machine, **environ)
    added = device_environment(gpu, {**machine.environ, **environ})
    if gpu is not None and gpu.vendor == "nvidia":
        assert added.pop("HIP_VISIBLE_DEVICES") == "-1"
    return added


HIDDEN = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}


# Which GPU.


def test_a_machine_without_gpus_has_no_gpu(machine: FakeMachine) -> None:
    machine.pci_device("0000:05:00.0", "0x1a03", "0x030000", "ast").pci_device(
        "0000:00:02.0", "0x8086", "0x030000", "i915"
    )
    assert found(machine) is None
    assert environment(machine) == HIDDEN


def test_a_ryzen_s_own_gpu_beside_an_rtx_is_not_the_gpu(machine: FakeMachine) -> None:
    machine.amd(IGPU, integrated=True).nvidia(FIRST, uuid=UUID.format(1))
    assert found(machine) == Gpu(FIRST, "nvidia", "NVIDIA Stand-in", False, 0, UUID.format(1))
    assert gpu_vendor() == "nvidia"
    assert environment(machine) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": UUID.format(1)}


def test_an_apu_alone_is_no_gpu_for_anybody(machine: FakeMachine, home: Home) -> None:
    machine.amd(IGPU, integrated=True)
    assert found(machine) is None
    assert gpu_vendor() is None
    assert environment(machine) == HIDDEN
    sample = Sampler(home).read()
    assert [(device.pci, device.integrated) for device in sample.devices] == [(IGPU, True)], "it is shown all the same"


def test_an_integrated_gpu_that_rocm_counts_first_moves_the_discrete_one_to_its_place(machine: FakeMachine) -> None:
    machine.amd(IGPU, integrated=True).amd(FIRST)
    gpu = found(machine)
    assert gpu is not None
    assert (gpu.pci, gpu.vendor, gpu.ordinal) == (FIRST, "amd", 1)
    assert environment(machine) == {"HIP_VISIBLE_DEVICES": "1"}


def test_rocm_s_order_is_that_of_the_nodes_numbers_not_of_their_names(machine: FakeMachine) -> None:
    machine.nodes = 9
    machine.amd(SECOND).amd(FIRST)
    assert machine.node(10).is_dir()
    assert environment(machine) == {"HIP_VISIBLE_DEVICES": "1"}, "the first by address stands on node 10, behind node 9"


def test_of_two_nvidia_gpus_one_is_seen_by_its_index_in_pci_order(machine: FakeMachine) -> None:
    machine.nvidia("0000:c1:00.0").nvidia(THIRD)
    assert environment(machine) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}
    assert (gpu := found(machine)) and gpu.pci == THIRD


def test_an_address_of_a_far_domain_is_ordered_as_a_number(machine: FakeMachine) -> None:
    machine.nvidia("10000:01:00.0").nvidia("9000:01:00.0")
    assert (gpu := found(machine)) and (gpu.pci, gpu.ordinal) == ("9000:01:00.0", 0)


@pytest.mark.parametrize("driver", ["nouveau", "vfio-pci", None])
def test_an_nvidia_gpu_that_its_driver_has_not_got_cannot_compute(machine: FakeMachine, driver: str | None) -> None:
    machine.nvidia(FIRST, driver=driver, listed=False)
    assert found(machine) is None
    machine.nvidia(SECOND, listed=False)
    assert (gpu := found(machine)) and (gpu.pci, gpu.ordinal) == (SECOND, 0), "CUDA does not count the other"


def test_without_the_driver_s_own_list_sysfs_names_the_gpu(machine: FakeMachine) -> None:
    machine.nvidia(FIRST, listed=False)
    assert found(machine) == Gpu(FIRST, "nvidia", "NVIDIA GPU", False, 0)


def test_in_a_container_the_gpu_is_one_of_those_passed_in(machine: FakeMachine) -> None:
    machine.nvidia(FIRST, listed=False).nvidia(SECOND)
    assert (gpu := found(machine)) and (gpu.pci, gpu.ordinal) == (SECOND, 0)


def test_a_sleeping_nvidia_gpu_is_not_asked(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.nvidia(FIRST, uuid=UUID.format(1))
    write(machine.sysfs / "bus/pci/devices" / FIRST, {"power/runtime_status": "suspended"})
    opened: list[str] = []
    real_open = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **more: (opened.append(str(path)), real_open(path, *rest, **more))[1]
    )
    assert environment(machine)["CUDA_VISIBLE_DEVICES"] == "0"
    assert not [path for path in opened if path.endswith("information")]


def test_of_two_vendors_the_one_that_can_compute_and_a_person_can_say_otherwise(machine: FakeMachine) -> None:
    machine.amd(FIRST, kfd=False).nvidia(SECOND)
    assert (gpu := found(machine)) and gpu.vendor == "nvidia", "no KFD, no ROCm"
    machine.amd(THIRD)
    assert (gpu := found(machine)) and gpu.pci == THIRD
    assert (gpu := found(machine, BAKEHOUSE_GPU_SOURCE="nvml")) and gpu.pci == SECOND
    assert (gpu := found(machine, BAKEHOUSE_GPU_SOURCE="sysfs")) and gpu.vendor == "amd"
    assert found(machine, BAKEHOUSE_GPU_SOURCE="none") is None


@pytest.mark.parametrize(
    ("said", "pci"),
    [
        ("1", SECOND),
        ("1,0", SECOND),
        ("0", FIRST),
        (UUID.format(2), SECOND),
        ("GPU-1c9e", FIRST),
        ("MIG-11112222-3333", FIRST),
        ("", None),
        ("-1", None),
        ("7,0", None),
        ("NoDevFiles", None),
    ],
)
def test_a_person_s_choice_of_nvidia_gpus_is_the_lease_s_and_is_left_alone(
    machine: FakeMachine, said: str, pci: str | None
) -> None:
    machine.nvidia(FIRST, uuid=UUID.format(1)).nvidia(SECOND, uuid=UUID.format(2))
    gpu = found(machine, CUDA_VISIBLE_DEVICES=said)
    assert (gpu and gpu.pci) == pci
    changed = environment(machine, CUDA_VISIBLE_DEVICES=said)
    expected = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if gpu else HIDDEN
    assert changed == expected, "so that the number means the leased GPU"


@pytest.mark.parametrize(
    ("said", "pci"),
    [
        ({"HIP_VISIBLE_DEVICES": "2"}, SECOND),
        ({"CUDA_VISIBLE_DEVICES": "2"}, SECOND),
        ({"ROCR_VISIBLE_DEVICES": "2"}, SECOND),
        ({"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1"}, SECOND),
        ({"HIP_VISIBLE_DEVICES": "0"}, None),
    ],
)
def test_a_person_s_choice_of_amd_gpus_counts_as_rocm_does(
    machine: FakeMachine, said: dict[str, str], pci: str | None
) -> None:
    machine.amd(IGPU, integrated=True).amd(FIRST).amd(SECOND)
    gpu = found(machine, **said)
    assert (gpu and gpu.pci) == pci
    assert environment(machine, **said) == ({} if gpu else HIDDEN)


def test_it_is_told_fast_enough_for_every_command(machine: FakeMachine) -> None:
    for number in range(120):
        machine.pci_device(f"0000:{number:02x}:1f.0", "0x8086", "0x060000", "pcieport")
    machine.nvidia("0000:f0:00.0", listed=False)
    taken = []
    for _ in range(10):
        start = time.perf_counter()
        assert find_gpu() is not None
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.01


@pytest.mark.process
def test_no_library_is_loaded_for_it(machine: FakeMachine) -> None:
    machine.nvidia(FIRST)
    asked = "import sys; from core.gpu.devices import find_gpu; print(find_gpu().pci, *sys.modules)"
    pci, *loaded = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    ).stdout.split()
    assert pci == FIRST
    assert not {"pynvml", "psutil", "torch", "pydantic"} & set(loaded)


# What is sampled.


def test_a_sample_joins_the_sources_and_begins_with_the_gpu(machine: FakeMachine, home: Home) -> None:
    """The real reader of sysfs beside NVML's, whose library a table stands in for."""
    machine.amd(IGPU, integrated=True, name="Inside").nvidia(THIRD)
    sampler = Sampler(home)
    sampler._source.close()
    sampler._source = ChosenSource([SysfsSource(sysfs_root(), procfs_root()), NvmlSource(StandInForNvml(NVML_CARD))])
    sample = sampler.read()
    sampler.close()
    assert [(device.index, device.vendor, device.pci) for device in sample.devices] == [
        (0, "nvidia", THIRD),
        (1, "amd", IGPU),
    ]
    assert (sample.source, sample.problem) == ("sysfs+nvml", None)
    assert {process.pid for process in sample.processes} == {311, 12}


def test_a_person_s_second_gpu_comes_first(machine: FakeMachine, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.amd(FIRST).amd(SECOND)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    sampler = Sampler(home)
    assert [(device.index, device.pci) for device in sampler.read().devices] == [(0, SECOND), (1, FIRST)]
    sampler.close()


# The commands and the lease.


def gpu(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(["gpu", *arguments])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_an_nvidia_gpu_that_nothing_reads_is_leased_and_named(
    machine: FakeMachine, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    machine.nvidia(FIRST)
    said = gpu(capsys)
    assert f"NVIDIA Stand-in  {FIRST}" in said
    assert "gives no figures" in said
    assert "the GPU: free" in said
    assert json.loads(gpu(capsys, "--json"))["gpu"] == FIRST
    assert lease_path(home, FIRST) == lease_path(Home(home.root / "another"), FIRST)


def test_what_a_lock_s_file_says_is_shown_without_being_believed(
    machine: FakeMachine, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.amd(FIRST)
    lease = acquire(lease_path(home, FIRST))
    assert lease is not None
    assert "the GPU: in use by an unknown" in gpu(capsys)
    lease.note_holder(home, 12)
    assert f"in use by job 12 of {home.root}" in gpu(capsys)
    for hostile in ({"job": "\x1b[2J", "home": 3}, [1], {"home": "/x\x1b[31m", "job": 4}):
        lease.path.write_text(json.dumps(hostile))
        assert "in use by" in (said := gpu(capsys))
        assert "\x1b" not in said
    lease.path.write_text("[" * 100_000)
    assert holder(lease.path) == {}
    lease.release()
    assert "the GPU: free" in gpu(capsys)


@pytest.mark.parametrize("trap", ["symlink", "dangling", "hardlink", "fifo", "folder"])
def test_what_lies_in_a_lock_s_place_is_neither_followed_nor_written(
    machine: FakeMachine, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], trap: str
) -> None:
    machine.amd(FIRST)
    path, victim = lease_path(home, FIRST), tmp_path / "victim"
    victim.write_text("mine")
    if trap == "hardlink":
        path.hardlink_to(victim)
    elif trap == "fifo":
        os.mkfifo(path)
    elif trap == "folder":
        path.mkdir()
    else:
        path.symlink_to(victim if trap == "symlink" else tmp_path / "nothing")
    with pytest.raises(BakehouseError, match="is not a regular file"):
        take(path)
    assert acquire(path) is None
    assert (holder(path) or {})["reason"] == {"code": "lock_not_regular", "values": {"path": str(path)}}
    assert f"▲ GPU lock file {path}" in gpu(capsys)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


# The torch of the jobs.


@pytest.mark.parametrize(
    ("torch", "vendor"),
    [
        ("2.9.0", None),
        ("2.9.0+gitabc", None),
        ("2.9.0a0+gitcu12fe", None),
        ("2.9.0+cpu", None),
        ("2.9.0+cu128", "nvidia"),
        ("2.9.0+cuda12.6", "nvidia"),
        ("2.9.0+rocm6.4", "amd"),
        ("2.9.0+rocm7.0.2.git1a2b", "amd"),
        ("2.9.0+xpu", "intel"),
    ],
)
def test_a_torch_says_by_its_tag_for_whom_it_was_built_or_does_not(torch: str, vendor: str | None) -> None:
    assert torch_vendor(torch) == vendor


@pytest.mark.process
@pytest.mark.parametrize("vendor", ["amd", "nvidia", None])
@pytest.mark.parametrize("torch", ["2.9.0", "2.9.0+gitabc", "2.9.0+cu128", "2.9.0+rocm6.4", "2.9.0+cpu"])
def test_only_a_torch_that_names_another_vendor_is_refused(
    home: Home, tmp_path: Path, torch: str, vendor: str | None
) -> None:
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    answer = json.dumps({"bakehouse": "1", "torch": torch})
    python.write_text(f"#!/bin/sh\necho '{answer}'\n")
    python.chmod(0o755)
    if {vendor, torch_vendor(torch)} == {"amd", "nvidia"}:
        with pytest.raises(InputError, match="not built for the"):
            require(home, str(python), ("torch",), vendor)
    else:
        require(home, str(python), ("torch",), vendor)
