"""The end of a chain with real jobs: a deployment to a stand-in of Ollama, and the bake-off of what serves then."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.bakeoff.measured import read_measured
from core.config.project import Project
from core.data.render import encode_prompt
from core.home import Home
from core.own_paths import read_result
from core.scoring.answers import read_answers
from core.store.chains import get_chain
from core.submission.bakeoff import check_bakeoff, submit_bakeoff
from core.submission.deploy import deploy_spec
from core.submission.enqueue import ChainWriter, store_chain
from core.submission.wanted_bakeoff import WantedBakeoff
from tests.support.gguf_bytes import KEYS, file, header
from tests.support.ollama_standin import VERSIONS, OllamaStandin
from tests.support.projects import hello_project
from tests.support.queueing import AUTHOR, Queue
from tests.support.tokenizers import CHATML, byte_level, write_model

NAME = "hello:prod"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "model").mkdir()
    write_model(tmp_path / "model", byte_level())
    (tmp_path / "tiny-Q8_0.gguf").write_bytes(
        file(header({**KEYS, "tokenizer.chat_template": CHATML})) + os.urandom(16)
    )
    return hello_project(tmp_path / "project", "tiny", tmp_path / "model", repeats=2, max_new_tokens=16, context=1024)


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaStandin]:
    tokenizer = byte_level()
    with OllamaStandin(VERSIONS[-1], load_seconds=0.02, token_seconds=0.0) as server:
        server.store.mind = {"answer": "Hello.", "counts": lambda text: len(encode_prompt(tokenizer, text))}
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


@pytest.fixture
def queue(machine: Path, ollama: OllamaStandin, project: Project) -> Iterator[Queue]:
    made = Queue(Home(machine / "home").create(), sys.executable, project)
    yield made
    made.close()


def test_a_server_that_is_away_stops_its_chain_and_retried_the_rest_asks_what_serves(
    queue: Queue, ollama: OllamaStandin, project: Project, tmp_path: Path
) -> None:
    home = queue.home

    def write(chain: ChainWriter) -> None:
        source = str(tmp_path / "tiny-Q8_0.gguf")
        told = {"to": "ollama", "name": NAME, "task": "hello", "model": "tiny"}
        chain.add(deploy_spec(home, chain.connection, project, source, **told))  # type: ignore[arg-type]
        wanted = WantedBakeoff(tasks=("hello",), candidates=(f"job:{chain.by_kind['deploy']}",))
        chain.add(check_bakeoff(home, chain.connection, project, wanted, [], ask=None).keep(home, project))

    ollama.down()
    stored = store_chain(home, project, write, title="ship hello", author=AUTHOR)
    deploy, bakeoff = (job.id for job in stored.queued)
    failed = queue.wait_for(deploy, "failed")
    assert failed.reason.values["error"] == "server_down" and ollama.models == {}
    assert queue.states(bakeoff) == ["waiting"], "nothing behind it has begun"
    ollama.up()
    queue.ask("retry", deploy)
    done = queue.wait_for(bakeoff)
    logs = [attempt.log.read_text() for job in (deploy, bakeoff) for attempt in home.run_dir(job).attempts()]
    assert done.state == "done", "\n".join(logs)
    assert [len(queue.attempts(job)) for job in (deploy, bakeoff)] == [2, 1] and list(ollama.models) == [NAME]
    with queue.database() as connection:
        assert stored.chain is not None and get_chain(connection, stored.chain).done == 2
    answers = read_answers(home.run_dir(bakeoff).answers)
    assert len(answers) == 4 and {one.text for one in answers} == {"Hello."}
    (measured,) = read_measured(home.run_dir(bakeoff).candidates)
    deployed = (read_result(home.run_dir(deploy)) or {})["summary"]
    assert measured.identity is not None and measured.identity.weights == deployed["blob"]
    told = (read_result(home.run_dir(bakeoff)) or {})["summary"]["candidates"][0]
    assert (told["name"], told["ref"]) == (NAME, f"job:{deploy}/served"), "what serves is known as what its job made"

    # Somebody deploys another model under the name: no result says that it was this one.
    ollama.add_model(NAME, answer="Other.", blob="sha256:" + "e" * 64)
    again = submit_bakeoff(home, project, WantedBakeoff(tasks=("hello",), candidates=(f"job:{deploy}",)), author=AUTHOR)
    refused = queue.wait_for(again.id, "failed")
    assert f"{NAME} is not what job {deploy} deployed" in str(refused.reason.values["message"])
