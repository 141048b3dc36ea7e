"""The real probes on this machine's CPU, and probes that are killed, hang or fail: what is told of them."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.doctor import probing
from core.doctor.findings import findings
from core.doctor.machine import Machine
from core.doctor.report import Report, examine
from core.home import Home
from jobs import probe
from tests.support.queueing import alive, wait_until

pytestmark = pytest.mark.train

# What is waited for comes long before.
LIMIT_SECONDS = 600.0
CPU = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}


def figures(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in document["probes"] if one["name"] == name]
    assert found["status"] == "ok", found
    return dict(found["figures"])


@dataclass(frozen=True)
class Examined:
    """The doctor's report of this machine, and what the probes printed for it."""

    report: Report
    document: dict[str, Any]


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Examined:
    """The whole examination, its probes on the CPU."""
    folder, documents = tmp_path_factory.mktemp("doctor"), []
    ask = probing.ask

    def noted(*arguments: Any) -> dict[str, Any]:
        documents.append(ask(*arguments))
        return documents[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "ask", noted)
        for name, value in {**CPU, "BAKEHOUSE_GPU_SOURCE": "none", "XDG_CONFIG_HOME": str(folder / "config")}.items():
            patch.setenv(name, value)
        report = examine(Home(folder / "home"))
    (document,) = documents
    return Examined(report, document)


@pytest.fixture(scope="module")
def document(examined: Examined) -> dict[str, Any]:
    return examined.document


def test_one_document_names_every_probe_and_version(document: dict[str, Any]) -> None:
    assert [one["name"] for one in document["probes"]] == [*probe.PROBES]
    assert document["versions"]["torch"] == figures(document, "device")["torch"]
    assert set(document["versions"]) == set(probe.PACKAGES)


def test_nothing_but_the_document_is_printed() -> None:
    words = [sys.executable, "-P", "-m", "jobs.probe", "--only", "device"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | CPU)
    assert figures(json.loads(done.stdout), "device")["device"] == "cpu"


def test_bf16_is_as_near_to_fp32_as_its_eight_bits_allow(document: dict[str, Any]) -> None:
    found = figures(document, "bf16")
    # One rounding to 8 bits is off by 2⁻⁹ = 0.002 at most; less than a tenth of that would not have been bf16.
    assert 0.0003 < found["forward_error"] < 0.01
    assert 0.0003 < found["backward_error"] < 0.01
    assert found["tflops"] > 0
    assert found["fp32_tflops"] > 0.001


def test_attention_names_a_path_that_works_and_the_math_path_agrees(document: dict[str, Any]) -> None:
    found = figures(document, "attention")
    assert found["backends"][found["taken"]]["works"]
    for backend in found["backends"].values():
        assert backend["works"] or backend["why"]
        if backend["works"]:
            assert backend["forward_error"] < 0.01
            assert backend["backward_error"] < 0.01
    assert found["backends"]["math"]["works"]


def test_the_path_is_told_by_what_runs_not_by_what_is_offered() -> None:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from jobs.probes.attention import OperatorLog, attend, path_taken

    torch.set_num_threads(2)
    inputs = [torch.randn(1, 2, 32, 16) for _ in range(4)]
    taken = {}
    for name, backend in (("math", SDPBackend.MATH), ("flash", SDPBackend.FLASH_ATTENTION)):
        with sdpa_kernel([backend]), OperatorLog() as watch:
            attend(*inputs)
        taken[name] = path_taken(watch.names)
    assert taken == {"math": "math", "flash": "flash"}


def test_single_lora_products_are_right_at_every_rank(document: dict[str, Any]) -> None:
    found = figures(document, "lora")
    assert list(found["errors"]) == ["1", "2", "4", "8", "16", "32", "64"]
    assert 0.0003 < found["largest_error"] < 0.01


def test_our_hqq_layer_computes_with_the_weight_that_it_holds(document: dict[str, Any]) -> None:
    found = figures(document, "hqq")
    assert 0.07 < found["weight_error"] < 0.1, "4 bits in groups of 64 on normal weights"
    for key in ("forward_error", "backward_error", "autocast_error"):
        assert 0.0003 < found[key] < 0.01, key


