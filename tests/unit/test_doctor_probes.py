"""What the doctor makes of torch and of the figures of its probes, and the method that it recommends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from core import __version__
from core.doctor import recommend, software
from core.doctor.findings import findings
from core.doctor.machine import Machine
from core.doctor.probing import run_probes
from core.doctor.results import Diagnostic
from core.gpu.reading import ProcessReading
from core.gpu_lease.lock import lease_path, take
from tests.support.doctorbench import PCI, Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench.of_its_own(tmp_path, monkeypatch)


def test_a_build_for_the_cpu_beside_a_gpu_is_a_fault(bench: Bench) -> None:
    assert software.torch_line(bench.box(), "2.13.0+cpu").state == "ok"
    bench.machine.amd(PCI, gfx=120001)
    assert software.torch_line(bench.box(), "2.13.0+cpu").state == "fault"
    assert software.torch_line(bench.box(), "2.13.0+rocm7.2").state == "ok"


def test_another_version_of_bakehouse_under_the_interpreter_of_the_jobs_is_a_warning() -> None:
    assert software.interpreter("/env/bin/python", __version__).state == "ok"
    found = software.interpreter("/env/bin/python", "0.0.9")
    assert (found.state, "0.0.9" in found.message) == ("warning", True)


DEVICE = {
    "torch": "2.13.0+rocm7.2",
    "built_for": "rocm 7.2.1",
    "unavailable": None,
    "device": "cuda",
    "devices": 1,
    "name": "AMD Radeon RX 9070 XT",
    "architecture": "gfx1201",
    "compiled_for": ["gfx1100", "gfx1201"],
    "has_kernels": True,
    "total_bytes": 17_095_983_104,
    "free_bytes": 16_500_000_000,
    "bf16": True,
    "blas": "Hipblaslt",
}
GOOD = {"works": True, "forward_error": 0.002, "backward_error": 0.004}
ATTENTION = {
    "device": "cuda",
    "taken": "flash",
    "peak_bytes": 60_000_000,
    "backends": {"flash": {**GOOD, "peak_bytes": 55_000_000}, "math": {**GOOD, "peak_bytes": 900_000_000}},
    "aotriton": True,
    "said": [],
}
MATH = {
    **ATTENTION,
    "taken": "math",
    "peak_bytes": 900_000_000,
    "backends": {
        "flash": {
            "works": False,
            "why": "Flash attention on Current AMD GPU is still experimental.",
            "peak_bytes": None,
        },
        "math": {**GOOD, "peak_bytes": 900_000_000},
    },
}
BF16 = {"device": "cuda", "forward_error": 0.004, "backward_error": 0.005, "tflops": 90.0, "fp32_tflops": 20.0}
HQQ = {
    "device": "cuda",
    "weight_error": 0.087,
    "forward_error": 0.002,
    "backward_error": 0.002,
    "autocast_error": 0.002,
}


def judged(box: Machine, name: str, figures: dict[str, Any] | None = None, **probe: Any) -> Diagnostic:
    made = {"name": name, "status": "ok", "seconds": 1.0, "figures": figures, **probe}
    (found,) = findings({"probes": [made]}, box)
    assert found.section == "probes"
    return found


@pytest.mark.parametrize(
    ("name", "figures", "state", "says"),
    [
        ("device", DEVICE, "ok", "gfx1201"),
        ("device", {**DEVICE, "has_kernels": False, "compiled_for": ["gfx1100"]}, "fault", "compiled for gfx1100"),
        ("device", {**DEVICE, "architecture": "gfx1100"}, "warning", "takes the GPU for gfx1100"),
        ("device", {**DEVICE, "device": "cpu", "unavailable": "No HIP GPUs are available"}, "fault", "No HIP GPUs"),
        ("bf16", BF16, "ok", "90.0 TFLOPS"),
        ("bf16", {**BF16, "backward_error": 0.3}, "fault", "wrongly"),
        ("bf16", {**BF16, "forward_error": "infinite"}, "fault", "infinite"),
        ("bf16", {**BF16, "tflops": 3.0}, "warning", "slower than fp32"),
        ("attention", ATTENTION, "ok", "flash (AOTriton) is the path taken"),
        ("attention", MATH, "warning", "still experimental"),
        ("attention", {**ATTENTION, "peak_bytes": 880_000_000}, "warning", "square of the length"),
        ("lora", {"errors": {"1": 0.002, "8": 0.003}, "largest_error": 0.003}, "ok", "rank 1 to 8"),
        ("lora", {"errors": {"1": 0.002, "8": 0.4}, "largest_error": 0.4}, "fault", "at rank 8"),
        ("hqq", HQQ, "ok", "8.7 %"),
        ("hqq", {**HQQ, "autocast_error": 0.5}, "fault", "wrongly"),
        ("hqq", {**HQQ, "weight_error": 0.3}, "warning", "quantises badly"),
        ("bitsandbytes", HQQ, "ok", "NF4"),
    ],
)
def test_what_the_figures_of_a_probe_mean(bench: Bench, name: str, figures: Any, state: str, says: str) -> None:
    bench.machine.amd(PCI, gfx=120001)
    found = judged(bench.box(), name, figures)
    assert found.state == state
    assert says in found.message
    assert bool(found.remedy) is (state != "ok")


def test_a_page_fault_of_the_lora_probe_names_the_rank_and_the_remedy(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    problem = "ended by SIGABRT: Memory access fault by GPU node-1 \x1b[31m on address 0x7f00"
    found = judged(bench.box(), "lora", status="crashed", at="rank 8", problem=problem)
    assert found.state == "fault"
    assert "rank 8" in found.message
    assert "Memory access fault by GPU node-1" in found.message
    assert "\x1b" not in found.message
    assert "PYTORCH_NO_HIP_MEMORY_CACHING" in found.remedy


def test_figures_of_another_version_are_a_fault_and_no_traceback(bench: Bench) -> None:
    assert judged(bench.box(), "bf16", {"other": 1}).state == "fault"
    assert findings({"problem": "ended with 1: No module named jobs.probe"}, bench.box())[0].state == "fault"


def test_on_a_gpu_that_a_job_has_or_that_is_full_nothing_is_tried(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    python = str(bench.tool("python", "echo it was started; exit 9"))
    held = take(lease_path(bench.home, PCI))
    assert held is not None
    held.note_holder(bench.home, 7)
    document = run_probes(bench.sampled(), python)
    held.release()
    assert "job 7" in document["left_out"]
    full = bench.sampled(ProcessReading(4242, "ollama", 15_000_000_000, pci=PCI), used_bytes=16_000_000_000)
    (found,) = findings(run_probes(full, python), bench.box())
    assert (found.state, "ollama" in found.message) == ("warning", True)


@pytest.mark.process
def test_the_probes_run_in_the_environment_of_jobs_and_hold_the_gpu(bench: Bench) -> None:
    """The interpreter is a stand-in that tells how it was started, and whether the GPU's lock is held meanwhile."""
    bench.machine.amd("0000:0a:00.0", integrated=True).amd(PCI, gfx=120001)
    path = lease_path(bench.home, PCI)
    script = bench.folder / "tell.py"
    script.write_text(
        "import fcntl, json, os, sys\n"
        "print('a library that greets')\n"
        f"lock = open({str(path)!r})\n"
        "try:\n    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    held = False\n"
        "except BlockingIOError:\n    held = True\n"
        "lease = int(sys.argv[sys.argv.index('--lease') + 1])\n"
        "same = os.path.samestat(os.fstat(lease), os.fstat(lock.fileno()))\n"
        "print(json.dumps({'probes': [], 'words': sys.argv[1:], 'held': held, 'same': same, 'environ': dict(os.environ)}))\n"
    )
    python = str(bench.tool("python", f'exec "{sys.executable}" "{script}" "$@"'))
    document = run_probes(bench.sampled(HSA_OVERRIDE_GFX_VERSION="11.0.0"), python)
    assert (document["held"], document["same"]) == (True, True)
    assert "--no-kill" in document["words"], "AMD's memory is lost to a kill"
    assert document["words"][:3] == ["-P", "-m", "jobs.probe"]
    assert document["environ"]["HIP_VISIBLE_DEVICES"] == "1"
    assert document["environ"]["MIOPEN_FIND_MODE"] == "FAST"
    assert "HSA_OVERRIDE_GFX_VERSION" not in document["environ"]
    again = take(path)
    assert again is not None, "it is free again"
    again.release()


