"""A model of a server with OpenAI's API: what each kind of server is sent, and what is made of what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.serving.address import server_address
from core.serving.errors import ServerError
from core.serving.openai import other_model, text_and_thought
from core.serving.openai_model import OpenAIModel
from tests.support.hostile_server import MODEL, Connection, HostileServer, hostile, piece, whole
from tests.support.ollama_served import failure
from tests.support.questions import EVERY_OPTION

SCHEMA = '{"type": "object"}'
NOTHING = (404, {"error": "not here"})
# What each kind of server has beside the API, and what it is sent beside what all are.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama-server": (
        {"/props": {"build_info": "b11434-abc", "chat_template": "{% if enable_thinking %}"}},
        {"top_k": 20, "repeat_penalty": 1.1, "cache_prompt": True, "min_p": 0.0, "repeat_last_n": 64},
    ),
    "vllm": ({"/version": {"version": "0.11.0"}}, {"top_k": 20, "repetition_penalty": 1.1, "min_p": 0.0}),
    "lm-studio": ({"/api/v0/models": {"data": []}}, {"top_k": 20, "repeat_penalty": 1.1}),
    "openai": ({}, {}),
}
ALL = {
    "seed": 5,
    "temperature": 0.3,
    "top_p": 0.9,
    "max_tokens": 8,
    "stream": True,
    "stream_options": {"include_usage": True},
}
QUESTION = replace(EVERY_OPTION, think=True)


def good(connection: Connection) -> None:
    connection.begin()
    connection.say("Yes")
    connection.end()


def opened(server: HostileServer, kind: str = "openai", **more: Any) -> OpenAIModel:
    server.documents = {"/props": NOTHING, **server.documents, **KINDS[kind][0]}
    return OpenAIModel("box", server_address(f"{server.url}/v1"), MODEL, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_server_is_sent_what_it_takes(kind: str) -> None:
    with hostile("openai", good) as server:
        model = opened(server, kind)
        assert model.ask(QUESTION).text == "Yes"
        sent = server.asked[-1][2]
    assert sent["messages"] == [
        {"role": "system", "content": "You judge."},
        {"role": "user", "content": "Is bread good?"},
    ]
    more = KINDS[kind][1]
    assert {key: sent.get(key) for key in (*ALL, *more)} == ALL | more
    if kind in ("llama-server", "vllm"):
        assert sent["chat_template_kwargs"] == {"enable_thinking": True}
    else:
        assert "chat_template_kwargs" not in sent
    if kind == "openai":
        assert set(sent) == {*ALL, "messages", "model"}, "a hosted server refuses what it does not know"
    assert model.capabilities().unsent == ({"top_k", "repeat_penalty"} if kind == "openai" else set())
    assert model.capabilities().thinking is (True if kind == "llama-server" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_no_cut_is_said_in_the_words_of_each(kind: str) -> None:
    with hostile("openai", good) as server:
        opened(server, kind).ask(replace(QUESTION, top_p=None, top_k=None))
        sent = server.asked[-1][2]
    assert sent["top_p"] == 1.0
    assert sent.get("top_k") == {"llama-server": 0, "vllm": -1, "lm-studio": 0, "openai": None}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_held_to_a_form_where_the_server_can(kind: str) -> None:
    forms = {"json": "", "schema": SCHEMA, "grammar": 'root ::= "x"'}
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}
    plain = {"response_format": {"type": "json_object"}}
    wanted: dict[str, Any] = {
        "llama-server": (plain, {"response_format": schema}, {"grammar": forms["grammar"]}),
        "vllm": (
            plain,
            {"structured_outputs": {"json": {"type": "object"}}},
            {"structured_outputs": {"grammar": forms["grammar"]}},
        ),
        "lm-studio": (None, {"response_format": schema}, None),
        "openai": (plain, {"response_format": schema}, None),
    }
    with hostile("openai", good) as server:
        model = opened(server, kind)
        for (form, text), fields in zip(forms.items(), wanted[kind], strict=True):
            asked = replace(QUESTION, output=(form, text))  # type: ignore[arg-type]
            assert (form in model.capabilities().formats) == (fields is not None)
            if fields is None:
                assert failure(lambda asked=asked: model.ask(asked)).code == "option_refused"  # type: ignore[misc]
                continue
            model.ask(asked)
            assert fields.items() <= server.asked[-1][2].items()


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": "Unrecognized request argument supplied: seed", "type": "invalid_request_error"}},
        {"error": {"message": "Unsupported parameter: 'seed' is not supported with this model.", "param": "seed"}},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        {"object": "error", "message": "property 'seed' is unsupported", "type": "invalid_request_error"},
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_an_option_that_is_refused_is_named_and_can_be_left_out(said: dict[str, Any], status: int) -> None:
    def behave(connection: Connection) -> None:
        refuse = "seed" in connection.server.asked[-1][2]
        connection.send(whole(status, json.dumps(said).encode())) if refuse else good(connection)

    with hostile("openai", behave) as server:
        error = failure(lambda: opened(server).ask(QUESTION))
        assert (error.code, error.is_transient) == ("option_refused", False)
        assert error.reason.values["option"] == "seed"
        assert "`omit: [seed]`" in str(error)
        model = opened(server, omit=("seed",))
        assert model.ask(QUESTION).text == "Yes"
        assert (model.capabilities().seed, "seed" in model.capabilities().unsent) == (False, True)


def test_the_newer_name_of_the_length_limit_is_found_out_once() -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."

    def behave(connection: Connection) -> None:
        if "max_tokens" in connection.server.asked[-1][2]:
            connection.send(whole(400, json.dumps({"error": {"message": said}}).encode()))
        else:
            good(connection)

    with hostile("openai", behave) as server:
        model = opened(server)
        assert [model.ask(QUESTION).text for _ in range(2)] == ["Yes", "Yes"]
        questions = [body for path, _, body in server.asked if path.endswith("completions")]
    assert [body.get("max_completion_tokens") for body in questions] == [None, 8, 8]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_in_a_field_of_its_own_is_kept_apart(field: str) -> None:
    def behave(connection: Connection) -> None:
        connection.begin()
        for part in ("so", " so"):
            connection.send(
                piece("openai", b'""', json.dumps(part).encode()).replace(b"reasoning_content", field.encode())
            )
        good_rest(connection)

    def good_rest(connection: Connection) -> None:
        connection.say("Yes")
        usage = {"prompt_tokens": 9, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 4}}
        last = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        connection.send(b"data: %b\n\n" % json.dumps(last).encode())
        connection.send(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"choices": [], "usage": usage}).encode())

    with hostile("openai", behave) as server:
        reply = opened(server).ask(QUESTION)
    assert (reply.text, reply.thinking, reply.thinking_tokens, reply.completion_tokens) == ("Yes", "so so", 4, 7)


def test_a_model_that_a_server_does_not_list_is_refused_with_those_that_it_lists() -> None:
    with hostile("openai", good) as server:
        server.documents["/v1/models"] = {"data": [{"id": "a"}, {"id": "b\x1b[2J"}, {"name": "no id"}, 3]}
        error = failure(opened(server).identity)
        assert (error.code, "it has a, b" in str(error)) == ("model_not_found", True)
        server.documents["/v1/models"] = {"data": []}
        assert "it has none" in str(failure(opened(server).identity))
        server.documents["/v1/models"] = {"models": "none"}
        assert failure(opened(server).identity).code == "server_garbled"


def test_a_load_waits_for_a_server_that_loads() -> None:
    with hostile("openai", good) as server:
        props = {"/props": (503, {"error": {"message": "Loading model", "code": 503, "type": "unavailable_error"}})}
        server.documents = dict(props)
        model = OpenAIModel("box", server_address(f"{server.url}/v1"), MODEL)
        asked = iter(range(100))
        usual = server._usual

        def until_loaded(path: str) -> bytes:
            if path == "/props" and next(asked) == 3:
                server.documents = {**KINDS["llama-server"][0], "/health": {"status": "ok"}}
            return usual(path)

        server._usual = until_loaded  # type: ignore[method-assign]
        error = failure(lambda: model.ask(QUESTION))
        assert (error.code, error.is_transient) == ("server_busy", True)
        assert not model.load(256).was_resident
        assert model.load(256).was_resident


def test_known_weights_are_the_same_at_any_address() -> None:
    with hostile("openai", good) as one, hostile("openai", good) as other:
        known = [opened(server, "llama-server", weights="sha256:1").identity() for server in (one, other)]
        unknown = [opened(server, "llama-server").identity() for server in (one, other)]
    assert known[0] == known[1]
    assert unknown[1].changed_from(unknown[0]) == ("server",)


def test_a_key_is_sent_to_all_paths_of_its_server() -> None:
    with hostile("openai", good) as server:
        model = opened(server, "llama-server", key="secret-key-1")
        model.load(1)
        model.ask(QUESTION)
        heads = {path: head for path, head, _ in server.asked}
        assert {"/props", "/health", "/v1/models", "/v1/chat/completions"} <= set(heads)
        assert all("Bearer secret-key-1" in head for head in heads.values())
        basic = opened(server, key="Basic dTpw")
        basic.ask(QUESTION)
        assert "uthorization: Basic dTpw\r\n" in server.asked[-1][1]


def test_an_address_without_the_apis_path_is_completed() -> None:
    with hostile("openai", good) as server:
        for path in ("", "/v1", "/v1/"):
            model = OpenAIModel("box", server_address(f"{server.url}{path}"), MODEL)
            assert model.ask(QUESTION).text == "Yes"
        with pytest.raises(ServerError) as caught:
            OpenAIModel("box", server_address(f"{server.url}/elsewhere"), MODEL).ask(QUESTION)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("asked", "told", "other"),
    [
        ("m", None, None),
        ("gpt-4o", "gpt-4o-2026-08-06", None),
        ("org/Qwen3-4B", "qwen3-4b", None),
        ("qwen3-4b", "/models/Qwen3-4B.gguf", None),
        ("qwen", "qwen:latest", None),
        ("llama3", "llama3.1", "llama3.1"),
        ("big", "tiny\x1b[2J", "tiny"),
    ],
)
def test_a_reply_of_another_model_is_known_by_its_name(asked: str, told: str | None, other: str | None) -> None:
    found = other_model(asked, told)
    assert found == other or (
        other is not None and found is not None and found.startswith(other) and found.isprintable()
    )


THOUGHT_PART = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    ("part", "text", "thought"),
    [
        ({"content": "a"}, "a", None),
        ({"reasoning_content": "hm"}, None, "hm"),
        ({"reasoning": "hm", "reasoning_content": None}, None, "hm"),
        ({"thinking": "hm", "content": ""}, None, "hm"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", None),
        ({"content": [THOUGHT_PART, {"type": "text", "text": "a"}]}, "a", "hm"),
        ({"content": None, "refusal": "I cannot"}, "I cannot", None),
        ({"content": ["a", 3, None, {"type": "text", "text": {}}]}, None, None),
        ({"content": 3, "refusal": [], "thinking": {}}, None, None),
    ],
)  # fmt: skip
def test_what_is_said_and_what_was_thought_in_every_way_of_writing_it(
    part: dict[str, object], text: str | None, thought: str | None
) -> None:
    said, thinking = text_and_thought(part)
    assert (said or None, thinking) == (text, thought)
