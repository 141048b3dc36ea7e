"""The client of Ollama, over real sockets, against a stand-in of two versions and against servers that are none."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from core.serving.ollama import Ollama, ServerError
from tests.support.depth import at_most
from tests.support.ollama_standin import ENDLESS, VERSIONS, OllamaStandin
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.process

QUESTION = [{"role": "user", "content": "What is bread made of?"}]
CONTEXT = 1024


@pytest.fixture(params=VERSIONS)
def standin(request: pytest.FixtureRequest) -> Iterator[OllamaStandin]:
    with OllamaStandin(request.param, load_seconds=0.05) as server:
        server.add_model("judge:v1", size_bytes=4_000_000_000, kv_bytes_per_token=20_000)
        server.copy_model("judge:v1", "judge:rollback")
        server.add_model("planner", size_bytes=2_000_000_000)
        yield server


@pytest.fixture
def ollama(standin: OllamaStandin) -> Iterator[Ollama]:
    with Ollama(standin.url) as client:
        yield client


def names(ollama: Ollama) -> set[str]:
    return {resident.name for resident in ollama.ps()}


def failure(act: Callable[[], object]) -> ServerError:
    with pytest.raises(ServerError) as caught:
        act()
    assert str(caught.value).isprintable(), "one line that says nothing to the terminal"
    return caught.value


# What a server holds, and asking it to hold something else.


def test_a_server_says_what_it_is_and_has(standin: OllamaStandin, ollama: Ollama) -> None:
    assert ollama.version() == standin.version
    assert {tag.name for tag in ollama.tags()} == {"judge:v1", "judge:rollback", "planner:latest"}
    assert {tag.quantization for tag in ollama.tags()} == {"Q8_0"}
    assert ollama.ps() == ()


def test_a_model_is_loaded_with_its_context_and_stays_as_long_as_is_said(ollama: Ollama) -> None:
    asked = time.time()
    ollama.load("judge:v1", context_length=CONTEXT, keep_alive_seconds=77.5)
    answered = time.time()
    (judge,) = ollama.ps()
    assert (judge.name, judge.context_length) == ("judge:v1", CONTEXT)
    assert judge.size_bytes == judge.size_vram_bytes == 4_000_000_000 + 20_000 * CONTEXT
    # A server is told whole seconds, and begins to count once it has loaded.
    assert (judge.keep_alive_seconds(answered) or 0) - 0.1 <= 78 <= (judge.keep_alive_seconds(asked) or 0) + 0.1


def test_what_was_loaded_comes_back_as_it_was(ollama: Ollama) -> None:
    began = time.time()
    ollama.load("judge:v1", context_length=CONTEXT, keep_alive_seconds=-1)
    ollama.load("planner", context_length=2 * CONTEXT, keep_alive_seconds=500)
    before = {resident.name: resident for resident in ollama.ps()}
    for name in before:
        ollama.unload(name)
    assert names(ollama) == set()
    for name, resident in before.items():
        kept = resident.keep_alive_seconds(time.time())
        ollama.load(name, context_length=resident.context_length, keep_alive_seconds=kept)
    after = {resident.name: resident for resident in ollama.ps()}
    assert {name: one.context_length for name, one in after.items()} == {"judge:v1": 1024, "planner:latest": 2048}
    assert after["judge:v1"].keep_alive_seconds(time.time()) == -1
    left = after["planner:latest"].keep_alive_seconds(time.time()) or 0
    assert 500 - (time.time() - began) - 2 <= left <= 502


def test_a_last_fraction_of_a_second_does_not_unload(standin: OllamaStandin, ollama: Ollama) -> None:
    ollama.load("planner", keep_alive_seconds=0.2)
    assert names(ollama) == {"planner:latest"}
    assert standin.unloads() == []


def test_an_unloaded_model_is_gone_and_so_is_its_process(standin: OllamaStandin, ollama: Ollama) -> None:
    ollama.load("planner")
    assert standin.residents()
    ollama.unload("planner")
    assert names(ollama) == set()
    wait_until(lambda: not standin.residents())
    ollama.unload("planner")  # nothing of it is loaded: no error in any version


def test_a_model_that_is_being_loaded_is_not_listed_and_not_unloaded(standin: OllamaStandin, ollama: Ollama) -> None:
    loaded = threading.Event()
    standin.add_model("slow", loads_until=loaded)
    loading = threading.Thread(target=ollama.load, args=("slow",))
    loading.start()
    wait_until(lambda: bool(standin.residents()))
    with Ollama(standin.url) as another:
        another.unload("slow")
        assert names(another) == set()
        loaded.set()
        loading.join()
        assert names(another) == {"slow:latest"}, "the unload came too early"


def test_a_model_that_answers_somebody_stays_until_it_has(standin: OllamaStandin, ollama: Ollama) -> None:
    with standin.answering("planner") as client:
        ollama.unload("planner")
        assert client.is_alive(), "the answer to an unload waits for nothing"
        (planner,) = ollama.ps()
        assert planner.keep_alive_seconds(time.time()) == 0, "it is to go"
    wait_until(lambda: names(ollama) == set())


def test_another_tag_of_a_blob_is_the_same_runner(ollama: Ollama) -> None:
    ollama.load("judge:v1", context_length=CONTEXT)
    ollama.load("judge:rollback", context_length=CONTEXT)
    assert names(ollama) == {"judge:v1"}
    blob = ollama.show("judge:rollback").blob
    assert blob is not None
    assert blob.startswith("sha256:")
    assert ollama.show("judge:v1").blob == blob != ollama.show("planner").blob
    ollama.unload("judge:rollback")
    assert names(ollama) == set()


def test_a_killed_runner_is_listed_until_it_is_asked_for(standin: OllamaStandin, ollama: Ollama) -> None:
    ollama.load("planner")
    dead = standin.kill_runner("planner")
    assert names(ollama) == {"planner:latest"}
    assert standin.residents() == []
    ollama.load("planner")
    assert standin.pid_of("planner") != dead


def test_another_context_makes_the_runner_anew_and_one_too_long_is_cut(ollama: Ollama, standin: OllamaStandin) -> None:
    ollama.load("judge:v1", context_length=CONTEXT)
    first = standin.pid_of("judge:v1")
    ollama.load("judge:v1", context_length=10**6)
    assert [one.context_length for one in ollama.ps()] == [8192]
    assert standin.pid_of("judge:v1") != first


def test_a_model_that_only_embeds_is_loaded_too(standin: OllamaStandin, ollama: Ollama) -> None:
    standin.add_model("embedder", embeds_only=True)
    ollama.load("embedder", keep_alive_seconds=-1)
    (embedder,) = ollama.ps()
    assert (embedder.name, embedder.keep_alive_seconds(time.time())) == ("embedder:latest", -1)
    ollama.unload("embedder")
    assert names(ollama) == set()


def test_what_a_model_is_made_of(standin: OllamaStandin, ollama: Ollama) -> None:
    standin.add_model(
        "dressed",
        blob="sha256:" + "5a" * 32,
        template="{{ if .Thinking }}{{ end }}{{ .Prompt }}",
        system="You bake.",
        parameters={"stop": ["<a>", "<b>"], "num_ctx": 512},
        trained_context=4096,
    )
    dressed = ollama.show("dressed")
    assert dressed.blob == "sha256:" + "5a" * 32
    assert dressed.capabilities == ("completion", "thinking")
    assert dressed.parameters == {"stop": ("<a>", "<b>"), "num_ctx": ("512",)}
    assert (dressed.system, dressed.context_length, dressed.architecture) == ("You bake.", 4096, "llama")


# Asking a model.


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer(standin: OllamaStandin, ollama: Ollama, stream: bool) -> None:
    standin.add_model("baker", answer="Flour, water and salt.")
    pieces: list[str] = []
    answer = ollama.chat("baker", QUESTION, stream=stream, on_text=pieces.append, num_ctx=CONTEXT)
    assert (answer.text, answer.finish, answer.completion_tokens) == ("Flour, water and salt.", "stop", 4)
    assert answer.prompt_tokens
    assert answer.completion_seconds
    assert "".join(pieces) == answer.text
    assert (len(pieces) > 1) is stream
    again = ollama.generate("baker", "What is bread made of?", stream=stream, num_ctx=CONTEXT, num_predict=2)
    assert (again.text, again.finish) == ("Flour, water", "length")


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_are_told_from_the_answer(standin: OllamaStandin, ollama: Ollama, stream: bool) -> None:
    standin.add_model("thinker", template="{{ .Thinking }}", answer="<think>flour?</think>Flour.")
    answer = ollama.chat("thinker", QUESTION, stream=stream)
    assert (answer.text, answer.thinking) == ("Flour.", "flour?")
    error = failure(lambda: ollama.chat("planner", QUESTION, fields={"think": True}))
    assert (error.code, error.status, error.message) == ("server_refused", 400, '"planner" does not support thinking')


def test_a_render_is_an_answer_of_its_own(ollama: Ollama) -> None:
    answer = ollama.chat("planner", QUESTION, stream=False, fields={"_debug_render_only": True})
    assert "What is bread made of?" in (answer.rendered or "")
    assert answer.text == ""


# What goes wrong.


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
def test_bytes_that_trickle_in_are_not_waited_for_for_ever() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n"
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
