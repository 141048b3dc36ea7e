"""The environment of a job on a GPU: what its profile sets and takes out. Runner, shim and job are real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.home import RunDir
from jobs.context import JobContext
from jobs.manifest import start_manifest
from tests.support.machines import FakeMachine
from tests.support.queueing import Queue, kill

CARD = "0000:2b:00.0"
# What the machine of the test may have set must not decide it.
KNOWN = (
    "CUDA_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "MIOPEN_FIND_MODE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_HIP_ALLOC_CONF",
    "PYTORCH_NO_HIP_MEMORY_CACHING",
    "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL",
)


@pytest.fixture
def kernel(machine: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    made = FakeMachine(machine / "kernel")
    made.use(monkeypatch)
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    return made


def rdna4(kernel: FakeMachine) -> FakeMachine:
    """A GPU whose KFD node calls itself gfx1201."""
    return kernel.amd(CARD, gfx=120001)


def environment_of_a_job(queue: Queue) -> dict[str, str]:
    job = queue.submit("steps=2 waits=2")
    queue.wait_for_step(job, 1)
    pid = queue.process(job)
    pairs = (item.partition("=") for item in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    environ = {name: value for name, _, value in pairs if name}
    attempt = queue.home.run_dir(job).attempt(1)
    start = json.loads((attempt.path / "start.json").read_text())
    kill(pid)
    return {name: environ[name] for name in KNOWN if name in environ} | {"profile": start["gpu_profile"]["name"]}


def test_an_rdna_4_gpu_s_profile_sets_what_helps_and_takes_out_what_hangs(
    kernel: FakeMachine, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    rdna4(kernel)
    monkeypatch.setenv("HSA_OVERRIDE_GFX_VERSION", "11.0.0")
    monkeypatch.setenv("PYTORCH_HIP_ALLOC_CONF", "expandable_segments:True")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True,garbage_collection_threshold:0.8")
    assert environment_of_a_job(queue) == {
        "profile": "gfx1201",
        "MIOPEN_FIND_MODE": "FAST",
        "PYTORCH_ALLOC_CONF": "garbage_collection_threshold:0.8",
    }


def test_a_person_s_own_value_stays_and_the_settings_are_stronger_than_all(
    kernel: FakeMachine, queue: Queue, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rdna4(kernel)
    (machine / "config/bakehouse/settings.yaml").write_text(
        "gpu: {environment: {HSA_OVERRIDE_GFX_VERSION: null, PYTORCH_NO_HIP_MEMORY_CACHING: '1', "
        + "CUDA_VISIBLE_DEVICES: '7'}}\n"
    )
    monkeypatch.setenv("HSA_OVERRIDE_GFX_VERSION", "12.0.1")
    monkeypatch.setenv("MIOPEN_FIND_MODE", "NORMAL")
    assert environment_of_a_job(queue) == {
        "profile": "gfx1201",
        "HSA_OVERRIDE_GFX_VERSION": "12.0.1",
        "MIOPEN_FIND_MODE": "NORMAL",
        "PYTORCH_NO_HIP_MEMORY_CACHING": "1",
    }, "and CUDA_VISIBLE_DEVICES, which would move the job to a GPU that nobody leased, is not taken from the settings"


def test_the_manifest_notes_the_profile_and_what_it_did(
    kernel: FakeMachine, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    rdna4(kernel)
    monkeypatch.setenv("HSA_OVERRIDE_GFX_VERSION", "11.0.0")
    environment_of_a_job(queue)
    (folder,) = queue.home.runs.iterdir()
    run = RunDir(folder)
    context = JobContext.open(run, run.attempt(1))
    start_manifest(context)
    assert json.loads(context.attempt.manifest.read_text())["gpu_profile"] == {
        "name": "gfx1201",
        "set": {"MIOPEN_FIND_MODE": "FAST"},
        "unset": ["HSA_OVERRIDE_GFX_VERSION"],
    }


def test_an_nvidia_gpu_gets_segments_that_grow(kernel: FakeMachine, queue: Queue) -> None:
    kernel.nvidia(CARD)
    assert environment_of_a_job(queue) == {
        "profile": "cuda",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "CUDA_VISIBLE_DEVICES": "0",
    }


def test_without_a_gpu_a_job_is_shown_none_and_nothing_else_is_touched(
    kernel: FakeMachine, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTORCH_HIP_ALLOC_CONF", "expandable_segments:True")
    assert environment_of_a_job(queue) == {
        "profile": None,
        "PYTORCH_HIP_ALLOC_CONF": "expandable_segments:True",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def test_settings_that_cannot_be_read_fail_no_job(kernel: FakeMachine, queue: Queue, machine: Path) -> None:
    rdna4(kernel)
    (machine / "config/bakehouse/settings.yaml").write_text("gpu: [not, a, mapping]\n")
    assert environment_of_a_job(queue)["MIOPEN_FIND_MODE"] == "FAST"
