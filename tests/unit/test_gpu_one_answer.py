"""Which GPU jobs run on is one answer, on machines where the parts could differ: WSL2, containers, variables, lost rights.

Asked are the finder, the readings, plan, form, doctor, lease and submission, and what a job's own process may see.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.cli.main import main
from core.config.project import shipped
from core.doctor import driver
from core.doctor.machine import Machine
from core.gpu.devices import choose_gpu, device_environment
from core.gpu_lease.lock import lease_path
from core.home import Home
from core.telemetry.newest import jobs_vendor, newest_sample
from core.telemetry.sampler import Sampler
from core.vram.budget import this_machine
from tests.support.machines import UUID, FakeMachine
from tests.support.tooloutputs import NVIDIA_CSV
from tui.model.gpu_facts import gpu, room
from tui.model.snapshot import Snapshot
from tui.queries.catalogue import read_catalogue
from tui.queries.run_forecast import PlanQuery, make_plan
from tui.screens.new_run.defaults import default_model, has_gpu

AMD, NVIDIA, WSL = "0000:2b:00.0", "0000:5e:00.0", "0000:3d:00.0"
HIDDEN = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}


@dataclass
class Played:
    """A machine in this process's environment."""

    machine: FakeMachine
    home: Home
    bin: Path

    def use(self, monkeypatch: pytest.MonkeyPatch, **environ: str) -> None:
        self.machine.use(monkeypatch)
        # Where the machine has no tools of its own, none of this one's is asked.
        rest = f":{os.environ['PATH']}" if any(self.bin.iterdir()) else ""
        monkeypatch.setenv("PATH", f"{self.bin}{rest}")
        for name, value in environ.items():
            monkeypatch.setenv(name, value)

    def tool(self, name: str, output: str, code: int = 0) -> None:
        (self.bin / f"{name}.txt").write_text(output)
        path = self.bin / name
        path.write_text(f"#!/bin/sh\ncat {self.bin / name}.txt\nexit {code}\n")
        path.chmod(0o755)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    (tmp_path / "bin").mkdir()
    return Played(FakeMachine(tmp_path / "machine"), Home(tmp_path / "home").create(), tmp_path / "bin")


def answers(home: Home, capsys: pytest.CaptureFixture[str]) -> dict[str, str | None]:
    """What each part takes for the GPU of jobs: its address, or None for the CPU."""
    sample = newest_sample(home)
    device = sample.job_gpu
    chosen = choose_gpu().gpu
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["gpu", "--json"])
    command = json.loads(capsys.readouterr().out)
    budget = this_machine(home)
    snapshot = Snapshot(time=sample.time, samples=(sample,))
    plan = make_plan(home, read_catalogue(home, shipped()), PlanQuery(sample=sample))
    box = Machine(home, os.environ, dev=Path(os.environ.get("BAKEHOUSE_DEV", "/nowhere")))
    (line, *_) = [one for one in driver.examine(box) if one.subject == "GPU"]
    lease = next(one for one in driver.examine(box) if one.subject == "lease")
    assert plan.budget is not None
    pci = None if chosen is None else chosen.pci
    assert str(lease_path(home, pci)) in lease.message
    return {
        "find_gpu": pci,
        "reading": None if device is None else device.pci,
        "gpu": command["gpu"],
        "plan": pci if budget.kind == "gpu" else None,
        "plan in the console": pci if plan.budget.kind == "gpu" else None,
        "form": pci if has_gpu(snapshot) else None,
        "pane": None if (shown := gpu(sample)) is None else shown.pci,
        "doctor": pci if line.state == "ok" else None,
        "submission": pci if jobs_vendor(home) is not None else None,
        "vendor": pci if jobs_vendor(home) == (chosen.vendor if chosen else None) else "another vendor",
    }


def agree(home: Home, capsys: pytest.CaptureFixture[str], pci: str | None) -> None:
    found = answers(home, capsys)
    assert found == dict.fromkeys(found, pci)
    seen = device_environment(choose_gpu().gpu, os.environ)
    if pci is None:
        assert seen == HIDDEN, "a job that has no lease of a GPU sees none"


# WSL2.


