"""What real servers answered, replayed through the models that are asked: Ollama 0.24.0 and 0.33.0-rc2, and llama-server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.serving.address import server_address
from core.serving.errors import ServerError
from core.serving.ollama_model import OllamaModel
from core.serving.openai_model import OpenAIModel
from tests.support.hostile_server import STREAM, Connection, hostile, whole
from tests.support.questions import question

SHARED = Path(__file__).parents[2].parent / "shared" / "ollama"
RECORDED, LLAMA = SHARED / "recorded", SHARED / "llamacpp"
needs_llama = pytest.mark.skipif(
    not LLAMA.is_dir(), reason="the replies of llama-server (shared/ollama/llamacpp) are not here"
)

QUESTION = question("What is bread made of?", seed=7, max_new_tokens=40)
ERRORS = {
    "exceeds the context length": ("context_overflow", False),
    "exceeds the available context size": ("context_overflow", False),
    "not found": ("model_not_found", False),
    "system memory": ("server_out_of_memory", False),
    "insufficient memory": ("server_out_of_memory", False),
    "an error was encountered": ("server_refused", True),
    "invalid format": ("option_refused", False),
    "must be of type": ("option_refused", False),
    "does not support": ("server_refused", False),
}


def answers() -> list[Any]:
    """The recorded answers to questions, and the errors of which the outcome is known."""
    files = sorted(RECORDED.glob("*/*.json"))
    if not files:
        return [
            pytest.param(None, marks=pytest.mark.skip(reason="the recorded exchanges (shared/ollama) are not here"))
        ]
    found = []
    for file in files:
        exchange = json.loads(file.read_text())
        response = exchange.get("response") or {}
        body = response.get("json")
        is_chat = exchange.get("request", {}).get("path") == "/api/chat"
        streamed = is_chat and "lines" in response and "client_closed_after_lines" not in response
        answered = is_chat and isinstance(body, dict) and body.get("done") and body["message"]["content"]
        refused = isinstance(body, dict) and any(words in str(body.get("error")) for words in ERRORS)
        if streamed or answered or refused:
            found.append(pytest.param(exchange, id=f"{file.parent.name}/{file.stem}"))
    return found


@pytest.mark.parametrize("exchange", answers())
def test_a_recorded_answer_is_read(exchange: dict[str, Any]) -> None:
    response = exchange["response"]
    documents = [
        line["line"] for line in response.get("lines", []) if "line" in line
    ]  # some are left out in the recording
    documents = documents or [response["json"]]
    raw = "".join(json.dumps(document) + "\n" for document in documents).encode()

    def answer(connection: Connection) -> None:
        connection.send(whole(response.get("status", 200), raw, content_type=STREAM["ollama"]))

    with hostile("ollama", answer) as server:
        model = OllamaModel("ollama", server.url, "m")
        error = next((str(document["error"]) for document in documents if "error" in document), None)
        if error is not None:
            with pytest.raises(ServerError) as caught:
                model.ask(QUESTION)
            wanted = next(outcome for words, outcome in ERRORS.items() if words in error)
            assert (caught.value.code, caught.value.is_transient) == wanted
            return
        reply = model.ask(QUESTION)
    last = documents[-1]
    assert reply.text == "".join(document["message"]["content"] for document in documents)
    assert (reply.thinking or "") == "".join(document["message"].get("thinking", "") for document in documents)
    assert reply.finish == last["done_reason"]
    assert (reply.prompt_tokens, reply.completion_tokens) == (last["prompt_eval_count"], last["eval_count"])
    assert reply.load_seconds == last["load_duration"] / 1e9


def llama(name: str) -> Any:
    return json.loads((LLAMA / name).read_text())


@needs_llama
def test_a_stream_of_llama_server_is_read() -> None:
    raw = (LLAMA / "chat_stream.sse").read_bytes()

    def answer(connection: Connection) -> None:
        connection.begin()
        connection.send(raw)

    with hostile("openai", answer) as server:
        server.documents = {
            "/props": llama("props.json"),
            "/health": llama("health.json"),
            "/slots": llama("slots.json"),
        }
        model = OpenAIModel("box", server_address(f"{server.url}/v1"), "m:latest")
        identity = model.identity()
        assert (identity.api, identity.parameters["model_ftype"]) == ("llama-server", "Q4_1")
        assert identity.template is not None
        assert model.capabilities().thinking is False, "its template has no switch for it"
        assert model.load(512).was_resident
        with pytest.raises(ServerError, match="a window of 512 tokens, 513 are wanted") as caught:
            model.load(513)
        assert (caught.value.code, caught.value.is_transient) == ("context_overflow", False)
        reply = model.ask(QUESTION)
        assert model.others_active() is False
        slots = llama("slots.json")
        server.documents["/slots"] = [slots[0] | {"is_processing": True}]
        assert model.others_active() is True
    assert (reply.text, reply.finish) == ("I'm glad you're", "length")
    assert reply.completion_seconds == pytest.approx(10.201078)
    assert reply.prompt_seconds == pytest.approx(4.259822)
    assert reply.first_token_seconds is not None


@needs_llama
@pytest.mark.parametrize(
    ("file", "status", "outcome"),
    [("chat_too_long.json", 400, "context_overflow"), ("chat_nonstream.json", 200, None)],
)
def test_a_whole_reply_of_llama_server_is_read(file: str, status: int, outcome: str | None) -> None:
    body = llama(file)

    def answer(connection: Connection) -> None:
        # As a server would write it that is asked through something that formats JSON.
        connection.send(whole(status, json.dumps(body, indent=2).encode()))

    with hostile("openai", answer) as server:
        model = OpenAIModel("box", server_address(f"{server.url}/v1"), "m:latest")
        if outcome is not None:
            with pytest.raises(ServerError) as caught:
                model.ask(QUESTION)
            assert (caught.value.code, caught.value.status) == (outcome, status)
            assert "931 tokens" in caught.value.message
            return
        reply = model.ask(QUESTION)
    assert reply.text == body["choices"][0]["message"]["content"]
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (25, 18, 0)
