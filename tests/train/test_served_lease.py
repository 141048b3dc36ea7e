"""A served model with a real llama-server: asked beside its base in a bake-off, away for a real training, back at its port."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.bakeoff.measured import read_measured
from core.config.project import Project
from core.jobfile.train import TrainSpec
from core.process.ports import free_port
from core.scoring.answers import read_answers
from core.served.command import ServerCommand, ServerOptions
from core.served.control import start
from core.served.record import ServedModelRecord, write_record
from core.submission.bakeoff import submit_bakeoff
from core.submission.enqueue import store
from core.submission.wanted_bakeoff import WantedBakeoff
from tests.support.greetings import greeting_recipe, greeting_task
from tests.support.llama_cpp import llama_cpp, small_q8_0
from tests.support.projects import hello_project
from tests.support.queueing import AUTHOR, Queue, alive
from tests.support.served_models import all_ended, models_at, reached
from tests.support.small_model import home_with
from tests.support.tiny_model import tiny_model
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train

NAME = "hello-small-1"


@pytest.fixture
def project(model_cache: Path, tmp_path: Path) -> Project:
    (small,) = (model_cache / "dequantised").iterdir()
    return hello_project(tmp_path / "project", "small", small, repeats=1, max_new_tokens=12, context=512)


@pytest.fixture
def queue(project: Project, model_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    (tmp_path / "config/bakehouse").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{free_port()}")
    made = Queue(home_with(model_cache, tmp_path / "home"), sys.executable, project)
    with all_ended(made.home):
        yield made
        made.close()


def deployed(queue: Queue, file: Path) -> ServedModelRecord:
    """The small model serves."""
    program, port = llama_cpp().require("llama-server"), free_port()
    command = ServerCommand(program, file, NAME, port, 512, on_gpu=False).words(ServerOptions.of(program))
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    record = ServedModelRecord(NAME, file, digest, "hello", "small", 1, tuple(command), port, 512)
    write_record(queue.home, record)
    start(queue.home, NAME)
    return record


def test_it_is_asked_beside_its_base_and_serves_again_after_a_training(
    queue: Queue, project: Project, model_cache: Path, tmp_path: Path
) -> None:
    home, record = queue.home, deployed(queue, small_q8_0(model_cache))
    server = reached(home, NAME, "serving").pid
    remarks: list[str] = []
    wanted = WantedBakeoff(tasks=("hello",), candidates=(f"served:{NAME}", "small"))
    bakeoff = submit_bakeoff(home, project, wanted, author=AUTHOR, remarks=remarks)
    assert not any("was not asked" in remark for remark in remarks), remarks
    done = queue.wait_for(bakeoff.id)
    assert done.state == "done", queue.attempt(bakeoff.id).log.read_text()
    answers = read_answers(home.run_dir(bakeoff.id).answers)
    assert sorted(one.candidate for one in answers) == sorted(2 * [NAME, "small base"])
    assert all(one.text and one.fault in (None, "length") for one in answers), "cut answers are answers"
    measured = {one.candidate: one for one in read_measured(home.run_dir(bakeoff.id).candidates)}[NAME]
    assert measured.identity is not None and measured.loaded is not None
    assert (measured.identity.api, measured.identity.weights) == ("llama-server", record.weights)
    assert measured.loaded.host_bytes is not None and measured.loaded.host_bytes > record.file.stat().st_size / 2
    assert reached(home, NAME, "serving").pid == server, "a job that asks it leaves it"

    shop = Workshop(home, tiny_model(tmp_path / "tiny"))
    spec = TrainSpec(task=greeting_task(), model=shop.model, recipe=greeting_recipe(), train=shop.greetings())
    training = store(home, project, spec, author=AUTHOR)
    queue.wait_for(training.id, "running", "done")
    assert server is not None and not alive(server)
    done = queue.wait_for(training.id)
    assert done.state == "done", queue.attempt(training.id).log.read_text()
    assert reached(home, NAME, "serving").pid != server
    assert models_at(record.url) == [NAME]
    asked = {"model": NAME, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    reply = httpx.post(f"{record.url}/chat/completions", json=asked, timeout=120, trust_env=False).json()
    assert reply["choices"][0]["message"]["content"].strip()
