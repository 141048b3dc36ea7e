"""The client of Ollama where something goes wrong: refusals, servers that go away, are slow or are none of Ollama's."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from core.serving.ollama import Ollama
from tests.support.depth import at_most
from tests.support.ollama_served import CONTEXT, QUESTION, failure
from tests.support.ollama_standin import ENDLESS, OllamaStandin
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.process


def test_a_model_that_is_not_there(ollama: Ollama) -> None:
    for act in (ollama.load, ollama.unload, ollama.show, lambda name: ollama.chat(name, QUESTION)):
        error = failure(lambda act=act: act("nobody"))  # type: ignore[misc]
        assert (error.code, error.status) == ("server_refused", 404)
        assert "not found" in error.message


def test_both_ways_of_saying_that_a_prompt_is_too_long(standin: OllamaStandin, ollama: Ollama) -> None:
    error = failure(lambda: ollama.generate("planner", "word " * 300, num_ctx=64, fields={"truncate": False}))
    assert error.status == 400
    said = "exceeds the available context size (64 tokens)" if standin.newer else "the input length exceeds"
    assert said in error.message
    assert "{" not in error.message, "the document in the string is unwrapped"


def test_not_enough_memory(standin: OllamaStandin, ollama: Ollama) -> None:
    standin.scheduler.memory_bytes = 3_000_000_000
    error = failure(lambda: ollama.load("judge:v1"))
    assert error.status == 500
    assert ("failed to allocate" if standin.newer else "more system memory") in error.message


def test_a_queue_that_is_full(standin: OllamaStandin, ollama: Ollama) -> None:
    standin.scheduler.max_queue, standin.scheduler.max_loaded = 0, 1
    with standin.answering("judge:v1"):
        waiting = threading.Thread(target=ollama.load, args=("planner",))
        waiting.start()
        wait_until(lambda: standin.scheduler.waiting == 1)
        standin.add_model("third")
        with Ollama(standin.url) as another:
            error = failure(lambda: another.load("third"))
        assert (error.status, error.message.startswith("server busy")) == (503, True)
    waiting.join()


def test_nobody_answers_until_somebody_does(standin: OllamaStandin, ollama: Ollama) -> None:
    ollama.load("planner")
    standin.down()
    error = failure(ollama.ps)
    assert (error.code, error.status) == ("server_down", None)
    assert standin.url in error.message
    standin.up()
    assert ollama.ps() == ()


@contextmanager
def meanwhile(begun: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Do something beside, once something else has begun."""

    def wait_and_act() -> None:
        wait_until(begun, what="its beginning")
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join()


def test_a_server_that_goes_away_in_the_middle(standin: OllamaStandin, ollama: Ollama) -> None:
    with meanwhile(lambda: standin.lines_sent > 5, standin.down):
        error = failure(lambda: ollama.chat("planner", QUESTION, num_predict=ENDLESS))
    assert error.code == "server_down"
    assert "in the middle" in error.message
    standin.up()
    standin.drop_next("/api/ps")
    assert failure(ollama.ps).code == "server_down"
    assert ollama.ps() == ()
    standin.drop_next("/api/chat", after_lines=2)
    assert failure(lambda: ollama.chat("planner", QUESTION)).code == "server_down"


def test_a_runner_that_is_killed_while_it_answers(standin: OllamaStandin, ollama: Ollama) -> None:
    for stream, status in ((True, 200), (False, 500)):
        ollama.load("planner", context_length=CONTEXT)
        sent = standin.lines_sent

        def speaks(stream: bool = stream, sent: int = sent) -> bool:
            return standin.lines_sent > sent + 5 if stream else standin.scheduler.at_work("planner:latest")

        def ask(stream: bool = stream) -> object:
            return ollama.chat("planner", QUESTION, stream=stream, num_ctx=CONTEXT, num_predict=ENDLESS)

        with meanwhile(speaks, lambda: standin.kill_runner("planner")):
            error = failure(ask)
        assert (error.code, error.status) == ("server_refused", status)
        assert error.message == "an error was encountered while running the model: unexpected EOF"


@pytest.mark.timed
def test_a_slow_answer_is_waited_for_as_long_as_was_said(standin: OllamaStandin) -> None:
    with Ollama(standin.url, timeout_seconds=0.3) as impatient:
        standin.delay_next(10 * PATIENCE_SECONDS, "/api/ps")
        started = time.monotonic()
        assert failure(impatient.ps).code == "server_slow"
        assert time.monotonic() - started < at_most(0.9)
        loaded = threading.Event()
        standin.add_model("slow", loads_until=loaded)
        assert failure(lambda: impatient.load("slow", timeout_seconds=0.3)).code == "server_slow"
        loaded.set()
        impatient.load("slow", timeout_seconds=PATIENCE_SECONDS)
        # Words that keep coming do not make an answer that is in time.
        chat = lambda: impatient.chat("slow", QUESTION, timeout_seconds=0.5, num_predict=ENDLESS)  # noqa: E731
        assert failure(chat).code == "server_slow"


