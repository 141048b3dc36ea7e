"""`bakehouse deploy` in whole processes: command, runner, lease and job, at a stand-in of Ollama, with a kill on the way."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.data.render import encode_prompt
from core.home import Home
from core.serving.ollama import Ollama
from core.submission.deploy import staging_of
from tests.process.test_server_keys import CLI
from tests.support.forked import CHECKOUT
from tests.support.gguf_bytes import KEYS, file, header
from tests.support.ollama_standin import Asked, OllamaStandin
from tests.support.projects import write_files
from tests.support.queueing import Queue, kill
from tests.support.tokenizers import CHATML, byte_level, write_model
from tests.support.waiting import wait_until

NAME = "bread:prod"
FILES = {
    "bakehouse.yaml": "id: kitchen\n",
    "configs/models.yaml": "tiny: {path: tiny}\n",
    "configs/tasks/bread.yaml": "system: Answer.\ngolden: golden/bread.yaml\nsampling: {context_length: 1024}\n",
    "golden/bread.yaml": "- {id: a, input: What is it?}\n- {id: b, input: And this?}\n",
}


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaStandin]:
    tokenizer = byte_level()
    with OllamaStandin("0.33.0-rc2", load_seconds=0.05, token_seconds=0.0) as server:
        server.store.mind = {"answer": "Bread.", "counts": lambda text: len(encode_prompt(tokenizer, text))}
        server.add_model(NAME, answer="Former.")
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


@pytest.fixture
def kitchen(machine: Path) -> Path:
    root = machine / "kitchen"
    write_files(root, FILES)
    write_model(root / "tiny", byte_level())
    (root / "bread.gguf").write_bytes(file(header({**KEYS, "tokenizer.chat_template": CHATML})))
    return root


def bakehouse(home: Home, root: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [*CLI, *words, "--json"],
        env={**os.environ, "BAKEHOUSE_HOME": str(home.root), "PYTHONPATH": str(CHECKOUT)},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}")


def test_killed_with_its_model_in_memory_it_is_done_by_a_retry(
    queue: Queue, kitchen: Path, ollama: OllamaStandin
) -> None:
    """The server's memory is as before after each attempt, and what served goes on until the new one is proved."""
    with Ollama(ollama.url) as client:
        client.load(NAME, context_length=512, keep_alive_seconds=7200)
    staging, former = staging_of(queue.home, NAME), ollama.models[NAME].digest

    def die(asked: Asked) -> None:
        if asked.path == "/api/chat" and (asked.body or {}).get("model") == staging:
            ollama.on_request = None
            kill(queue.process(1))

    ollama.on_request = die
    named = ("--name", NAME, "--task", "bread", "--model", "tiny")
    code, told = bakehouse(queue.home, kitchen, "deploy", "bread.gguf", *named, "--wait")
    assert code == 1 and told["job"]["state"] == "failed" and ollama.models[NAME].digest == former
    wait_until(lambda: ollama.listed() == [NAME], what="the memory as before")
    assert staging in ollama.models, "the tag of the killed job"

    assert bakehouse(queue.home, kitchen, "queue", "retry", "1")[0] == 0
    job = queue.wait_for(1)
    assert job.state == "done" and job.result is not None, job
    kept = job.result["summary"]["rollback"]
    assert set(ollama.models) == {NAME, kept} and ollama.models[kept].digest == former
    assert job.result["summary"]["digest"] == ollama.models[NAME].digest != former
    wait_until(lambda: ollama.listed() == [NAME], what="the memory as before")
