"""What the doctor says of servers, tools, disk and logout: the servers and tools are real processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.config.settings import OllamaSettings, Settings
from core.doctor import host, serving
from core.doctor.report import examine
from core.doctor.results import SECTIONS, Diagnostic
from core.gpu_lease.server_activity import on_gpu
from core.serving.modelserver import ServerView
from core.serving.replies import Resident
from tests.support.doctorbench import PCI, Bench, one
from tests.support.ollama_standin import OllamaStandin
from tests.support.waiting import wait_until

# Serving.


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench.of_its_own(tmp_path, monkeypatch)


@pytest.mark.process
@pytest.mark.parametrize("version", ["0.24.0", "0.33.0-rc2"])
def test_ollama_s_version_and_what_it_holds(bench: Bench, version: Any) -> None:
    bench.machine.amd(PCI)
    with OllamaStandin(version) as server:
        server.add_model("judge:v1", size_bytes=2_000_000_000)
        bench.settings = Settings(ollama=OllamaSettings(url=server.url))
        lines = serving.ollama(bench.box())
        assert one(lines, "Ollama") == Diagnostic(
            "Ollama", "ok", f"version {version} at {server.url}", section="serving"
        )
        from core.serving.ollama import Ollama

        with Ollama(server.url) as client:
            client.load("judge:v1")
        loaded = one(serving.ollama(bench.box()), "loaded")
        assert loaded.message.startswith("judge:v1: ")
        assert "unloaded before a training" in loaded.message


@pytest.mark.parametrize(
    ("on_a_gpu", "managed", "vram", "said"),
    [
        (True, True, 2_000_000_000, "2.0 GB on the GPU, unloaded before a training and loaded again afterwards"),
        (True, True, 0, "not on the GPU, left loaded"),
        (True, False, 2_000_000_000, "2.0 GB on the GPU, left loaded"),
        (False, True, 2_000_000_000, "2.0 GB on the GPU, left loaded"),
        (False, True, 0, "not on the GPU, left loaded"),
    ],
)
def test_only_what_the_runner_moves_is_said_to_be_unloaded(
    bench: Bench, on_a_gpu: bool, managed: bool, vram: int, said: str
) -> None:
    if on_a_gpu:
        bench.machine.amd(PCI)
    bench.settings = Settings(ollama=OllamaSettings(managed=managed))
    model = Resident("judge:v1", None, 2_000_000_000, vram, 4096, None)
    (found,) = serving.loaded(bench.box(), [model], "http://127.0.0.1:11434")
    assert found.message == f"judge:v1: {said}"


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


@pytest.mark.process
def test_parallel_answers_of_the_server_s_process_are_a_hint(bench: Bench) -> None:
    script = bench.tool("ollama", "read until_its_input_ends")
    process = subprocess.Popen(
        [str(script), "serve"], env={"PATH": os.environ["PATH"], serving.PARALLEL: "4"}, stdin=subprocess.PIPE
    )
    try:
        wait_until(lambda: serving.server_variable(bench.box(), serving.PARALLEL) is not None, what="its variables")
        (found,) = serving.parallel(bench.box(), (0, 24, 0))
        assert found.state == "warning"
        assert "is 4" in found.message
    finally:
        process.communicate()
    assert serving.parallel(bench.box(), (0, 24, 0)) == []


@pytest.mark.process
def test_llama_cpp_s_tools_are_asked(bench: Bench) -> None:
    assert {line.state for line in serving.llama_cpp(bench.box())} == {"absent"}
    bench.tool("llama-server", "echo 'version: 6780 (1a2b3c4d)' >&2; echo 'built with gcc' >&2")
    bench.tool("llama-quantize", "echo 'usage: llama-quantize'; exit 1")
    lines = serving.llama_cpp(bench.box())
    assert one(lines, "llama-server").message.startswith("version: 6780 (1a2b3c4d)")
    assert one(lines, "llama-quantize").state == "ok"
    assert "PATH" in one(lines, "llama-server").message
    bench.tool("llama-server", "echo 'error while loading shared libraries: libllama.so' >&2; exit 127")
    broken = one(serving.llama_cpp(bench.box()), "llama-server")
    assert broken.state == "fault"
    assert "libllama.so" in broken.message


def test_the_doctor_says_by_which_way_llama_cpp_was_found(bench: Bench, tmp_path: Path) -> None:
    tree = tmp_path / "llama.cpp"
    tree.mkdir()
    (tree / "convert_hf_to_gguf.py").touch()
    found = one(serving.llama_cpp(bench.box(LLAMA_CPP_DIR=str(tree))), "convert_hf_to_gguf.py")
    assert found.state == "ok" and str(tree) in found.message and "LLAMA_CPP_DIR" in found.message
    bench.settings = Settings.model_validate({"llama_cpp": {"folder": str(tmp_path / "gone")}})
    (wrong,) = serving.llama_cpp(bench.box())
    assert wrong.state == "fault" and "llama_cpp.folder" in wrong.message


# Machine.


def test_the_disk_is_ok_tight_or_too_full() -> None:
    folder = Path("/somewhere")
    states = [host.disk("home", folder, free, 2_000_000_000).state for free in (10**9, 10**10, 10**12)]
    assert states == ["fault", "warning", "ok"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("linger", "kills", "state"), [("yes", "yes", "ok"), ("no", "no", "ok"), ("no", "yes", "warning")]
)
def test_whether_jobs_outlive_a_logout(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, linger: str, kills: str, state: str
) -> None:
    bench.tool("loginctl", f'case "$1" in show-user) echo {linger};; *) echo {kills};; esac')
    bench.tool("systemd-run", "exit 0")
    monkeypatch.setenv("PATH", f"{bench.bin}:{os.environ['PATH']}")
    found = host.logout()
    assert found.state == state
    assert ("enable-linger" in found.remedy) is (state == "warning")


@pytest.mark.process
def test_settings_that_cannot_be_read_are_a_fault_and_the_examination_goes_on(bench: Bench) -> None:
    settings = bench.folder / "config/bakehouse/settings.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("gpu: {tolerance: 3}\n")
    report = examine(bench.home, quick=True)
    found = one(list(report.lines), "settings")
    assert found.state == "fault"
    assert "settings.yaml:1" in found.message
    assert {line.section for line in report.lines} == set(SECTIONS)


def residents(*sizes: int | None) -> list[Resident]:
    return [Resident(f"model{number}", None, size, size, None, None) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("url", "sizes", "said"),
    [
        (
            None,
            (4_000_000_000, 0),
            ["model0: 4.0 GB on the GPU, unloaded before", "model1: not on the GPU, left loaded"],
        ),
        (None, (None,), ["model0: an unknown size on the GPU, unloaded before"]),
        ("http://10.9.8.7:11434", (4_000_000_000, 0), ["model0, model1: on another machine, left loaded"]),
    ],
)
def test_what_becomes_of_a_model_is_what_the_lease_does(
    bench: Bench, url: str | None, sizes: tuple[int | None, ...], said: list[str]
) -> None:
    """A server elsewhere is left alone unless the settings name it; so is a model without memory of the GPU (a cloud's)."""
    bench.machine.amd(PCI)
    held = residents(*sizes)
    lines = serving.loaded(bench.box(), held, url or "http://127.0.0.1:11434")
    assert [line.message.startswith(words) for line, words in zip(lines, said, strict=True)] == [True] * len(said)
    evicted = {one.name for one in on_gpu(ServerView(residents=tuple(held)))}
    told = {one.name for one in held if any(one.name in line.message and "unloaded" in line.message for line in lines)}
    assert told == (evicted if url is None else set())