@pytest.mark.process
def test_in_wsl2_the_gpu_that_only_the_tool_sees_is_everybody_s(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played.machine.devices("dxg").pci_device("0000:00:08.0", "0x1414", "0x030200", "dxgkrnl")
    played.tool("nvidia-smi", NVIDIA_CSV)
    played.use(monkeypatch)
    agree(played.home, capsys, WSL)
    assert device_environment(choose_gpu().gpu, os.environ) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0",
        "HIP_VISIBLE_DEVICES": "-1",
    }


@pytest.mark.process
@pytest.mark.parametrize("said", ["", "-1", "1"])
def test_in_wsl2_a_hidden_gpu_is_nobody_s(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    played.machine.devices("dxg")
    played.tool("nvidia-smi", NVIDIA_CSV)
    played.use(monkeypatch, CUDA_VISIBLE_DEVICES=said)
    agree(played.home, capsys, None)


@pytest.mark.process
def test_of_two_gpus_in_wsl2_a_uuid_names_the_second(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played.machine.devices("dxg")
    header = "index, pci.bus_id, name, memory.total [MiB], memory.used [MiB], uuid\n"
    rows = [
        f"{number}, 00000000:{bus}:00.0, RTX, 24564 MiB, {900 + number} MiB, {UUID.format(number)}\n"
        for number, bus in enumerate(("04", "3D"))
    ]
    played.tool("nvidia-smi", header + "".join(rows))
    played.use(monkeypatch, CUDA_VISIBLE_DEVICES=UUID.format(1))
    agree(played.home, capsys, WSL)


@pytest.mark.process
def test_device_files_without_sysfs_are_asked_of_the_tool(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played.machine.devices("nvidiactl", "nvidia0", "nvidia-uvm")
    played.tool("nvidia-smi", NVIDIA_CSV)
    played.use(monkeypatch)
    agree(played.home, capsys, WSL)


# Containers: the host's sysfs shows what is not passed in.


@pytest.mark.parametrize(
    ("devices", "pci"),
    [
        ((), None),
        (("kfd",), None),
        (("dri/renderD128",), None),
        (("kfd", "dri/card0"), None),
        (("kfd", "dri/renderD129"), None),
        (("kfd", "dri/renderD128"), AMD),
    ],
)
def test_an_amd_gpu_whose_device_files_are_not_here_is_nobody_s(
    played: Played,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    devices: tuple[str, ...],
    pci: str | None,
) -> None:
    played.machine.amd(AMD, name="Radeon Stand-in", render_minor=128).devices(*devices)
    played.use(monkeypatch)
    agree(played.home, capsys, pci)
    if pci is None:
        (found,) = newest_sample(played.home).passed_over
        assert found.pci == AMD
        assert found.vram_used_bytes is not None, "its figures are shown all the same"
        with pytest.raises(SystemExit):
            main(["gpu"])
        assert "Radeon Stand-in is not used: there is no" in capsys.readouterr().out


def test_of_two_amd_gpus_the_one_that_was_passed_in(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played.machine.amd(AMD, render_minor=128).amd(NVIDIA, render_minor=129).devices("kfd", "dri/renderD129")
    played.use(monkeypatch)
    agree(played.home, capsys, NVIDIA)


def test_of_two_nvidia_gpus_the_one_that_was_passed_in_is_cuda_s_first(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played.machine.nvidia("0000:04:00.0", minor=0).nvidia(NVIDIA, minor=1).devices("nvidiactl", "nvidia1")
    played.use(monkeypatch)
    monkeypatch.setattr("core.vram.budget.served_bytes", lambda *_: 0)
    chosen = choose_gpu().gpu
    assert chosen is not None
    assert (chosen.pci, chosen.ordinal) == (NVIDIA, 0)


def test_an_nvidia_gpu_without_device_files_in_a_container_is_nobody_s(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played.machine.nvidia(NVIDIA).devices()
    played.use(monkeypatch, container="podman")
    agree(played.home, capsys, None)
    (found,) = newest_sample(played.home).passed_over
    assert found.passed_over == ("no_device_file", f"{played.machine.dev}/nvidiactl")


def test_a_device_that_a_reload_of_the_cgroup_took_away_is_nobody_s(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its file is there with the right rights, and the kernel refuses to open it."""
    played.machine.nvidia(NVIDIA, minor=0).devices("nvidiactl", "nvidia0")
    played.use(monkeypatch)
    real_open = os.open

    def refusing(path: str | Path, *rest: int, **more: int) -> int:
        if str(path).endswith("nvidiactl"):
            raise PermissionError(1, "Operation not permitted")
        return real_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    agree(played.home, capsys, None)
    (found,) = newest_sample(played.home).passed_over
    assert found.passed_over == ("access_revoked", f"{played.machine.dev}/nvidiactl")


# Variables.


@pytest.mark.parametrize(
    ("said", "pci"),
    [
        ({"HIP_VISIBLE_DEVICES": ""}, None),
        ({"HIP_VISIBLE_DEVICES": "-1"}, None),
        ({"ROCR_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"ROCR_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "1"}, None),
        ({"HIP_VISIBLE_DEVICES": "0"}, AMD),
        ({"BAKEHOUSE_GPU_SOURCE": "nvml"}, None),
        ({"BAKEHOUSE_GPU_SOURCE": "none"}, None),
    ],
)
def test_what_a_variable_says_of_an_amd_gpu_holds_for_everybody(
    played: Played,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: dict[str, str],
    pci: str | None,
) -> None:
    """HIP takes an empty HIP_VISIBLE_DEVICES for none at all and would show the GPU: a job's is -1."""
    played.machine.amd(AMD)
    played.use(monkeypatch, **said)
    agree(played.home, capsys, pci)
    if pci is None:
        lines = driver.examine(Machine(played.home, os.environ, dev=Path("/nowhere")))
        (line,) = [one for one in lines if one.subject == "GPU not used"]
        assert list(said)[-1] in line.message and list(said)[-1] in line.remedy


def test_a_gpu_of_another_vendor_is_hidden_from_a_job_whatever_torch_it_has(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.machine.amd(AMD).nvidia(NVIDIA)
    played.use(monkeypatch)
    assert device_environment(choose_gpu().gpu, os.environ) == {
        "HIP_VISIBLE_DEVICES": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert device_environment(choose_gpu().gpu, os.environ) == {}, "HIP obeys it: it names the AMD GPU"


# A GPU that is a part of the processor.


def test_no_part_counts_on_the_memory_of_a_processor_s_own_gpu(
    played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played.machine.amd("0000:0a:00.0", integrated=True)
    played.use(monkeypatch)
    found = answers(played.home, capsys)
    assert found.pop("pane") == "0000:0a:00.0", "it is shown"
    assert found == dict.fromkeys(found, None)
    sample = newest_sample(played.home)
    assert room(Snapshot(time=sample.time, samples=(sample,))) is None
    small = default_model(read_catalogue(played.home, shipped()), Snapshot(time=0.0, samples=(sample,)))
    assert small == default_model(read_catalogue(played.home, shipped()), Snapshot(time=0.0))


# A runner that was started in another environment.


@pytest.mark.parametrize(
    ("runners", "here"),
    [({}, {"HIP_VISIBLE_DEVICES": ""}), ({"HIP_VISIBLE_DEVICES": ""}, {}), ({"HIP_VISIBLE_DEVICES": "1"}, {})],
)
def test_while_a_runner_lives_its_choice_is_everybody_s_and_the_doctor_says_so(
    played: Played,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runners: dict[str, str],
    here: dict[str, str],
) -> None:
    played.machine.amd(AMD).amd(NVIDIA)
    played.use(monkeypatch, **runners)
    expected = choose_gpu().gpu
    sampler = Sampler(played.home)
    sampler.sample()
    sampler.close()
    for name in runners:
        monkeypatch.delenv(name)
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("core.telemetry.newest.runner_lives", lambda home: True)
    monkeypatch.setattr("core.cli.readings.runner_lives", lambda home: True)
    pci = None if expected is None else expected.pci
    device = newest_sample(played.home).job_gpu
    assert (None if device is None else device.pci) == pci
    assert jobs_vendor(played.home) == (None if pci is None else "amd")
    assert this_machine(played.home).kind == ("cpu" if pci is None else "gpu")
    with pytest.raises(SystemExit):
        main(["gpu", "--json"])
    assert json.loads(capsys.readouterr().out)["gpu"] == pci
    box = Machine(played.home, os.environ, dev=Path("/nowhere"))
    (said,) = [one for one in driver.examine(box) if one.subject == "runner's GPU"]
    assert (pci or "the CPU") in said.message
