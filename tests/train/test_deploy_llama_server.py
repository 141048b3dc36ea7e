"""A deployment to a real llama-server: proved, served beyond its job, replaced only by what was proved and comes up."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.config.model import ModelEntry
from core.config.task import Sampling, Task
from core.files import read_json
from core.home import Home
from core.jobfile.deploy import DeploySpec
from core.jobfile.served_as import ServedAs
from core.served.control import remove, start
from core.served.install import choose_port
from core.served.record import read_record, read_records
from core.served.state import read_state
from jobs import deploy_llama_server
from tests.support.forked import CHECKOUT
from tests.support.llama_cpp import llama_cpp, small_q8_0
from tests.support.served_models import all_ended, kill, models_at, reached
from tests.support.systemd_standin import install
from tests.support.waiting import wait_until
from tests.support.workshop import Workshop
from tests.train.test_parity_job import rewritten

pytestmark = pytest.mark.train

NAME = "hello-small-1"
TASK = Task(
    name="hello",
    system="Answer in one short sentence.",
    sampling=Sampling(context_length=1024, max_new_tokens=24),
)
GATE = 3
_ids = count(1)


@pytest.fixture(scope="module")
def shop(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    (real,) = (model_cache / "dequantised").iterdir()
    home = Home(tmp_path_factory.mktemp("a home") / "ho%me").create()
    home.runner_stopped.touch()  # a shim that finds no runner starts none
    made = Workshop(home, ModelEntry(name="small", path=str(real)), forked=True)
    systemd = tmp_path_factory.mktemp("systemd")
    install(systemd, CHECKOUT, linger="no", kills="no").has_no_bus()
    with all_ended(home), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEHOUSE_RUNNER_MISSING_SECONDS", "3600")  # away is away
        patch.setenv("PATH", f"{systemd / 'bin'}:{os.environ['PATH']}")
        yield made
    made.close()


def deploy(
    shop: Workshop, file: Path, before: Callable[[], None] | None = None, **more: Any
) -> tuple[int, dict[str, Any]]:
    """Run a deployment, which calls `before` first: its exit code, and the summary or the error that it left."""
    spec = DeploySpec(
        source=str(file),
        to="llama-server",
        name=NAME,
        model=shop.model,
        served=ServedAs(task=TASK),
        golden=shop.golden("Say hello.", "Name a flour."),
        **{"program": str(llama_cpp().require("llama-server")), **more},
    )
    run = shop.submit(next(_ids), spec)
    code = shop.ended(shop.start(run, before=before))
    left = read_json(run.result) if code == 0 else read_json(run.attempt(1).error_json)
    return code, left["summary"] if code == 0 else left


def choosing_first(taken: int) -> None:
    """Have the job choose this port at first, as one that somebody takes between the look for a free one and the start."""
    real, ports = choose_port, [taken]
    deploy_llama_server.choose_port = lambda *words: ports.pop() if ports else real(*words)


def answer(url: str) -> str:
    """A plain client's question, which says nothing of sampling."""
    asked = {"model": NAME, "messages": [{"role": "user", "content": "Say hello."}]}
    reply = httpx.post(f"{url}/chat/completions", json=asked, timeout=120, trust_env=False).json()
    assert reply["usage"]["completion_tokens"] <= TASK.sampling.max_new_tokens
    return str(reply["choices"][0]["message"]["content"])


def test_a_proved_file_serves_beyond_its_job_and_is_replaced_by_none_that_was_not_proved(
    shop: Workshop, model_cache: Path, tmp_path: Path
) -> None:
    home, sound = shop.home, small_q8_0(model_cache)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]

        code, summary = deploy(shop, sound, partial(choosing_first, taken))
    assert str(taken) not in summary["url"]
    assert (code, summary["name"], summary["kept_by"]) == (0, NAME, "process")
    assert summary["answer"]
    record = read_record(home, NAME)
    url = record.url
    assert (record.file, record.url, record.job_id) == (sound, summary["url"], 1)
    assert models_at(url) == [NAME]
    first = answer(url)
    assert first and answer(url) == first, "the task samples greedily, so does a client that leaves it open"

    # Not proved: what serves is not even restarted.
    before = read_state(home, NAME)
    no_template = rewritten(sound, tmp_path / "none.gguf", "--remove-metadata", "tokenizer.chat_template")
    code, error = deploy(shop, no_template)
    assert (code, error["code"]) == (GATE, "file_without_template")
    assert (read_record(home, NAME), read_state(home, NAME)) == (record, before)

    # Proved, and does not come up: the program fails as a served one.
    program = tmp_path / "llama-server"
    real = llama_cpp().require("llama-server")
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *"--alias {NAME} "*) echo "error: no such device"; exit 1;; esac\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    code, error = deploy(shop, sound, program=str(program))
    assert (code, error["code"]) == (1, "not_serving") and "no such device" in error["message"]
    assert read_record(home, NAME) == record
    assert not home.served_dir(NAME).record_before.exists()
    reached(home, NAME, "serving")
    assert answer(url) == first

    # Another file in its place, at the same address.
    other = tmp_path / "my other model.gguf"
    other.write_bytes(sound.read_bytes())
    code, summary = deploy(shop, other)
    assert (code, summary["url"], read_record(home, NAME).file) == (0, url, other)
    assert answer(url) == first

    # Its shim is killed: the real llama-server goes with it, and another one serves the same.
    state = read_state(home, NAME)
    assert state.server is not None and state.shim is not None
    server = state.server
    kill(state.shim.pid)
    wait_until(lambda: not server.alive(), what="llama-server follows its shim")
    start(home, NAME)
    reached(home, NAME, "serving")
    assert answer(url) == first

    port = record.port
    remove(home, NAME)
    assert read_records(home) == ([], [])
    assert other.exists()
    with pytest.raises(httpx.ConnectError):
        models_at(f"http://127.0.0.1:{port}/v1")