@pytest.mark.process
def test_an_interpreter_that_prints_no_document_is_told_with_its_last_words(bench: Bench) -> None:
    python = str(bench.tool("python", "echo 'No module named jobs.probe' >&2; exit 1"))
    assert "No module named jobs.probe" in run_probes(bench.box(), python)["problem"]
    assert "cannot be started" in run_probes(bench.box(), str(bench.bin / "none"))["problem"]


# The recommendation.


def test_on_16_gb_a_4b_model_in_bf16_is_recommended_as_it_was_found(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    box = bench.sampled(used_bytes=9_000_000_000)
    found = recommend.recommend(box, [])
    assert found.method == "lora-bf16: Qwen3-4B bf16, rank 32", "what is loaded now does not change what the box can do"
    assert "HQQ" in found.why
    without = recommend.recommend(box, [Diagnostic("HQQ", "fault", "", section="probes")])
    assert without.method == found.method
    assert "4-bit weights were left out" in without.why


def test_where_bf16_fails_nothing_is_recommended_and_what_is_missing_is_named_first(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    assert recommend.recommend(bench.sampled(), [Diagnostic("bf16", "fault", "", section="probes")]).method == ""
    found = recommend.recommend(bench.sampled(), [Diagnostic("torch", "fault", "", section="torch")])
    assert found.why.endswith(". First mend: torch")


def test_without_a_gpu_it_is_a_small_model(bench: Bench) -> None:
    found = recommend.recommend(bench.sampled(), [])
    assert found.method == "demo: SmolLM2-135M, rank 16"
