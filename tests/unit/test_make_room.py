"""A job has a server's models away before it loads its own."""

from __future__ import annotations

import threading

import pytest

from core.serving import make_room as module
from core.serving.make_room import make_room
from core.serving.ollama import Ollama, ServerError
from tests.support.ollama_standin import OllamaStandin
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process


def test_all_models_go(standin: OllamaStandin) -> None:
    for name in ("judge", "planner"):
        standin.add_model(f"{name}:latest", size_bytes=10**9)
    with Ollama(standin.url) as ollama:
        for name in ("judge", "planner"):
            ollama.load(name)
        assert sorted(make_room(ollama)) == ["judge:latest", "planner:latest"]
        assert ollama.ps() == ()
        assert make_room(ollama) == ()


def test_one_that_is_being_loaded_is_waited_for(standin: OllamaStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not listed and no request stops it: it goes once it has come up."""
    monkeypatch.setattr(module, "SETTLE_SECONDS", 3.0)
    standin.add_model("judge:latest", size_bytes=10**9, load_seconds=0.5)
    with Ollama(standin.url) as ollama, Ollama(standin.url) as client:
        loading = threading.Thread(target=client.load, args=("judge",))
        loading.start()
        wait_until(lambda: any(one.path == "/api/generate" for one in standin.requests), what="the load")
        assert make_room(ollama) == ("judge:latest",)
        loading.join()
        assert ollama.ps() == ()


def test_a_server_that_is_not_there_holds_nothing(standin: OllamaStandin) -> None:
    with Ollama("127.0.0.1:1") as ollama:
        assert make_room(ollama) == ()


def test_what_does_not_go_is_told_and_a_stop_is_heard(standin: OllamaStandin) -> None:
    standin.add_model("judge:latest", size_bytes=10**9)
    with Ollama(standin.url) as ollama:
        ollama.load("judge")
        assert make_room(ollama, stopped=lambda: True) == ()
        standin.models.clear()  # its tag was deleted: no request means it any more
        with pytest.raises(ServerError):
            make_room(ollama, seconds=0.3)
