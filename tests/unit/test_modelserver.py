"""The model server without waiting for it, against the stand-in of Ollama: whoever looks is never held up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from core.clock import NEVER
from core.errors import InputError
from core.serving.errors import ServerError
from core.serving.modelserver import Caller, OllamaServer
from tests.support.depth import at_most
from tests.support.ollama_standin import VERSIONS, OllamaStandin, Version
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.process


@pytest.fixture(params=VERSIONS)
def ollama(request: pytest.FixtureRequest) -> Iterator[OllamaStandin]:
    version: Version = request.param
    with OllamaStandin(version, load_seconds=0.05) as made:
        made.add_model("judge", size_bytes=4_600_000_000)
        yield made


@pytest.fixture
def server(ollama: OllamaStandin, monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    monkeypatch.setattr("core.serving.modelserver.ASK_SECONDS", PATIENCE_SECONDS)
    made = OllamaServer(ollama.url)
    yield made
    made.close()


def until(server: OllamaServer, condition: Callable[[], Any], what: str = "") -> None:
    def seen() -> bool:
        server.tick(0.05)
        return bool(condition())

    wait_until(seen, what=what)


def names(server: OllamaServer) -> list[str]:
    return [resident.name for resident in server.view.residents or ()]


def test_what_is_loaded_is_seen_with_its_weights_and_the_server_s_version(
    server: OllamaServer, ollama: OllamaStandin
) -> None:
    assert server.view.residents is None and server.view.problem is None, "nobody has been asked yet"
    server.load("judge", 8192, -1).result(PATIENCE_SECONDS)
    until(server, lambda: names(server) == ["judge:latest"])
    assert server.version == ollama.version
    (resident,) = server.view.residents or ()
    assert server.blob(resident) == ollama.models["judge:latest"].blob
    assert resident.context_length == 8192 and resident.keep_alive_seconds(time.time()) == -1
    assert server.unload(resident).result(PATIENCE_SECONDS) == "judge:latest"
    until(server, lambda: server.view.residents == ())


@pytest.mark.timed
def test_a_server_that_hangs_holds_up_nobody(server: OllamaServer, ollama: OllamaStandin) -> None:
    ollama.delay_seconds = 10 * PATIENCE_SECONDS
    began, longest = time.monotonic(), 0.0
    for _ in range(20):
        before = time.monotonic()
        server.tick(0.05)
        longest = max(longest, time.monotonic() - before)
        time.sleep(0.02)
    assert longest < at_most(0.5) and time.monotonic() - began < ollama.delay_seconds
    assert server.view.asked_at == NEVER, "and the answer was not there yet"


def test_a_server_that_goes_away_and_comes_back(server: OllamaServer, ollama: OllamaStandin) -> None:
    until(server, lambda: server.view.residents == ())
    ollama.down()
    until(server, lambda: server.view.residents is None)
    assert server.view.problem is not None
    assert (server.view.problem.code, server.view.problem.values) == ("server_down", {"url": ollama.url})
    with pytest.raises(ServerError):
        server.load("judge", None, None).result(PATIENCE_SECONDS)
    ollama.up()
    until(server, lambda: server.view.residents == () and server.view.problem is None)


def test_a_runner_whose_tag_is_gone_is_unloaded_by_another_tag_of_its_weights(
    server: OllamaServer, ollama: OllamaStandin
) -> None:
    ollama.copy_model("judge", "judge-2")
    server.load("judge", None, None).result(PATIENCE_SECONDS)
    until(server, lambda: names(server) == ["judge:latest"])
    (resident,) = server.view.residents or ()
    ollama.remove_model("judge")
    assert server.unload(resident).result(PATIENCE_SECONDS) == "judge-2:latest"
    until(server, lambda: server.view.residents == ())


def test_a_model_made_anew_over_a_loaded_one_does_not_hide_it(server: OllamaServer, ollama: OllamaStandin) -> None:
    ollama.copy_model("judge", "judge-rollback")
    server.load("judge", None, None).result(PATIENCE_SECONDS)
    until(server, lambda: names(server) == ["judge:latest"])
    (resident,) = server.view.residents or ()
    ollama.remove_model("judge")
    ollama.add_model("judge", blob="sha256:" + "cd" * 32, size_bytes=4_700_000_000)
    assert server.unload(resident).result(PATIENCE_SECONDS) == "judge-rollback:latest"
    until(server, lambda: server.view.residents == ())


def test_a_runner_that_no_tag_reaches_is_told(server: OllamaServer, ollama: OllamaStandin) -> None:
    server.load("judge", None, None).result(PATIENCE_SECONDS)
    until(server, lambda: names(server) == ["judge:latest"])
    (resident,) = server.view.residents or ()
    ollama.remove_model("judge")
    with pytest.raises(ServerError) as caught:
        server.unload(resident).result(PATIENCE_SECONDS)
    assert caught.value.reason.code == "model_tag_deleted"


def test_a_model_for_which_there_is_no_memory_is_told_in_the_server_s_words(
    server: OllamaServer, ollama: OllamaStandin
) -> None:
    ollama.scheduler.memory_bytes = 1_000_000_000
    with pytest.raises(ServerError) as caught:
        server.load("judge", None, None).result(PATIENCE_SECONDS)
    words = "requires more system memory" if ollama.version == "0.24.0" else "failed to allocate"
    reason = caught.value.reason
    assert (reason.code, reason.values["status"]) == ("server_refused", 500) and words in str(reason.values["said"])


def test_a_command_is_run_and_its_failure_told_in_one_line(server: OllamaServer, tmp_path: Path) -> None:
    server.run(["touch", str(tmp_path / "done")]).result(PATIENCE_SECONDS)
    assert (tmp_path / "done").exists()
    for command, said in (
        ([sys.executable, "-c", "import sys; sys.exit('Unit ollama.service\\nnot found')"], "ollama.service not found"),
        (["false"], "exit code 1"),
        (["/nowhere/systemctl", "stop"], "No such file"),
    ):
        with pytest.raises(ServerError, match=said) as caught:
            server.run(command).result(PATIENCE_SECONDS)
        assert "\n" not in caught.value.message


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="no address of a model server"):
        OllamaServer("not an address")


def test_calls_are_made_one_after_the_other_and_each_gets_its_own_end() -> None:
    caller, order = Caller("test"), []

    def call(number: int) -> int:
        order.append(number)
        if number == 1:
            raise ValueError("the second")
        return number

    futures: list[Future[int]] = [caller.submit(lambda number=number: call(number)) for number in range(3)]  # type: ignore[misc]
    assert (futures[0].result(PATIENCE_SECONDS), futures[2].result(PATIENCE_SECONDS)) == (0, 2)
    assert isinstance(futures[1].exception(PATIENCE_SECONDS), ValueError)
    assert order == [0, 1, 2]
    caller.close()