def test_an_answer_without_an_end(standin: OllamaStandin, ollama: Ollama) -> None:
    line = b'{"model": "planner", "message": {"role": "assistant", "content": "a a a"}, "done": false}\n'
    standin.answer_next(line, "/api/chat", content_type="application/x-ndjson")
    error = failure(lambda: ollama.chat("planner", QUESTION))
    assert (error.code, "without an end" in error.message) == ("server_garbled", True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>It works!</html>",
        b"[]",
        b"null",
        b'{"models": 3}',
        b"{}",
        b'{"models": [3]}',
        b'{"models": [{"digest": "a model without a name"}]}',
        b'{"models": [{"name": ""}]}',
        b'{"models": [',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"models": [{"name": "a", "size": ' + b"9" * 5000 + b"}]}",
    ],
)
def test_what_is_no_answer_of_ollama(standin: OllamaStandin, ollama: Ollama, body: bytes) -> None:
    standin.answer_next(body, "/api/ps")
    assert failure(ollama.ps).code == "server_garbled"
    assert ollama.ps() == ()


def test_fields_that_are_missing_are_not_known_and_others_are_passed_over(
    standin: OllamaStandin, ollama: Ollama
) -> None:
    standin.answer_next(b'{"models": [{"model": "a", "size_vram": null, "expires_at": 7, "new": {}}], "more": 1}')
    (one,) = ollama.ps()
    assert (one.name, one.size_bytes, one.size_vram_bytes, one.context_length) == ("a", None, None, None)
    assert (one.expires_at, one.keep_alive_seconds(0)) == (None, None)
    standin.answer_next(b'{"models": null}')
    assert ollama.ps() == ()
    standin.answer_next(b'{"capabilities": "all", "model_info": [], "details": 3}')
    assert ollama.show("a").blob is None


def test_a_name_is_asked_for_as_it_came_and_shown_as_text(standin: OllamaStandin, ollama: Ollama) -> None:
    hostile = "\x1b]0;mine\x07\ud83eodd"
    standin.answer_next(b'{"models": [{"name": "\\u001b]0;mine\\u0007\\ud83eodd"}]}')
    (one,) = ollama.ps()
    assert one.name == hostile
    error = failure(lambda: ollama.unload(one.name))
    assert error.status == 404
    assert standin.requests[-1].body is not None
    assert standin.requests[-1].body["model"] == hostile


def test_a_refusal_without_words_says_what_it_can(standin: OllamaStandin, ollama: Ollama) -> None:
    standin.answer_next(b"", status=403)
    error = failure(ollama.ps)
    assert (error.status, error.said) == (403, "")
    assert "403" in error.message
    assert "OLLAMA_ORIGINS" in (error.remedy or "")
    standin.answer_next(b"<h1>Bad gateway</h1>", status=502, content_type="text/html")
    assert "502" in failure(ollama.ps).message
    standin.answer_next(b"", status=307)
    assert failure(ollama.ps).status == 307, "no redirect is followed"


@contextmanager
def listener(answer: bytes, drip_seconds: float = 0.0) -> Iterator[str]:
    """Something that listens and answers everybody with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        for start in range(0, len(answer), 1 if drip_seconds else max(1, len(answer))):
                            connection.sendall(answer[start : start + 1] if drip_seconds else answer)
                            time.sleep(drip_seconds)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_server_of_something_else() -> None:
    for garbage in (b"220 mail.example.org ESMTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", b"x" * 200_000):
        with listener(garbage) as address, Ollama(address) as ollama:
            assert failure(ollama.ps).code == "server_garbled"
    with listener(b"") as address, Ollama(address) as ollama:
        assert failure(ollama.ps).code == "server_down"


@pytest.mark.timed
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Never-Ends: ",
        b"HTTP/1.1 500 So\r\nContent-Length: 400\r\n\r\n",
    ],
)
def test_bytes_that_trickle_in_are_not_waited_for_for_ever(head: bytes) -> None:
    with listener(head + b" " * 400, drip_seconds=0.02) as address, Ollama(address, timeout_seconds=1.5) as ollama:
        started = time.monotonic()
        assert failure(ollama.version).code == "server_slow"
        assert time.monotonic() - started < at_most(5)


def test_a_name_that_nobody_knows_is_a_server_that_is_not_there() -> None:
    for host in ("no-such-host.invalid", "a..b", "x" * 70):
        assert failure(Ollama(host).ps).code == "server_down"


def test_no_proxy_comes_between(standin: OllamaStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Ollama(standin.url).version() == standin.version
