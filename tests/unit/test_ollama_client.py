"""The client of Ollama, over real sockets, against a stand-in of two versions: what it holds, and what a model answers."""

from __future__ import annotations

import threading
import time

import pytest

from core.serving.ollama import Ollama
from tests.support.ollama_samples import THINKS
from tests.support.ollama_served import CONTEXT, QUESTION, failure
from tests.support.ollama_standin import OllamaStandin
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process


def names(ollama: Ollama) -> set[str]:
    return {resident.name for resident in ollama.ps()}


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
    assert [asked.body["keep_alive"] for asked in standin.requests if asked.body] == [1]
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
        template=THINKS,
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
    standin.add_model("thinker", template=THINKS, answer="<think>flour?</think>Flour.")
    answer = ollama.chat("thinker", QUESTION, stream=stream)
    assert (answer.text, answer.thinking) == ("Flour.", "flour?")
    error = failure(lambda: ollama.chat("planner", QUESTION, fields={"think": True}))
    assert (error.code, error.status, error.message) == ("server_refused", 400, '"planner" does not support thinking')


def test_a_render_is_an_answer_of_its_own(ollama: Ollama) -> None:
    answer = ollama.chat("planner", QUESTION, stream=False, fields={"_debug_render_only": True})
    assert "What is bread made of?" in (answer.rendered or "")
    assert answer.text == ""
