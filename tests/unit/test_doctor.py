"""The doctor's lines on machines of every kind: files made up, tools and servers real processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import __version__
from core.cli.doctor import WIDTH, shown
from core.cli.main import main
from core.config.settings import CardSettings, OllamaSettings, Settings
from core.doctor import driver, machine, recommend, serving, software, variables
from core.doctor.box import Box, version_numbers
from core.doctor.examination import Examination
from core.doctor.findings import findings
from core.doctor.probing import run_probes
from core.doctor.report import SECTIONS, Line, Recommended, Report, examine, last_report, report_file
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.home import Home
from core.queue.lease import lease_path, take
from tests.support.machines import FakeMachine, write
from tests.support.ollama_standin import OllamaStandin

PCI = "0000:2b:00.0"
CARD_BYTES = 17_163_091_968
NOBODY = 65534


class Bench:
    """A made-up machine, and boxes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = FakeMachine(folder / "machine")
        self.home = Home(folder / "home").create()
        self.bin, self.dev, self.opt = folder / "bin", folder / "dev", folder / "opt"
        for place in (self.bin, self.dev, self.opt):
            place.mkdir()
        self.settings = Settings()

    def box(self, **environ: str) -> Box:
        known = {**self.machine.environ, "PATH": str(self.bin), **environ}
        return Box(self.home, known, self.settings, dev=self.dev, opt=self.opt)

    def sampled(self, *processes: ProcessReading, used_bytes: int = 300_000_000, **environ: str) -> Box:
        """A box whose card says so much."""
        box = self.box(**environ)
        device = DeviceReading(0, "AMD card", "amd", PCI, vram_total_bytes=CARD_BYTES, vram_used_bytes=used_bytes)
        host = HostReading(memory_total_bytes=32_000_000_000, memory_available_bytes=24_000_000_000, cpu_count=8)
        box.__dict__["sample"] = Sample(time.time(), "sysfs", host, (device,), processes)
        return box

    def tool(self, name: str, script: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    return Bench(tmp_path)


def one(lines: list[Line], subject: str) -> Line:
    found = [line for line in lines if line.subject == subject]
    assert len(found) == 1, f"{subject}: {lines}"
    return found[0]


# Card, driver, rights.


def test_an_rdna_4_box_in_order(bench: Bench) -> None:
    bench.machine.amd(PCI, name="Radeon RX 9070 XT", gfx=120001)
    write(bench.machine.sysfs, {"module/amdgpu/version": "6.16.6"})
    write(bench.machine.procfs, {"sys/kernel/osrelease": "6.17.2-test"})
    write(bench.opt, {"rocm/.info/version": "7.1.0-20"})
    write(bench.dev, {"kfd": "", "dri/renderD128": ""})
    bench.tool("dmesg", "echo '[  12.3] amdgpu 0000:2b:00.0: amdgpu: SMU is initialized successfully!'")
    lines = driver.examine(bench.box())
    assert {line.subject: line.state for line in lines} == dict.fromkeys(
        ("card", "driver", "KFD", "render", "ROCm", "kernel log", "telemetry", "lease"), "ok"
    )
    assert one(lines, "card").message == f"Radeon RX 9070 XT, gfx1201, 25.8 GB, at {PCI}"
    assert one(lines, "driver").message == "amdgpu 6.16.6, Linux 6.17.2-test"
    assert one(lines, "ROCm").message.startswith("7.1.0-20 under ")


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
    assert one(lines, "card").remedy == ""


def test_a_variable_that_may_hide_the_card_is_named(bench: Bench) -> None:
    bench.machine.nvidia(PCI)
    found = one(driver.examine(bench.box(CUDA_VISIBLE_DEVICES="")), "card")
    assert found.state == "absent"
    assert "CUDA_VISIBLE_DEVICES" in found.remedy


def test_a_card_that_kfd_does_not_offer_is_a_fault(bench: Bench) -> None:
    bench.machine.amd(PCI, kfd=False)
    write(bench.dev, {"kfd": "", "dri/renderD128": ""})
    assert "does not offer" in one(driver.examine(bench.box()), "KFD").message


def as_another_user(ask: Callable[[], Line]) -> Line:
    """What a process gets that is not root, for whom every file is open."""
    if os.getuid():
        return ask()
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
    return Line.from_json(json.loads(said))


def test_a_device_that_is_not_ours_to_open_names_the_group_to_join() -> None:
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        folder.chmod(0o755)
        write(folder, {"kfd": "", "dri/renderD128": "", "dri/renderD129": ""})
        for device, mode in (("kfd", 0o000), ("dri/renderD128", 0o666), ("dri/renderD129", 0o000)):
            (folder / device).chmod(mode)
        box = Box(Home(folder), {}, dev=folder)
        found, render = as_another_user(lambda: driver.kfd(box)), as_another_user(lambda: driver.render_nodes(box))
    assert found.state == "fault"
    assert "is not yours to open (----------, group " in found.message
    assert "usermod -aG" in found.remedy
    assert (render.state, render.message) == ("warning", "renderD128 can be opened, renderD129 not")


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


def test_nvidia_s_driver_its_devices_and_a_card_that_nouveau_has(bench: Bench) -> None:
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
    assert "held by job 42" in driver.lease_folder(bench.box()).message
    held.release()
    assert driver.lease_folder(bench.box()).message == f"{path} can be locked"


def test_a_card_that_no_source_reads_is_a_warning_with_the_source_s_own_words(bench: Bench) -> None:
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


# Serving.


@pytest.mark.parametrize("version", ["0.24.0", "0.33.0-rc2"])
def test_ollama_s_version_and_what_it_holds(bench: Bench, version: Any) -> None:
    with OllamaStandin(version) as server:
        server.add_model("judge:v1", size_bytes=2_000_000_000)
        bench.settings = Settings(ollama=OllamaSettings(url=server.url))
        lines = serving.ollama(bench.box())
        assert one(lines, "Ollama") == Line("Ollama", "ok", f"version {version} at {server.url}", section="serving")
        from core.serving.ollama import Ollama

        with Ollama(server.url) as client:
            client.load("judge:v1")
        loaded = one(serving.ollama(bench.box()), "loaded")
        assert loaded.message.startswith("judge:v1: ")
        assert "unloaded before a training" in loaded.message


def test_an_ollama_that_is_down_slow_or_none_at_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with OllamaStandin() as server:
        bench.settings = Settings(ollama=OllamaSettings(url=server.url))
        monkeypatch.setattr(serving, "ASK_SECONDS", 0.3)
        server.delay_seconds = 2.0
        slow = one(serving.ollama(bench.box()), "Ollama")
        server.delay_seconds = 0.0
    assert slow.state == "warning"
    down = one(serving.ollama(bench.box()), "Ollama")
    assert (down.state, down.remedy) == ("absent", ""), "it is not installed either"
    bench.tool("ollama", "exit 0")
    installed = one(serving.ollama(bench.box()), "Ollama")
    assert installed.state == "warning"
    assert "ollama serve" in installed.remedy
    bench.settings = Settings(ollama=OllamaSettings(url="ftp://nowhere"))
    assert one(serving.ollama(bench.box()), "Ollama").state == "fault"


@pytest.mark.parametrize(
    ("version", "lacks"), [("0.6.2", 4), ("0.9.0", 2), ("0.12.5", 1), ("0.12.6", 0), ("0.33.0-rc2", 0), ("0.0.0", 0)]
)
def test_an_old_ollama_is_told_with_what_it_lacks(version: str, lacks: int) -> None:
    found = serving.version_line(version, "http://x")
    assert found.state == ("warning" if lacks else "ok")
    assert sum(what in found.message for _, what in serving.NEEDED) == lacks


def test_parallel_answers_of_the_server_s_process_are_a_hint(bench: Bench) -> None:
    script = bench.tool("ollama", "read until_its_input_ends")
    process = subprocess.Popen(
        [str(script), "serve"], env={"PATH": os.environ["PATH"], serving.PARALLEL: "4"}, stdin=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 10
        while serving.server_variable(bench.box(), serving.PARALLEL) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        (found,) = serving.parallel(bench.box(), (0, 24, 0))
        assert found.state == "warning"
        assert "is 4" in found.message
    finally:
        process.communicate()
    assert serving.parallel(bench.box(), (0, 24, 0)) == []


def test_llama_cpp_s_tools_are_asked(bench: Bench) -> None:
    assert {line.state for line in serving.llama_cpp(bench.box())} == {"absent"}
    bench.tool("llama-server", "echo 'version: 6780 (1a2b3c4d)' >&2; echo 'built with gcc' >&2")
    bench.tool("llama-quantize", "echo 'usage: llama-quantize'; exit 1")
    lines = serving.llama_cpp(bench.box())
    assert one(lines, "llama-server").message.startswith("version: 6780 (1a2b3c4d)")
    assert one(lines, "llama-quantize").state == "ok"
    bench.tool("llama-server", "echo 'error while loading shared libraries: libllama.so' >&2; exit 127")
    broken = one(serving.llama_cpp(bench.box()), "llama-server")
    assert broken.state == "fault"
    assert "libllama.so" in broken.message


# Machine.


def test_the_disk_is_ok_tight_or_too_full() -> None:
    folder = Path("/somewhere")
    states = [machine.disk("home", folder, free, 2_000_000_000).state for free in (10**9, 10**10, 10**12)]
    assert states == ["fault", "warning", "ok"]


@pytest.mark.parametrize(
    ("linger", "kills", "state"), [("yes", "yes", "ok"), ("no", "no", "ok"), ("no", "yes", "warning")]
)
def test_whether_jobs_outlive_a_logout(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, linger: str, kills: str, state: str
) -> None:
    bench.tool("loginctl", f'case "$1" in show-user) echo {linger};; *) echo {kills};; esac')
    bench.tool("systemd-run", "exit 0")
    monkeypatch.setenv("PATH", f"{bench.bin}:{os.environ['PATH']}")
    found = machine.logout()
    assert found.state == state
    assert ("enable-linger" in found.remedy) is (state == "warning")


def test_settings_that_cannot_be_read_are_a_fault_and_the_examination_goes_on(bench: Bench) -> None:
    settings = bench.folder / "config/bakehouse/settings.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("card: {tolerance: 3}\n")
    report = examine(bench.home, quick=True)
    found = one(list(report.lines), "settings")
    assert found.state == "fault"
    assert "settings.yaml:1" in found.message
    assert {line.section for line in report.lines} == set(SECTIONS)


# Torch and the probes' figures.


@pytest.mark.parametrize(
    ("built", "states"),
    [("rocm 7.2.1", ["warning"]), ("2.13.0+rocm7.2", ["warning"]), ("rocm 7.1.1", []), ("2.12.0+rocm6.4", [])],
)
def test_the_page_faults_of_hipblaslt_are_told_from_rocm_7_2_on(bench: Bench, built: str, states: list[str]) -> None:
    bench.machine.amd(PCI, gfx=120001)
    lines = software.hipblaslt(bench.box(), built)
    assert [line.state for line in lines] == states
    assert all("PYTORCH_NO_HIP_MEMORY_CACHING" in line.remedy for line in lines)


def test_they_are_told_by_the_system_s_rocm_where_torch_does_not_say_and_not_on_other_cards(bench: Bench) -> None:
    write(bench.opt, {"rocm/.info/version": "7.2.0"})
    bench.machine.amd(PCI, gfx=120001)
    assert software.hipblaslt(bench.box(), "2.13.0")
    bench.settings = Settings(card=CardSettings(environment={"PYTORCH_NO_HIP_MEMORY_CACHING": "1"}))
    assert one(software.hipblaslt(bench.box(), "2.13.0"), "hipBLASLt").state == "ok"
    other = Bench(bench.folder / "other") if (bench.folder / "other").mkdir() is None else bench
    other.machine.amd(PCI, gfx=110000)
    assert software.hipblaslt(other.box(), "rocm 7.2.1") == []


def test_a_build_for_the_cpu_beside_a_card_is_a_fault(bench: Bench) -> None:
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


def judged(box: Box, name: str, figures: dict[str, Any] | None = None, **probe: Any) -> Line:
    made = {"name": name, "status": "ok", "seconds": 1.0, "figures": figures, **probe}
    (found,) = findings({"probes": [made]}, box)
    assert found.section == "probes"
    return found


@pytest.mark.parametrize(
    ("name", "figures", "state", "says"),
    [
        ("device", DEVICE, "ok", "gfx1201"),
        ("device", {**DEVICE, "has_kernels": False, "compiled_for": ["gfx1100"]}, "fault", "compiled for gfx1100"),
        ("device", {**DEVICE, "architecture": "gfx1100"}, "warning", "takes the card for gfx1100"),
        ("device", {**DEVICE, "device": "cpu", "unavailable": "No HIP GPUs are available"}, "fault", "No HIP GPUs"),
        ("bf16", BF16, "ok", "90.0 TFLOPS"),
        ("bf16", {**BF16, "backward_error": 0.3}, "fault", "wrongly"),
        ("bf16", {**BF16, "forward_error": "infinite"}, "fault", "infinite"),
        ("bf16", {**BF16, "tflops": 3.0}, "warning", "slower than fp32"),
        ("attention", ATTENTION, "ok", "flash (AOTriton) is the path taken"),
        ("attention", MATH, "warning", "still experimental"),
        ("attention", {**ATTENTION, "peak_bytes": 880_000_000}, "warning", "square of the length"),
        ("lora", {"errors": {"1": 0.002, "8": 0.003}, "largest_error": 0.003}, "ok", "ranks 1 to 8"),
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


def test_on_a_card_that_a_job_has_or_that_is_full_nothing_is_tried(bench: Bench) -> None:
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


def test_the_probes_run_in_the_environment_of_jobs_and_hold_the_card(bench: Bench) -> None:
    """The interpreter is a stand-in that tells how it was started, and whether the card's lock is held meanwhile."""
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
    without = recommend.recommend(box, [Line("HQQ", "fault", "", section="probes")])
    assert without.method == found.method
    assert "4-bit weights were left out" in without.why


def test_where_bf16_fails_nothing_is_recommended_and_what_is_missing_is_named_first(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    assert recommend.recommend(bench.sampled(), [Line("bf16", "fault", "", section="probes")]).method == ""
    found = recommend.recommend(bench.sampled(), [Line("torch", "fault", "", section="torch")])
    assert found.why.endswith(". First mend: torch")


def test_without_a_card_it_is_a_small_model_in_fp32(bench: Bench) -> None:
    found = recommend.recommend(bench.sampled(), [])
    assert found.method == "demo: SmolLM2-135M fp32, rank 16"


# The whole.


def test_a_quick_examination_of_this_machine_is_stored_and_read_back(bench: Bench) -> None:
    report = examine(bench.home, quick=True)
    assert last_report(bench.home) == report
    assert {line.section for line in report.lines} == set(SECTIONS)
    assert report.quick
    assert one(list(report.lines), "probes").state == "absent"
    assert report.seconds < 20
    assert report.recommended.why


@pytest.mark.parametrize("content", ["", "[]", '{"lines": 3}', '{"time": 1, "lines": [{}], "recommended": {}}', "\x00"])
def test_a_stored_report_that_is_none_is_passed_over(bench: Bench, content: str) -> None:
    report_file(bench.home).write_text(content)
    assert last_report(bench.home) is None


def test_a_section_that_fails_costs_its_own_lines_and_no_others(bench: Bench) -> None:
    def broken(box: Box) -> list[Line]:
        raise OSError(5, "Input/output error")

    class Unlucky(Examination):
        def sections(self) -> list[Any]:
            return [("card", broken) if name == "card" else (name, section) for name, section in super().sections()]

    report = Unlucky(bench.box(), quick=True).report()
    assert one([line for line in report.lines if line.section == "card"], "card").state == "fault"
    assert {line.section for line in report.lines} == set(SECTIONS)


def test_the_report_brings_nothing_heavy() -> None:
    asked = "import sys, core.doctor.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "yaml", "httpx", "psutil", "sqlite_utils", "torch", "textual"} & set(loaded)


@contextlib.contextmanager
def machine_of_the_command(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    bench.machine.use(monkeypatch)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(bench.home.root))
    yield


def test_the_command_says_by_its_exit_code_whether_something_is_at_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with machine_of_the_command(bench, monkeypatch):
        with pytest.raises(SystemExit) as left:
            main(["doctor", "--quick"])
        assert left.value.code == 0
        assert "recommended" in capsys.readouterr().out
        bench.machine.amd(PCI, kfd=False)
        with pytest.raises(SystemExit) as left:
            main(["doctor", "--quick", "--json"])
        assert left.value.code == 1
        document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["doctor"]["worst"] == "fault"
    assert Report.from_json(document["doctor"]) == last_report(bench.home)


def test_the_table_keeps_to_its_width_whatever_is_said() -> None:
    long = "a/" * 90 + " and " + "words " * 60
    lines = (
        Line("TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL", "ok", "set to 1: " + long, section="environment"),
        Line("card", "fault", long, "do " + long, "card"),
        Line("x", "absent", "", "", "card"),
    )
    report = Report(time.time(), lines, Recommended("", long))
    text = list(shown(report))
    assert max(map(len, text)) <= WIDTH
    assert any("nothing yet" in row for row in text)
    assert text[-1] == "1 ok, 1 fault, 1 absent; in 0 s"
    assert replace(report, lines=lines[:1]).worst == "ok"


@pytest.mark.parametrize(
    ("said", "numbers"), [("7.2.1-43", (7, 2, 1)), ("v0.33.0-rc2", (0, 33, 0)), ("6.4", (6, 4)), ("none", ()), ("", ())]
)
def test_versions_are_compared_by_their_numbers(said: str, numbers: tuple[int, ...]) -> None:
    assert version_numbers(said) == numbers
