"""A real llama-server behind an alias: promoted by a runner that is killed on the way, and rolled back without a rebuild."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from core.files import sha256_file
from core.models.gguf import check_servable
from core.models.llama_cpp import server_version
from core.process.ports import free_port
from core.runner.client import ensure_runner, request
from core.runner.status import runner_status
from core.served.command import ServerCommand, ServerOptions
from core.served.control import start
from core.served.record import ServedModelRecord, read_record, write_record
from core.served.state import is_running
from core.store.database import transaction
from core.store.fleet import current_version, insert_version, set_current
from core.store.fleet_changes import changes, open_changes
from tests.process.conftest import machine
from tests.support.llama_cpp import llama_cpp, small_q8_0
from tests.support.served_alias import ALIAS, Counter, counter, target_of
from tests.support.served_models import models_at, reached
from tests.support.waiting import wait_until

__all__ = ["counter", "machine"]

pytestmark = pytest.mark.train
BY = "anna@gpubox, fleet"
CANDIDATE = "judge-small-9"


def served(counter: Counter, name: str, file: Path, port: int) -> ServedModelRecord:
    program = llama_cpp().require("llama-server")
    command = ServerCommand(program, file, name, port, 512, on_gpu=False, defaults={"--temp": "0", "--predict": "16"})
    words = tuple(command.words(ServerOptions.of(program)))
    record = ServedModelRecord(name, file, f"sha256:{sha256_file(file)}", "judge", file.stem, 1, words, port, 512)
    write_record(counter.home, record)
    start(counter.home, name)
    return record


def answer(port: int) -> str:
    asked = {"model": ALIAS, "messages": [{"role": "user", "content": "Name three kinds of bread."}]}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    reply = httpx.post(url, json=asked, timeout=120, trust_env=False).json()
    return str(reply["choices"][0]["message"]["content"])


def test_a_smaller_file_is_promoted_at_the_alias_own_port_and_rolled_back(
    counter: Counter, model_cache: Path, tmp_path: Path
) -> None:
    home, large, small = counter.home, small_q8_0(model_cache), tmp_path / "small-Q2_K.gguf"
    quantize = llama_cpp().require("llama-quantize")
    subprocess.run([quantize, "--allow-requantize", large, small, "Q2_K"], check=True, capture_output=True)
    incumbent = served(counter, ALIAS, large, counter.port)
    candidate = served(counter, CANDIDATE, small, free_port())
    with counter.connection as connection, transaction(connection):
        version = insert_version(connection, 1, target_of(home, incumbent), "adopted")
        set_current(connection, 1, version.id)
    for name in (ALIAS, CANDIDATE):
        reached(home, name, "serving")
    former, new = answer(counter.port), answer(candidate.port)
    assert former and new and former != new

    def moved(kind: str, **arguments: object) -> None:
        seen = counter.alias().version_id
        request(home, kind, arguments={"alias_id": 1, "expected_version": seen, **arguments}, by=BY)

    def settled() -> None:
        def ended() -> bool:
            ensure_runner(home)
            with counter.connection as connection:
                return not open_changes(connection)

        wait_until(ended, what="the change ends")

    task = {"project_id": "p", "project_root": "/nowhere", "task": "judge"}
    moved("fleet-promote", **task, target=target_of(home, candidate).to_json(), gate={"outcome": "pass"})
    begun = home.served_dir(ALIAS).record_before
    wait_until(lambda: begun.exists() or not is_running(home.served_dir(CANDIDATE)), what="it has begun")
    runner = runner_status(home).pid
    if runner is not None:
        os.kill(runner, signal.SIGKILL)  # wherever it is: before the load, or while the model loads or answers
    settled()
    assert answer(counter.port) == new and models_at(read_record(home, ALIAS).url) == [ALIAS]
    assert not is_running(home.served_dir(CANDIDATE))
    with counter.connection as connection:
        present = current_version(connection, counter.alias())
    assert present is not None and (present.number, present.weights) == (2, candidate.weights)
    assert present.server_version and present.server_version != server_version(llama_cpp().require("llama-server"))
    trained = check_servable(small, small.name).chat_template
    assert trained is not None and present.template == hashlib.sha256(trained.encode()).hexdigest()

    moved("fleet-rollback")
    settled()
    assert answer(counter.port) == former and read_record(home, ALIAS) == incumbent
    assert not is_running(home.served_dir(CANDIDATE))
    with counter.connection as connection:
        assert [(one.kind, one.state) for one in changes(connection)] == [("rollback", "done"), ("promote", "done")]
