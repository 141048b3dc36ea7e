"""Servers that misbehave: for every case what becomes of it, through both APIs and over real sockets."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from core.serving.address import server_address
from core.serving.answer_parts import LONGEST_ANSWER_CHARACTERS
from core.serving.answering import Reply, ServedModel
from core.serving.errors import ServerError
from core.serving.http import HttpClient
from core.serving.ollama_model import OllamaModel
from core.serving.openai_model import OpenAIModel
from tests.support.hostile import NAME
from tests.support.hostile_cases import (
    CASES,
    Outcome,
    endless,
    error,
    raw_piece,
    sends,
    stalls_at_once,
    stalls_in_the_middle,
    trickles,
    trickling_head,
    with_finish,
)
from tests.support.hostile_server import MODEL, Behaviour, Connection, hostile, piece, whole
from tests.support.questions import question
from tests.support.waiting import PATIENCE_SECONDS

APIS = ("ollama", "openai")
KEY = "a-key-that-nobody-may-see-1"
SOON = 0.4
"""Seconds for a case whose outcome is that time has passed; everything else has all the time there is."""


def model(
    api: str, url: str, *, silence: float = PATIENCE_SECONDS, answer: float = 2 * PATIENCE_SECONDS
) -> ServedModel:
    if api == "ollama":
        return OllamaModel("box", url, MODEL, key=KEY, silence_seconds=silence, answer_seconds=answer)
    place = server_address(f"{url}/v1")
    return OpenAIModel("box", place, MODEL, key=KEY, silence_seconds=silence, answer_seconds=answer)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("case", CASES)
def test_what_becomes_of_a_misbehaving_server(api: str, case: str) -> None:
    behaviour, wanted = CASES[case]
    with hostile(api, behaviour) as server:
        asked = model(api, server.url)
        holds_up(asked, wanted)
        asked.close()
        assert all(KEY in top for _, top, _ in server.asked), "its own server gets the key"


def holds_up(asked: ServedModel, wanted: Outcome) -> Reply | ServerError:
    try:
        reply = asked.ask(question())
    except ServerError as failed:
        assert (failed.code, failed.is_transient) == (wanted.code, wanted.transient), str(failed)
        assert wanted.status in (None, failed.status)
        assert str(failed).isprintable(), "one line that says nothing to the terminal"
        assert KEY not in f"{failed}{failed.reason}{failed.to_json()}"
        return failed
    assert wanted.code is None, f"an answer came: {reply.text[:200]!r}"
    assert reply.finish == wanted.finish
    assert wanted.text in (None, reply.text)
    reply.text.encode()
    counts = (reply.prompt_tokens, reply.completion_tokens, reply.prompt_seconds, reply.completion_seconds)
    assert all(count is None or 0 <= count < 1e18 for count in counts)
    assert len(reply.text) <= LONGEST_ANSWER_CHARACTERS
    return reply


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("behaviour", "limits"),
    [
        (stalls_at_once, {"silence": SOON}),
        (stalls_in_the_middle, {"silence": SOON}),
        (stalls_at_once, {"answer": SOON}),
        (stalls_in_the_middle, {"answer": SOON}),
        (trickles, {"answer": SOON}),
        (trickling_head, {"answer": SOON}),
        (endless(""), {"answer": SOON}),
    ],
)
def test_a_server_that_does_not_come_to_an_end_is_left(
    api: str, behaviour: Behaviour, limits: dict[str, float]
) -> None:
    with hostile(api, behaviour) as server:
        failed = holds_up(model(api, server.url, **limits), Outcome("server_slow"))
    assert isinstance(failed, ServerError)
    assert f"{SOON:g} s" in failed.message


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("behaviour", [stalls_at_once, stalls_in_the_middle, trickles, trickling_head])
def test_a_request_is_given_up_whatever_the_server_does(api: str, behaviour: Behaviour) -> None:
    begun, stop = threading.Event(), threading.Event()

    def then_behaves(connection: Connection) -> None:
        begun.set()
        behaviour(connection)

    def stop_once_begun() -> None:
        begun.wait(PATIENCE_SECONDS)
        stop.set()

    with hostile(api, then_behaves) as server:
        asked = model(api, server.url)
        threading.Thread(target=stop_once_begun, daemon=True).start()
        with pytest.raises(ServerError) as caught:
            asked.ask(question(), stop.is_set)
    assert (caught.value.code, caught.value.is_transient) == ("request_stopped", False)


@pytest.mark.parametrize("api", APIS)
def test_how_long_a_busy_server_wants_to_be_left_alone(api: str) -> None:
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 1000))
    for written, seconds in (("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("nan", None), ("soon", None), (later, 1000.0)):
        with hostile(api, error(429, "slow down", f"Retry-After: {written}")) as server:
            failed = holds_up(model(api, server.url), Outcome("server_busy"))
        assert isinstance(failed, ServerError)
        told = failed.retry_after_seconds
        assert told == seconds or (told is not None and seconds == 1000 and 1000 - PATIENCE_SECONDS < told <= 1000)


@pytest.mark.parametrize("api", APIS)
def test_a_key_does_not_follow_a_redirect(api: str) -> None:
    with hostile(api, lambda connection: None) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            place = f"Location: {elsewhere.url}/v1/chat/completions"
            with hostile(api, sends(whole(status, b"", place))) as server:
                failed = holds_up(model(api, server.url), Outcome("server_refused", transient=False))
            assert elsewhere.url in str(failed), "one learns where it wanted to send us"
        assert elsewhere.asked == []


@pytest.mark.parametrize("api", APIS)
def test_a_server_that_changes_its_version_half_way_is_another(api: str) -> None:
    def behave(connection: Connection) -> None:
        connection.begin()
        connection.say("a")
        connection.end()

    with hostile(api, behave) as server:
        asked = model(api, server.url)
        before = asked.identity()
        asked.ask(question())
        assert asked.identity() == before
        server.version = "0.34.1"
        asked.ask(question())
        after = asked.identity()
    assert after.changed_from(before) == ("version",)
    assert after.sha256 != before.sha256


@pytest.mark.parametrize("api", APIS)
def test_whatever_is_asked_arrives_as_it_is(api: str) -> None:
    with hostile(api, raw_piece(b'"a"')) as server:
        model(api, server.url).ask(question(NAME))
        (_, _, body) = server.asked[-1]
    assert body["messages"] == [{"role": "user", "content": NAME}]


def test_an_answer_of_one_token_over_and_over_is_the_models_own_fault() -> None:
    """Ollama ends the stream after 30 of them, without a last line and without an error."""

    def behave(connection: Connection) -> None:
        connection.begin()
        for _ in range(31):
            connection.say(" a")

    with hostile("ollama", behave) as server:
        holds_up(model("ollama", server.url), Outcome(finish="length", text=" a" * 31))


@pytest.mark.parametrize("api", APIS)
def test_each_piece_is_told_as_it_comes(api: str) -> None:
    """The server says the next one only once the last one was told."""
    told = threading.Semaphore(0)

    def behave(connection: Connection) -> None:
        connection.begin()
        for _ in range(3):
            connection.say("a")
            assert told.acquire(timeout=PATIENCE_SECONDS)
        connection.send(piece(connection.api, b'""', b'"hm"'))
        assert told.acquire(timeout=PATIENCE_SECONDS)
        connection.end()

    with hostile(api, behave) as server:
        reply = model(api, server.url).ask(question(), came=told.release)
    assert (reply.text, reply.thinking) == ("aaa", "hm")


@pytest.mark.parametrize("api", APIS)
def test_a_server_of_one_slot_is_given_the_time_of_those_before(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes of an answer while the server gives another one that was asked for with it."""
    both, silences = threading.Barrier(2), []
    lines = HttpClient.lines

    def noted(client: HttpClient, *given: Any, silence_seconds: float, **more: Any) -> Any:
        silences.append(silence_seconds)
        both.wait(PATIENCE_SECONDS)
        return lines(client, *given, silence_seconds=silence_seconds, **more)

    monkeypatch.setattr(HttpClient, "lines", noted)
    with hostile(api, raw_piece(b'"a"')) as server:
        asked = model(api, server.url, silence=40.0)
        asked.capabilities()
        threads = [threading.Thread(target=asked.ask, args=(question(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(silences)[-1] == 80.0 and set(silences) <= {40.0, 80.0}


@pytest.mark.parametrize("finish", [b'"error"', b'"abort"'])
def test_an_answer_that_a_gateway_could_not_give_to_its_end_is_none(finish: bytes) -> None:
    with hostile("openai", with_finish(finish)) as server:
        holds_up(model("openai", server.url), Outcome("server_garbled"))


def test_a_reply_names_who_gave_it() -> None:
    def behave(connection: Connection) -> None:
        connection.begin()
        connection.send(b'data: {"model": "tiny", "choices": [{"delta": {"content": "a"}}]}\n\n')
        connection.end()

    with hostile("openai", behave) as server:
        assert model("openai", server.url).ask(question()).other_model == "tiny"
    with hostile("openai", raw_piece(b'"a"')) as server:
        assert model("openai", server.url).ask(question()).other_model is None


@pytest.mark.parametrize("finish", [b'"max_tokens"', b'"MAX_TOKENS"', b'"length"'])
def test_an_answer_that_ran_to_its_limit_is_known_in_every_word_for_it(finish: bytes) -> None:
    with hostile("openai", with_finish(finish)) as server:
        holds_up(model("openai", server.url), Outcome(finish="length", text="a"))


def test_a_mark_of_byte_order_before_a_stream_is_none_of_it() -> None:
    def behave(connection: Connection) -> None:
        connection.begin()
        connection.send(b"\xef\xbb\xbf")
        connection.say("a")
        connection.end()

    with hostile("openai", behave) as server:
        holds_up(model("openai", server.url), Outcome(text="a"))


@pytest.mark.parametrize("api", APIS)
def test_a_key_that_is_taken_back_half_way_is_told_as_a_key(api: str) -> None:
    with hostile(api, error(401, "no such key")) as server:
        failed = holds_up(model(api, server.url), Outcome("server_refused", transient=False, status=401))
    assert "did not accept this key (401)" in str(failed)
