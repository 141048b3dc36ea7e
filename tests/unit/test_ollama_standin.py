"""The stand-in of Ollama, held to what a server answers: the project's own samples, and recordings where they are at hand."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.serving.replies import unix_time
from tests.support.ollama_exchange import Reply, connect, send, wait
from tests.support.ollama_models import go_time
from tests.support.ollama_replay import Replay
from tests.support.ollama_samples import add_models, write_exchanges
from tests.support.ollama_standin import VERSIONS, OllamaStandin, Version

pytestmark = pytest.mark.process

RECORDED = Path(__file__).parents[2].parent / "shared" / "ollama" / "recorded"


@pytest.mark.parametrize("version", VERSIONS)
def test_it_answers_as_the_samples_say(version: Version, tmp_path: Path) -> None:
    with OllamaStandin(version, load_seconds=0.02, token_seconds=0.001) as standin:
        add_models(standin)
        replay = Replay(standin, write_exchanges(tmp_path, newer=standin.newer))
        replay.run()
    assert not replay.comparison.differences, "\n" + "\n".join(replay.comparison.differences)
    assert len(replay.compared) == len(list(tmp_path.iterdir())), "every sample is compared"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded exchanges (shared/ollama/recorded) are not here")
@pytest.mark.parametrize("version", VERSIONS)
def test_it_answers_as_the_real_servers_did(version: Version) -> None:
    with OllamaStandin(version, load_seconds=0.05, token_seconds=0.002) as standin:
        replay = Replay(standin, RECORDED / version)
        replay.run()
    print(f"Ollama {version}: {len(replay.compared)} exchanges compared, {len(replay.later)} left to a later step:")
    for reason, number in sorted(Counter(replay.later.values()).items()):
        print(f"  {number:3} {reason}")
    assert not replay.comparison.differences, "\n" + "\n".join(replay.comparison.differences)
    assert len(replay.compared) + len(replay.later) == len(list((RECORDED / version).glob("*.json")))
    assert len(replay.compared) >= 233, "less is compared than was"


# The rest needs no recordings: what tests of the lease rely on, with numbers of its own.


@pytest.fixture(params=VERSIONS)
def standin(request: pytest.FixtureRequest) -> Iterator[OllamaStandin]:
    with OllamaStandin(request.param, load_seconds=0.05) as server:
        server.add_model("rye", size_bytes=3_000_000_000, kv_bytes_per_token=10_000)
        server.add_model("wheat", size_bytes=1_000_000_000)
        yield server


def post(standin: OllamaStandin, path: str, **body: object) -> Reply:
    return send(standin, {"method": "POST", "path": path, "body": body})


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_memory_is_told_of_from_the_beginning_of_a_load_to_the_end_of_the_process(standin: OllamaStandin) -> None:
    told: list[list[tuple[str, int, int]]] = []
    standin.on_residents_changed = told.append
    loaded = threading.Event()
    standin.add_model("slow", size_bytes=500, loads_until=loaded)
    standin.scheduler.reap_seconds = math.inf
    loading = threading.Thread(target=post, args=(standin, "/api/generate"), kwargs={"model": "slow"})
    loading.start()
    wait(lambda: told)
    assert standin.listed() == [], "nobody is told of a load"
    ((name, vram_bytes, pid),) = told[-1]
    assert (name, vram_bytes) == ("slow:latest", 500)
    assert lives(pid)
    loaded.set()
    loading.join()
    assert post(standin, "/api/generate", model="slow", keep_alive=0).json["done_reason"] == "unload"
    assert standin.listed() == []
    assert told[-1] == [("slow:latest", 500, pid)], "off the list, and still in memory"
    standin.scheduler.reap_seconds = 0.05
    wait(lambda: told[-1] == [])
    assert not lives(pid)


def test_a_killed_runner_lets_its_memory_go_and_stays_on_the_list(standin: OllamaStandin) -> None:
    told: list[list[tuple[str, int, int]]] = []
    standin.on_residents_changed = told.append
    post(standin, "/api/generate", model="rye")
    os.kill(standin.pid_of("rye"), 9)
    wait(lambda: told[-1] == [])
    assert standin.listed() == ["rye:latest"]
    assert post(standin, "/api/generate", model="rye").json["done_reason"] == "load"
    assert [name for name, _, _ in told[-1]] == ["rye:latest"]


def test_a_server_that_ends_takes_its_runners_along(standin: OllamaStandin) -> None:
    post(standin, "/api/generate", model="rye")
    pid = standin.pid_of("rye")
    url = standin.url
    standin.down()
    assert not lives(pid)
    with pytest.raises(ConnectionRefusedError):
        post(standin, "/api/generate", model="rye")
    standin.up()
    assert (standin.url, standin.listed()) == (url, [])


def test_a_load_that_nobody_waits_for_is_given_up(standin: OllamaStandin) -> None:
    standin.add_model("slow", loads_until=threading.Event())
    connection = connect(standin, {"method": "POST", "path": "/api/generate", "body": {"model": "slow"}})
    wait(standin.residents)
    connection.close()
    wait(lambda: not standin.residents())
    assert standin.listed() == []


def test_who_goes_away_while_he_waits_gets_nothing_loaded(standin: OllamaStandin) -> None:
    standin.scheduler.max_loaded = 1
    with standin.answering("wheat"):
        connection = connect(standin, {"method": "POST", "path": "/api/generate", "body": {"model": "rye"}})
        wait(lambda: standin.scheduler.waiting == 1)
        connection.close()
        wait(lambda: standin.scheduler.waiting == 0)
    time.sleep(0.3)
    assert "rye:latest" not in standin.listed()
    assert {name for name, _, _ in standin.residents()} <= {"wheat:latest"}


@pytest.mark.parametrize(
    ("keep_alive", "seconds"),
    [(90, 90), (500.5, 500.5), ("90s", 90), ("1m30s", 90), ("1.5m", 90), ("500250ms", 500.25), (None, 300)],
)
def test_how_long_a_model_stays(standin: OllamaStandin, keep_alive: object, seconds: float) -> None:
    asked = time.time()
    post(standin, "/api/generate", model="wheat", keep_alive=keep_alive)
    answered = time.time()
    (entry,) = standin.scheduler.ps()
    assert asked + seconds <= (unix_time(entry["expires_at"]) or 0) <= answered + seconds


@pytest.mark.parametrize("keep_alive", [0.5, "250ms"])
def test_a_model_that_has_stayed_for_its_time_goes(standin: OllamaStandin, keep_alive: object) -> None:
    post(standin, "/api/generate", model="wheat", keep_alive=keep_alive)
    wait(lambda: standin.listed() == [])


@pytest.mark.parametrize("keep_alive", [-1, -0.5, "-1m", "-1ns"])
def test_a_model_stays_for_ever(standin: OllamaStandin, keep_alive: object) -> None:
    post(standin, "/api/generate", model="wheat", keep_alive=keep_alive)
    reply = send(standin, {"method": "GET", "path": "/api/ps"})
    assert reply.json["models"][0]["expires_at"] > "2300"


@pytest.mark.parametrize("keep_alive", ["soon", "5", "5 m", "m", "", [], {}, True])
def test_a_time_that_is_none_is_refused(standin: OllamaStandin, keep_alive: object) -> None:
    assert post(standin, "/api/generate", model="wheat", keep_alive=keep_alive).status == 400
    assert standin.listed() == []


def test_an_unload_of_what_answers_somebody_ends_it_at_the_end(standin: OllamaStandin) -> None:
    with standin.answering("wheat"):
        post(standin, "/api/generate", model="wheat", keep_alive=0)
        (entry,) = standin.scheduler.ps()
        assert entry["expires_at"] <= go_time(time.time())
    wait(lambda: standin.listed() == [])


def test_a_cache_for_more_slots_and_a_longer_context_is_larger(standin: OllamaStandin) -> None:
    sizes = []
    for parallel, context in ((1, 1024), (1, 2048), (4, 2048)):
        standin.scheduler.parallel = parallel
        post(standin, "/api/generate", model="rye", options={"num_ctx": context})
        sizes.append(standin.residents()[0][1])
        post(standin, "/api/generate", model="rye", keep_alive=0)
        wait(lambda: not standin.residents())
    assert sizes == [3_000_000_000 + tokens * 10_000 for tokens in (1024, 2048, 8192)]


def test_the_model_that_has_to_go_goes_and_one_that_fits_nowhere_is_refused(standin: OllamaStandin) -> None:
    standin.scheduler.memory_bytes = 3_500_000_000
    post(standin, "/api/generate", model="wheat")
    assert post(standin, "/api/generate", model="rye").status == 200
    assert standin.listed() == ["rye:latest"], "both at once are too much"
    standin.add_model("giant", size_bytes=9_000_000_000)
    reply = post(standin, "/api/generate", model="giant")
    assert reply.status == 500
    assert ("failed to allocate" if standin.newer else "requires more system memory") in reply.json["error"]
    assert standin.listed() == []


def test_it_notes_what_it_was_asked(standin: OllamaStandin) -> None:
    post(standin, "/api/generate", model="rye")
    post(standin, "/api/generate", model="rye", keep_alive=0)
    post(standin, "/api/chat", model="rye", keep_alive="0s", messages=[])
    post(standin, "/api/generate", model="rye", keep_alive=0, prompt="an answer, then gone", options={"num_predict": 1})
    assert standin.unloads() == ["rye", "rye"]
    assert [asked.path for asked in standin.requests] == ["/api/generate"] * 2 + ["/api/chat", "/api/generate"]
    assert standin.listed() == []
