"""A llama-server that a job starts: the real one, with a model of random weights and once with the real small model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core.home import Home
from core.models.gguf import check_servable
from core.serving.errors import ServerError
from jobs import llama_server
from jobs.context import StopRequested
from jobs.llama_server import LlamaServer, weights_of
from tests.support.forked import CHECKOUT
from tests.support.llama_cpp import convertible_model, gguf_of, llama_cpp, small_q8_0
from tests.support.questions import question
from tests.support.waiting import wait_until

pytestmark = pytest.mark.train

Opened = Callable[..., LlamaServer]
HELLO = question(max_new_tokens=8, context_length=512)


@pytest.fixture(scope="module")
def program() -> Path:
    return llama_cpp().require("llama-server")


@pytest.fixture(scope="module")
def file(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    return gguf_of(convertible_model(model_cache, folder / "model"), folder / "tiny-Q8_0.gguf")


@pytest.fixture
def opened(program: Path, file: Path, tmp_path: Path) -> Iterator[Opened]:
    made: list[LlamaServer] = []

    def make(name: str = "tiny tuned, Q8_0", gguf: Path = file, **more: object) -> LlamaServer:
        log = tmp_path / f"llama-server-{len(made)}.log"
        made.append(LlamaServer(name, gguf, program, log, weights="sha256:0", **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def pid_of(server: LlamaServer) -> int:
    assert server.process is not None
    return server.process.pid


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_is_known_before_it_is_loaded_and_is_the_same_afterwards(opened: Opened) -> None:
    server = opened()
    before = server.identity()
    assert server.process is None
    assert (before.api, before.weights) == ("llama-server", "sha256:0") and before.template and before.version
    loaded = server.load(512)
    assert loaded.seconds > 0 and not loaded.was_resident
    assert server.load(256).was_resident and server.loads == 1
    reply = server.ask(HELLO)
    assert reply.finish == "length" and reply.completion_tokens == 8
    assert server.ask(HELLO).text == reply.text
    assert server.identity() == before
    pid = pid_of(server)
    server.unload()
    assert is_gone(pid) and server.process is None


def test_what_it_takes_over_from_the_environment_and_the_template_it_runs(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that set options of a llama-server do not reach it; nobody without its key gets an answer."""
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "64")
    monkeypatch.setenv("LLAMA_API_KEY", "another")
    server = opened(slots=2)
    server.load(600)
    words = psutil.Process(pid_of(server)).cmdline()
    assert words[words.index("--ctx-size") + 1] == "1536" and words[words.index("--parallel") + 1] == "2"
    assert words[words.index("--host") + 1] == "127.0.0.1" and "--jinja" in words
    assert not any("LLAMA_ARG" in name for name in psutil.Process(pid_of(server)).environ())
    port = words[words.index("--port") + 1]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/props", timeout=30)
    assert refused.value.code == 401
    key = psutil.Process(pid_of(server)).environ()["LLAMA_API_KEY"]
    request = urllib.request.Request(f"http://127.0.0.1:{port}/props", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert json.load(reply)["chat_template"] == server.header.chat_template


def test_one_that_dies_is_down_and_comes_back_when_it_is_loaded_again(opened: Opened) -> None:
    server = opened()
    server.load(512)
    first = server.ask(HELLO).text
    os.kill(pid_of(server), signal.SIGKILL)
    with pytest.raises(ServerError) as caught:
        server.ask(HELLO)
    assert (caught.value.code, caught.value.is_transient) == ("server_down", True)
    assert "was ended by SIGKILL" in caught.value.message
    assert not server.load(512).was_resident
    assert server.ask(HELLO).text == first and server.loads == 2


def test_a_port_that_somebody_else_takes_meanwhile_is_left_to_them(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the other one only listens, or answers as a healthy server does."""
    other = opened("another")
    other.load(256)
    words = psutil.Process(pid_of(other)).cmdline()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        ports = [listening.getsockname()[1], int(words[words.index("--port") + 1])]
        real = llama_server.free_port
        monkeypatch.setattr(llama_server, "free_port", lambda: ports.pop(0) if ports else real())
        server = opened()
        server.load(256)
    assert not ports and server.loads == 1
    assert server.ask(HELLO).completion_tokens == 8
    assert not is_gone(pid_of(other))


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda content: content[:-1000],
    "no GGUF": lambda content: b"GGML" + content[4:],
}
UNLOADABLE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "unknown architecture": (lambda content: content.replace(text(b"llama"), text(b"xlama"), 1), "xlama"),
    "shapes that do not fit": (
        lambda content: content.replace(
            b"llama.embedding_length\x04\0\0\0\x40", b"llama.embedding_length\x04\0\0\0\x41"
        ),
        "shape",
    ),
    "a key that is absent": (
        lambda content: content.replace(b"llama.block_count\x04", b"llama.bl0ck_count\x04"),
        "block_count",
    ),
}


def text(value: bytes) -> bytes:
    return len(value).to_bytes(8, "little") + value


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_is_no_model_starts_no_server(opened: Opened, file: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "bad.gguf").write_bytes(HOSTILE[what](file.read_bytes()))
    server = opened(gguf=tmp_path / "bad.gguf")
    for call in (server.identity, server.capabilities, lambda: server.load(512)):
        with pytest.raises(ServerError) as caught:
            call()
        assert (caught.value.code, caught.value.is_transient) == ("server_refused", False)
    assert not server.log.exists()


@pytest.mark.parametrize("what", UNLOADABLE)
def test_why_a_file_cannot_be_loaded_is_one_line_of_its_log(
    opened: Opened, file: Path, tmp_path: Path, what: str
) -> None:
    change, named = UNLOADABLE[what]
    content = file.read_bytes()
    assert change(content) != content
    (tmp_path / "bad.gguf").write_bytes(change(content))
    server = opened(gguf=tmp_path / "bad.gguf")
    with pytest.raises(ServerError) as caught:
        server.load(512)
    assert (caught.value.code, caught.value.is_transient) == ("server_refused", False)
    assert named in caught.value.message and "\n" not in caught.value.message
    assert server.process is None


def test_a_window_beyond_what_it_was_trained_for_is_refused(opened: Opened) -> None:
    server = opened()
    with pytest.raises(ServerError) as caught:
        server.load(8193)
    assert caught.value.code == "context_overflow" and not server.log.exists()


def test_too_little_memory_is_told_as_such(program: Path, model_cache: Path, tmp_path: Path) -> None:
    """The kernel refuses the server its cache: a limit on its address space stands for a machine with less memory."""
    limited = tmp_path / "llama-server"
    limited.write_text(f'#!/bin/sh\nulimit -v 2000000\nexec "{program}" "$@"\n')
    limited.chmod(0o755)
    server = LlamaServer("small", small_q8_0(model_cache), limited, tmp_path / "log", weights="sha256:0", slots=16)
    with pytest.raises(ServerError) as caught:
        server.load(8192)
    assert (caught.value.code, caught.value.is_transient) == ("server_out_of_memory", False), (
        tmp_path / "log"
    ).read_text()


JOB = """
import sys, threading
from pathlib import Path
from jobs.llama_server import LlamaServer
server = LlamaServer("tiny", Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), weights="sha256:0")
# As the engine does it: from a thread that ends before the server does.
thread = threading.Thread(target=server.load, args=(512,))
thread.start()
thread.join()
print(server.process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_it_is_gone_with_its_job_however_that_ends(
    program: Path, file: Path, tmp_path: Path, how: signal.Signals | None
) -> None:
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(file), str(program), str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert job.stdout is not None and job.stdin is not None
    with job, job.stdout:
        pid = int(job.stdout.readline())
        assert not is_gone(pid), "it outlives the thread that started it"
        assert psutil.Process(pid).ppid() == job.pid
        if how is None:
            job.stdin.close()  # the job ends by itself, and forgets its server
        else:
            job.send_signal(how)
        job.wait()
    wait_until(lambda: is_gone(pid), what="the server gone")


def test_a_stop_is_heeded_while_it_loads(opened: Opened) -> None:
    def stop() -> None:
        raise StopRequested("cancel")

    # Other tests of the run have processes of their own, which may outlive them.
    before = set(psutil.Process().children())
    server = opened(check_stop=stop)
    with pytest.raises(StopRequested):
        server.load(512)
    assert server.process is None and not set(psutil.Process().children()) - before


def test_the_hash_of_a_file_is_computed_once(file: Path, tmp_path: Path) -> None:
    home, looks = Home(tmp_path), []
    first = weights_of(file, None, home, lambda: looks.append(1))
    assert looks and first == weights_of(file, None, home, lambda: pytest.fail("read again"))
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(file.read_bytes() + b"\0")
    assert weights_of(copy, None, home) != first
    assert weights_of(copy, "ab" * 32, home) == f"sha256:{'ab' * 32}"


def test_the_real_small_model_is_converted_served_and_answers(opened: Opened, model_cache: Path) -> None:
    """Its tensors have the names and shapes of the file that its publisher made; and it says something."""
    made = small_q8_0(model_cache)
    (published,) = (model_cache / "models").rglob("*.gguf")
    ours, theirs = check_servable(made, "ours"), check_servable(published, "theirs")
    assert {one.name: one.shape for one in ours.tensors} == {one.name: one.shape for one in theirs.tensors}
    assert (ours.file_type, ours.architecture, len(ours.tensors)) == (7, "llama", 272)
    server = opened("SmolLM2-135M", made)
    server.load(512)
    reply = server.ask(question("What is the capital of France?", max_new_tokens=40, context_length=512))
    assert "France" in reply.text
    assert reply.prompt_seconds is not None and reply.completion_seconds is not None