def test_every_line_of_this_machine_s_document_is_ok_or_absent(document: dict[str, Any], tmp_path: Path) -> None:
    lines = findings(document, Machine(Home(tmp_path), {"BAKEHOUSE_GPU_SOURCE": "none"}))
    assert {line.state for line in lines} <= {"ok", "absent"}, lines
    assert [line.subject for line in lines][:5] == ["device", "bf16", "attention", "LoRA shapes", "HQQ"]


def test_the_whole_examination_with_its_probes(tmp_path: Path, examined: Examined) -> None:
    measured = [line for line in examined.report.lines if line.section == "probes"]
    told = findings(examined.document, Machine(Home(tmp_path), {"BAKEHOUSE_GPU_SOURCE": "none"}))
    assert len(measured) == len(told)
    assert all(line.state in ("ok", "absent") for line in measured), measured
    assert not examined.report.quick


# Probes that come to grief. The processes are real; what they do stands in for a driver's fault.


def standin(monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Let the probe `name` be this script."""
    real = probe.command

    def command(asked: str) -> list[str]:
        return [sys.executable, "-c", script] if asked == name else real(asked)

    monkeypatch.setattr(probe, "command", command)


def begin_when_ready(monkeypatch: pytest.MonkeyPatch, ready: Path) -> None:
    """Let the seconds of a limit count only once the stand-in is there: how long an interpreter takes is not what is tested."""

    class Patient(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            if timeout is not None:
                wait_until(lambda: ready.exists() or self.poll() is not None, LIMIT_SECONDS, "the stand-in")
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, "Popen", Patient)


def told(name: str, tmp_path: Path, result: dict[str, Any]) -> str:
    """The message of the one line that the doctor makes of a probe; it must be a fault."""
    (line,) = findings({"probes": [result]}, Machine(Home(tmp_path), {"BAKEHOUSE_GPU_SOURCE": "none"}))
    assert line.state == "fault"
    assert line.remedy
    return line.message


def test_a_probe_that_is_killed_by_a_signal_is_a_fault_with_its_place_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    standin(
        monkeypatch,
        "lora",
        "import json, os, signal, sys; print(json.dumps({'at': 'rank 4'}), flush=True)\n"
        "print('Memory access fault by GPU node-1 on address 0x7f12. Reason: Unknown.', file=sys.stderr, flush=True)\n"
        "print('Aborted', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGABRT)",
    )
    made = probe.document(["lora", "bitsandbytes"], LIMIT_SECONDS, may_kill=True)
    assert [one["status"] for one in made["probes"]] == ["crashed", "absent"]
    message = told("lora", tmp_path, made["probes"][0])
    assert message.startswith("crashed at: rank 4: ended by SIGABRT: Memory access fault by GPU node-1")


@pytest.fixture
def held(tmp_path: Path) -> dict[str, str]:
    """An environment in which every probe stands still before its first line, until it is ended."""
    (tmp_path / "sitecustomize.py").write_text("import sys, time\nif '--child' in sys.orig_argv: time.sleep(3600)\n")
    return os.environ | CPU | {"PYTHONPATH": str(tmp_path)}


def test_a_real_probe_killed_from_outside(tmp_path: Path, held: dict[str, str]) -> None:
    """As the kernel's out-of-memory killer does it."""
    words = [sys.executable, "-P", "-m", "jobs.probe", "--only", "bf16"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=held) as parent:
        os.kill(wait_until(lambda: child_of(parent.pid, "bf16"), LIMIT_SECONDS, "the probe"), signal.SIGKILL)
        assert parent.stdout is not None
        made = json.loads(parent.stdout.read())
    assert [one["status"] for one in made["probes"]] == ["crashed"]
    assert "SIGKILL" in told("bf16", tmp_path, made["probes"][0])


def child_of(parent: int, name: str) -> int | None:
    """The process of a probe below `parent`."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for pid in map(int, listed):
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2:-1] == [name.encode()]:
            return pid
    return None


def test_a_probe_that_hangs_is_ended_by_the_ladder_and_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probe, "GRACE_SECONDS", 2.0)
    seen, ready = tmp_path / "signals", tmp_path / "ready"
    begin_when_ready(monkeypatch, ready)
    standin(
        monkeypatch,
        "hqq",
        "import json, signal, sys, time\n"
        f"note = lambda number, frame: open({str(seen)!r}, 'a').write(signal.Signals(number).name + ' ')\n"
        "signal.signal(signal.SIGINT, note); signal.signal(signal.SIGTERM, note)\n"
        "print(json.dumps({'at': 'quantising'}), flush=True)\n"
        f"open({str(ready)!r}, 'w').close()\n"
        "while True: time.sleep(0.1)",
    )
    made = probe.document(["hqq"], 1.0, may_kill=True)["probes"][0]
    assert (made["status"], made["at"], "left_pid" in made) == ("hung", "quantising", False)
    assert seen.read_text() == "SIGINT SIGTERM "
    assert told("hqq", tmp_path, made).startswith("hung at: quantising: did not end within 1 s")


def test_a_hanging_probe_on_an_amd_gpu_is_left_alone_keeps_the_lease_and_nothing_more_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probe, "GRACE_SECONDS", 0.3)
    ready = tmp_path / "ready"
    begin_when_ready(monkeypatch, ready)
    standin(
        monkeypatch,
        "bf16",
        "import signal, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        f"open({str(ready)!r}, 'w').close()\n"
        "time.sleep(3600)",
    )
    lock = tmp_path / "gpu"
    lease = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lease, fcntl.LOCK_EX)
    made = probe.document(["bf16", "hqq"], 1.0, may_kill=False, lease=lease)["probes"]
    os.close(lease)
    left = made[0]["left_pid"]
    try:
        assert alive(left)
        assert (made[1]["status"], f"process {left}" in made[1]["problem"]) == ("skipped", True)
        with lock.open() as again, pytest.raises(BlockingIOError):
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(left, signal.SIGKILL)
        os.waitpid(left, 0)


def test_a_probe_that_raises_is_told_by_its_error_and_a_torch_that_does_not_come_up_ends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    standin(
        monkeypatch, "device", "import sys; sys.exit('ImportError: libamdhip64.so.7: cannot open shared object file')"
    )
    made = probe.document(["device", "bf16", "lora"], LIMIT_SECONDS, may_kill=True)["probes"]
    assert [one["status"] for one in made] == ["failed", "skipped", "skipped"]
    assert "libamdhip64.so.7" in told("device", tmp_path, made[0])


def test_what_libraries_print_does_not_come_between(tmp_path: Path) -> None:
    """A library that prints on import, and on the descriptor itself, as those in C do."""
    (tmp_path / "sitecustomize.py").write_text("import os; print('loud'); os.write(1, b'louder\\n')\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "jobs.probe", "--only", "bitsandbytes"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | CPU | {"PYTHONPATH": str(tmp_path)},
    )
    last = done.stdout.splitlines()[-1]
    assert json.loads(last)["probes"][0]["status"] == "absent"


def test_a_parent_that_is_told_to_end_takes_its_probe_along(held: dict[str, str]) -> None:
    words = [sys.executable, "-P", "-m", "jobs.probe", "--only", "bf16"]
    parent = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=held)
    child = wait_until(lambda: child_of(parent.pid, "bf16"), LIMIT_SECONDS, "the probe")
    parent.terminate()
    assert parent.wait(LIMIT_SECONDS) == 128 + signal.SIGTERM
    wait_until(lambda: not alive(child), LIMIT_SECONDS, "the end of the probe")


@pytest.mark.parametrize(
    ("capability", "compiled", "runs"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        ((8, 9), ["sm_80", "sm_86"], True),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((8, 6), ["sm_89"], False),
        ((9, 0), ["sm_90a"], True),
        ((7, 5), [], False),
    ],
)
def test_which_binaries_run_on_which_gpu(capability: tuple[int, int], compiled: list[str], runs: bool) -> None:
    from jobs.probes.device import runs_on

    assert runs_on(capability, compiled) is runs
