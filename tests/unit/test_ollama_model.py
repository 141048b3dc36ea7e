"""A model of an Ollama as whoever answers in a bake-off, against a stand-in of two versions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.serving import ollama_model
from core.serving.errors import ServerError
from core.serving.ollama import Ollama
from core.serving.ollama_model import KEEP_ALIVE_SECONDS, OllamaModel
from tests.support.hostile_server import Connection, hostile
from tests.support.ollama_samples import THINKS
from tests.support.ollama_served import CONTEXT, failure
from tests.support.ollama_standin import VERSIONS, OllamaStandin
from tests.support.questions import EVERY_OPTION
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process


@pytest.fixture(params=VERSIONS)
def standin(request: pytest.FixtureRequest) -> Iterator[OllamaStandin]:
    with OllamaStandin(request.param, load_seconds=0.05, token_seconds=0.001) as server:
        server.add_model(
            "judge:v1", kv_bytes_per_token=20_000, system="Be brief.", parameters={"stop": ["###"], "top_k": 7}
        )
        server.copy_model("judge:v1", "judge:rollback")
        server.add_model("planner")
        server.add_model("thinker", template=THINKS, answer="<think>so so</think>Yes")
        yield server


@pytest.fixture
def judge(standin: OllamaStandin) -> Iterator[OllamaModel]:
    model = OllamaModel("ollama", standin.url, "judge:v1")
    yield model
    model.close()


QUESTION = replace(EVERY_OPTION, context_length=CONTEXT)


def test_a_model_is_named_by_all_that_its_answers_depend_on(standin: OllamaStandin, judge: OllamaModel) -> None:
    assert judge.name == "ollama:judge:v1"
    identity = judge.identity()
    assert (identity.version, identity.weights) == (standin.version, standin.models["judge:v1"].blob)
    assert identity.parameters["stop"] == ["###"]
    assert identity.parameters["system"] == "Be brief."
    assert "top_k" not in identity.parameters, "a question brings its own"
    standin.add_model("judge:v1", blob="sha256:" + "b" * 64, system="Be brief.", parameters={"stop": ["###"]})
    assert judge.identity().changed_from(identity) == ("weights",)
    standin.add_model(
        "judge:v1", blob=identity.weights, system="Be long.", template=THINKS, adapter="sha256:" + "c" * 64
    )
    changed = judge.identity()
    assert changed.changed_from(identity) == ("template", "parameters")
    assert changed.parameters["adapters"] == ["sha256:" + "c" * 64]


def test_every_option_is_sent(standin: OllamaStandin, judge: OllamaModel) -> None:
    judge.ask(QUESTION)
    body = standin.requests[-1].body or {}
    assert body["options"] == {
        "num_ctx": CONTEXT,
        "num_predict": 8,
        "seed": 5,
        "temperature": 0.3,
        "top_p": 0.9,
        "top_k": 20,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
        "min_p": 0.0,
        "typical_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    assert (body["truncate"], body["shift"], body["stream"]) == (False, False, True)
    assert body["keep_alive"] == KEEP_ALIVE_SECONDS
    assert "think" not in body, "a model without thinking refuses to be told about it"
    judge.ask(replace(QUESTION, top_p=None, top_k=None, output=("schema", '{"type": "object"}')))
    body = standin.requests[-1].body or {}
    assert (body["options"]["top_p"], body["options"]["top_k"]) == (1.0, 0), "no cut"
    assert body["format"] == {"type": "object"}
    judge.ask(replace(QUESTION, output=("json", "")))
    assert (standin.requests[-1].body or {})["format"] == "json"
    for output in (("grammar", "root ::= x"), ("schema", "no"), ("schema", "[]")):
        assert failure(lambda output=output: judge.ask(replace(QUESTION, output=output))).code == "option_refused"  # type: ignore[misc]


def test_a_version_is_told_only_what_it_knows() -> None:
    def answer(connection: Connection) -> None:
        connection.begin()
        connection.end()

    for version, cuts in (("0.12.5", False), ("0.12.6", True), ("0.33.0-rc2", True), ("0.0.0", True), ("a fork", True)):
        with hostile("ollama", answer) as server:
            server.version = version
            model = OllamaModel("ollama", server.url, "m")
            model.ask(QUESTION)
            assert ("truncate" in server.asked[-1][2], "shift" in server.asked[-1][2]) == (cuts, cuts)
    with hostile("ollama", answer) as server:
        server.version = "0.4.7"
        assert OllamaModel("ollama", server.url, "m").capabilities().formats == {"json"}


def test_an_answer_comes_with_what_it_took(judge: OllamaModel) -> None:
    judge.load(CONTEXT)
    reply = judge.ask(QUESTION)
    assert (reply.text, reply.finish, reply.completion_tokens) == ("1 2 3 4 5 6 7 8", "length", 8)
    assert reply.thinking is None
    assert reply.prompt_tokens
    assert reply.completion_seconds is not None
    assert reply.first_token_seconds is not None
    assert 0 < reply.first_token_seconds < reply.seconds
    assert reply.completion_seconds <= reply.seconds


def test_thinking_is_kept_apart_and_timed_as_the_first_of_an_answer(standin: OllamaStandin) -> None:
    thinker = OllamaModel("ollama", standin.url, "thinker")
    assert thinker.capabilities().thinking is True
    for think, thinking in ((True, "so so"), (False, None)):
        reply = thinker.ask(replace(QUESTION, think=think))
        assert (standin.requests[-1].body or {})["think"] is think
        assert reply.thinking == thinking
    assert OllamaModel("ollama", standin.url, "planner").capabilities().thinking is False


def test_a_load_says_how_long_it_took_and_whether_it_was_there(standin: OllamaStandin, judge: OllamaModel) -> None:
    first = judge.load(CONTEXT)
    assert not first.was_resident
    assert first.seconds >= 0.05
    assert first.vram_bytes == 143_000_000 + 20_000 * CONTEXT
    assert judge.load(CONTEXT).was_resident
    # Another tag of the same weights shares the runner; another window is a load.
    assert OllamaModel("ollama", standin.url, "judge:rollback").load(CONTEXT).was_resident
    assert not judge.load(2 * CONTEXT).was_resident
    asked = len(standin.requests)
    judge.ask(replace(QUESTION, context_length=2 * CONTEXT))
    assert all(request.path != "/api/generate" for request in standin.requests[asked:]), "nothing is loaded again"


def test_an_unload_lasts_until_the_weights_are_gone(standin: OllamaStandin, judge: OllamaModel) -> None:
    OllamaModel("ollama", standin.url, "judge:rollback").load(CONTEXT)
    OllamaModel("ollama", standin.url, "planner").load(CONTEXT)
    with standin.answering("judge:rollback", num_ctx=CONTEXT) as client:
        thread = threading.Thread(target=judge.unload)
        thread.start()
        wait_until(lambda: standin.unloads(), what="an unload")
        assert "judge:rollback" in standin.listed()
        assert thread.is_alive(), "somebody is answered still"
        client.end()
        thread.join()
    assert standin.listed() == ["planner:latest"]


def test_a_model_that_comes_up_after_the_request_is_asked_to_go_again(
    standin: OllamaStandin, judge: OllamaModel
) -> None:
    """While it loads it is not listed, and an unload has no effect on it."""
    loaded = threading.Event()
    standin.models["judge:v1"].loads_until = loaded
    other = threading.Thread(target=lambda: OllamaModel("ollama", standin.url, "judge:v1").load(CONTEXT))
    other.start()
    wait_until(lambda: any(asked.path == "/api/generate" for asked in standin.requests), what="its load")
    judge.unload()
    loaded.set()
    other.join()
    judge.unload()
    assert standin.listed() == []


def test_a_model_that_does_not_go_is_told(
    standin: OllamaStandin, judge: OllamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ollama_model, "UNLOAD_SECONDS", 0.3)
    with standin.answering("judge:v1"):
        error = failure(judge.unload)
    assert (error.code, "still in memory" in error.message) == ("server_slow", True)


def test_others_are_seen_by_what_their_requests_move(standin: OllamaStandin, judge: OllamaModel) -> None:
    OllamaModel("ollama", standin.url, "planner").load(CONTEXT)
    judge.load(CONTEXT)
    judge.ask(QUESTION)
    assert judge.others_active() is False
    assert judge.others_active() is False, "a model that is only there does nothing"
    with standin.answering("planner", seconds=0.01, num_ctx=CONTEXT) as client:
        client.join()
    assert judge.others_active() is True
    assert judge.others_active() is False
    judge.ask(QUESTION)
    assert judge.others_active() is False, "what we asked ourselves is not somebody else's"
    with standin.answering("judge:rollback", seconds=0.01, num_ctx=CONTEXT) as client:
        client.join()
    assert judge.others_active() is True, "another client, the same runner"
    standin.add_model("newcomer")
    judge.ask(QUESTION)
    judge.others_active()
    with standin.answering("newcomer", seconds=0.01) as client:
        client.join()
    assert judge.others_active() is True


def test_refusals_are_told_apart(standin: OllamaStandin, judge: OllamaModel) -> None:
    error = failure(lambda: OllamaModel("ollama", standin.url, "nobody").ask(QUESTION))
    assert (error.code, error.is_transient) == ("model_not_found", False)
    assert all(name in str(error) for name in standin.models)
    error = failure(lambda: judge.ask(replace(QUESTION, messages=(("user", "word " * 2 * CONTEXT),))))
    assert (error.code, error.is_transient) == ("context_overflow", False)
    standin.scheduler.memory_bytes = 1_000
    error = failure(lambda: OllamaModel("ollama", standin.url, "planner").load(CONTEXT))
    assert (error.code, error.is_transient) == ("server_out_of_memory", False)


def test_a_model_that_is_removed_meanwhile_is_not_found(standin: OllamaStandin, judge: OllamaModel) -> None:
    judge.ask(QUESTION)
    standin.remove_model("judge:v1")
    error = failure(lambda: judge.ask(QUESTION))
    assert (error.code, "it has" in str(error)) == ("model_not_found", True)


def test_a_server_that_is_full_or_breaks_may_be_asked_again(standin: OllamaStandin, judge: OllamaModel) -> None:
    judge.load(CONTEXT)
    standin.drop_next("/api/chat", after_lines=2)
    for code in ("server_down", "server_busy", "server_refused"):
        if code == "server_busy":
            standin.answer_next(b'{"error": "server busy, please try again."}', "/api/chat", status=503)
        if code == "server_refused":
            sent = standin.lines_sent

            def kill(sent: int = sent) -> None:
                wait_until(lambda: standin.lines_sent > sent + 3, what="an answer")
                standin.kill_runner("judge:v1")

            thread = threading.Thread(target=kill)
            thread.start()
            error = failure(lambda: judge.ask(replace(QUESTION, max_new_tokens=10**6)))
            thread.join()
        else:
            error = failure(lambda: judge.ask(QUESTION))
        assert (error.code, error.is_transient) == (code, True)
    assert isinstance(error, ServerError)
    assert judge.ask(QUESTION).text.startswith("1 2 3")


def test_an_answer_that_would_run_over_the_window_ends_there(standin: OllamaStandin) -> None:
    judge = OllamaModel("ollama", standin.url, "planner")
    reply = judge.ask(replace(QUESTION, context_length=64, max_new_tokens=1000))
    assert reply.finish == "length"
    assert (reply.completion_tokens or 0) < 64


def test_a_tag_that_is_created_anew_leaves_a_runner_that_no_request_reaches(
    standin: OllamaStandin, judge: OllamaModel
) -> None:
    """It is listed under the same name, and is neither ours nor waited for."""
    judge.load(CONTEXT)
    before = judge.stamp()
    standin.add_model("judge:v1", blob="sha256:" + "b" * 64)
    assert judge.stamp() != before
    judge.identity()
    assert not judge.load(CONTEXT).was_resident
    assert [one.name for one in Ollama(standin.url).ps()] == ["judge:v1", "judge:v1"]
    judge.unload()
    (former,) = Ollama(standin.url).ps()
    assert former.name == "judge:v1" and former.expires_at is not None


def test_a_tag_that_was_another_one_for_a_moment_has_another_stamp(standin: OllamaStandin, judge: OllamaModel) -> None:
    identity, stamp, model = judge.identity(), judge.stamp(), standin.models["judge:v1"]
    assert judge.stamp() == stamp, "asking for an answer does not move it"
    standin.add_model("judge:v1", blob="sha256:" + "b" * 64)
    standin.models["judge:v1"] = replace(model, modified_at=model.modified_at + 2.0)
    assert judge.identity() == identity and judge.stamp() != stamp


@pytest.mark.parametrize("kept", [-1.0, 7000.0])
@pytest.mark.parametrize("context", [CONTEXT, 2 * CONTEXT])
@pytest.mark.parametrize("tag", ["judge:v1", "judge:rollback"])
def test_what_was_loaded_before_is_so_again(
    standin: OllamaStandin, judge: OllamaModel, tag: str, context: int, kept: float
) -> None:
    """With its window and its keep-alive, under whatever tag of the weights."""
    client = Ollama(standin.url)
    client.load(tag, context_length=context, keep_alive_seconds=kept)
    assert judge.load(CONTEXT).was_resident is (context == CONTEXT)
    judge.ask(QUESTION)
    judge.unload()
    (there,) = client.ps()
    stays = there.keep_alive_seconds(time.time())
    assert (there.name, there.context_length) == (tag, context) and stays is not None
    assert stays == -1.0 if kept == -1.0 else 6000 < stays <= 7000


def test_what_a_client_has_had_loaded_since_under_another_tag_is_theirs(
    standin: OllamaStandin, judge: OllamaModel
) -> None:
    client = Ollama(standin.url)
    judge.load(CONTEXT)
    client.unload("judge:v1")
    wait_until(lambda: not client.ps())
    client.load("judge:rollback", context_length=CONTEXT, keep_alive_seconds=500.0)
    judge.unload()
    assert [one.name for one in client.ps()] == ["judge:rollback"]


def test_a_window_that_the_server_has_cut_is_told(standin: OllamaStandin, judge: OllamaModel) -> None:
    assert judge.load(CONTEXT).context_length == CONTEXT
    trained = standin.models["judge:v1"].trained_context
    assert judge.load(4 * trained).context_length == trained


@pytest.mark.parametrize("more", [{"template": "{{ .Prompt }}"}, {"parameters": {"stop": ["###"]}}])
def test_two_models_of_the_same_weights_are_never_answered_for_by_one_process(
    standin: OllamaStandin, judge: OllamaModel, more: dict[str, Any]
) -> None:
    """Neither where somebody had the one in memory before, nor afterwards: that one is there again, made for itself."""
    standin.add_model("judge:other", blob=standin.models["judge:v1"].blob, **more)
    Ollama(standin.url).load("judge:other", context_length=CONTEXT, keep_alive_seconds=-1.0)
    former = standin.pid_of("judge:other")
    assert not judge.load(CONTEXT).was_resident
    assert standin.listed() == ["judge:v1"] and standin.pid_of("judge:v1") != former
    judge.ask(QUESTION)
    ours = standin.pid_of("judge:v1")
    judge.unload()
    assert standin.listed() == ["judge:other"] and standin.pid_of("judge:other") not in (former, ours)


def test_a_runner_whose_tag_was_replaced_is_known_by_the_tag_that_keeps_its_model(
    standin: OllamaStandin, judge: OllamaModel
) -> None:
    """As a deployment leaves it: what ran goes on under the name that is another model's now."""
    Ollama(standin.url).load("judge:v1", context_length=CONTEXT, keep_alive_seconds=-1.0)
    former, blob = standin.pid_of("judge:v1"), standin.models["judge:v1"].blob
    standin.add_model("judge:v1", blob="sha256:" + "b" * 64)
    standin.add_model("judge:v2", blob=blob, template="{{ .Prompt }}")
    ours = OllamaModel("ollama", standin.url, "judge:v2")
    assert not ours.load(CONTEXT).was_resident
    assert standin.listed() == ["judge:v2"] and standin.pid_of("judge:v2") != former
    ours.unload()
    assert standin.listed() == ["judge:v1"], "who had the name in memory has what it means now"
    ours.close()
