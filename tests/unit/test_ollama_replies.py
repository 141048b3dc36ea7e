"""What is read of a server of Ollama's before and after it is asked: its address, its replies, its errors."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.serving import replies
from core.serving.address import server_url
from core.serving.errors import readable_error
from core.serving.ollama import Ollama
from core.serving.replies import name_key, unix_time
from tests.support.ollama_samples import own_exchanges

SHARED = Path(__file__).parents[2].parent / "shared" / "ollama"
RECORDED = SHARED / "recorded"
READ = ("/api/ps", "/api/tags", "/api/show", "/api/chat", "/api/generate")


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:8080", "http://box:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        ("::", "http://[::1]:11434"),
        ("[::]:9", "http://[::1]:9"),
        ("fe80::1", "http://[fe80::1]:11434"),
        ("[fe80::1]:80", "http://[fe80::1]:80"),
        ("http://box", "http://box:80"),
        ("https://box", "https://box:443"),
        ("HTTPS://box:8443/", "https://box:8443"),
        ("https://box/ollama/", "https://box:443/ollama"),
        ("box:notaport", "http://box:11434"),
        ("box:99999", "http://box:11434"),
        (' "10.1.2.3:5" ', "http://10.1.2.3:5"),
    ],
)
def test_an_address_in_every_spelling(monkeypatch: pytest.MonkeyPatch, written: str, url: str) -> None:
    assert server_url(written) == url
    monkeypatch.setenv("OLLAMA_HOST", written)
    assert Ollama().url == url


def test_without_an_address_it_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert Ollama().url == "http://127.0.0.1:11434"


@pytest.mark.parametrize(
    "written",
    [
        "ftp://box",
        "a b",
        "http://us/er@box",
        "me:se/cret@box:1",
        "http://a?b@box",
        "me:a b@box",
        "box/?q",
        "http://b\x1box",
        "héé:1",
        "unix:///x",
    ],
)
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(InputError) as caught:
        Ollama(written)
    assert caught.value.code == "bad_server_address"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T02:00:10.5+02:00", 10.5),
        ("1969-12-31T19:00:10.123456789-05:00", 10.123456789),
        ("1970-01-01T00:00:10", 10.0),
        ("2319-03-05T20:22:52.110842006Z", 11018838172.110842),
        ("12026-01-01T00:00:00Z", float("inf")),
        ("0001-01-01T00:00:00Z", None),
        ("1970-02-30T00:00:00Z", None),
        ("soon", None),
        ("", None),
        (None, None),
        (17, None),
    ],
)
def test_times(written: object, seconds: float | None) -> None:
    assert unix_time(written) == (seconds if seconds is None else pytest.approx(seconds, abs=1e-6))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("no such model", "no such model"),
        ("two\nlines\x1b[2J", "two lines"),
        ('{"error":{"code":400,"message":"too long","type":"x"}}', "too long"),
        ('{"error":"{\\"error\\":{\\"message\\":\\"deeper\\"}}"}', "deeper"),
        ({"message": "as OpenAI says it", "code": None}, "as OpenAI says it"),
        ("{not a document", "{not a document"),
        ('{"other": 1}', '{"other": 1}'),
        ("x" * 900, "x" * 399 + "…"),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_errors_are_one_readable_line(error: object, said: str | None) -> None:
    assert readable_error({"error": error}) == said


# Replies of the project's own samples.


@pytest.fixture(params=[False, True], ids=["0.24", "0.33"])
def answered(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a server of this version answers, by the name of the exchange."""
    exchanges = own_exchanges(newer=request.param)
    return {one["name"]: one["response"].get("json") for one in exchanges}


def test_what_is_loaded_is_read(answered: dict[str, Any]) -> None:
    assert replies.residents(answered["ps_of_nothing"]) == ()
    ever, rye, spelt = replies.residents(answered["ps_for_ever"])
    assert (ever.name, ever.context_length, ever.keep_alive_seconds(1_940_000_000.0)) == ("wheat:old", 512, -1.0)
    assert (rye.name, rye.size_bytes, rye.size_vram_bytes, rye.context_length) == ("rye:1", *[3_020_480_000] * 2, 8)
    assert rye.digest == "5d1e6c0000000000000000000000000000000000000000000000000000000001"
    assert rye.expires_at == datetime(2031, 5, 4, 9, 5, 8, tzinfo=UTC).timestamp()
    assert (spelt.size_bytes, spelt.size_vram_bytes) == (500_000_000, 400_000_000), "a part lies in the host's memory"


def test_what_is_stored_is_read(answered: dict[str, Any]) -> None:
    tags = replies.tags(answered["tags"])
    assert [(tag.name, tag.size_bytes) for tag in tags] == [
        ("rye:1", 3_000_000_000),
        ("wheat:latest", 1_000_000_000),
        ("spelt:latest", 500_000_000),
    ]
    assert {(tag.family, tag.parameter_size, tag.quantization) for tag in tags} == {("llama", "3.01B", "Q8_0")}
    assert tags[0].modified_at == pytest.approx(datetime(2031, 5, 4, 9, tzinfo=UTC).timestamp() + 0.250000001, abs=1e-6)
    shown = replies.shown(answered["show"])
    assert shown.blob == "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    assert (shown.template, shown.system, shown.capabilities) == ("{{ .Prompt }}", "You bake.", ("completion",))
    assert shown.parameters == {"num_ctx": ("2048",), "stop": ("<end>", "<turn>")}
    assert (shown.architecture, shown.context_length, shown.parameter_count) == ("llama", 4096, 3_010_000_000)


def test_what_is_answered_is_read(answered: dict[str, Any]) -> None:
    assert replies.answer(answered["chat"], "the text", "", ()) == replies.Completion(
        text="the text",
        finish="length",
        prompt_tokens=19,
        completion_tokens=6,
        total_seconds=0.75,
        load_seconds=0.05,
        prompt_seconds=0.2,
        completion_seconds=0.5,
    )
    for name, finish in (("generate", "length"), ("load", "load"), ("unload", "unload"), ("unload_by_chat", "unload")):
        assert replies.answer(answered[name], "", "", ()).finish == finish
    rendered = replies.answer(answered["chat_rendered"], "", "", ()).rendered
    assert rendered == "Which flour is dark?"


def test_what_went_wrong_is_read(answered: dict[str, Any]) -> None:
    errors = {
        name: readable_error(body) for name, body in answered.items() if isinstance(body, dict) and "error" in body
    }
    assert len(errors) >= 15
    for said in errors.values():
        assert said and said.isprintable() and "{" not in said
    assert errors["chat_unknown_model"] == "model 'oats' not found"
    assert "context" in (errors["chat_too_long"] or "")


# Replies of real servers, where the recordings are at hand.


def recorded() -> list[Any]:
    files = sorted(RECORDED.glob("*/*.json"))
    if not files:
        return [
            pytest.param(None, marks=pytest.mark.skip(reason="the recorded exchanges (shared/ollama) are not here"))
        ]
    asked = [(f"{file.parent.name}/{file.stem}", json.loads(file.read_text())) for file in files]
    return [
        pytest.param(exchange, id=name)
        for name, exchange in asked
        if isinstance(exchange.get("response", {}).get("json"), dict)
        and (exchange["request"]["path"] in READ or "error" in exchange["response"]["json"])
    ]


@pytest.mark.parametrize("exchange", recorded())
def test_real_replies_are_read(exchange: dict[str, Any]) -> None:
    path, body = exchange["request"]["path"], exchange["response"]["json"]
    if "error" in body:
        said = readable_error(body)
        assert said
        assert said.isprintable()
        assert "{" not in said
    elif path == "/api/ps":
        for entry, resident in zip(body["models"], replies.residents(body), strict=True):
            assert (resident.name, resident.digest) == (entry["name"], entry["digest"])
            assert resident.size_bytes == entry["size"]
            assert resident.size_vram_bytes == entry["size_vram"] == 0, "these servers had no GPU"
            assert resident.context_length == entry["context_length"]
            assert resident.expires_at is not None
    elif path == "/api/tags":
        whole = [entry for entry in body["models"] if isinstance(entry, dict)]
        for entry, tag in zip(whole, replies.tags({"models": whole}), strict=True):
            assert (tag.name, tag.digest, tag.size_bytes) == (entry["name"], entry["digest"], entry["size"])
            assert (tag.quantization, tag.family) == (entry["details"]["quantization_level"], "llama")
            assert tag.modified_at is not None
    elif path == "/api/show":
        shown = replies.shown(body)
        blob = re.search(r"^FROM .*sha256-([0-9a-f]{64})$", body["modelfile"], re.MULTILINE)
        assert blob
        assert shown.blob == f"sha256:{blob[1]}"
        assert (shown.context_length, shown.parameter_count) == (8192, 134515008)
        assert shown.capabilities == tuple(body["capabilities"])
        assert set(shown.parameters) == {line.split()[0] for line in body.get("parameters", "").splitlines()}
        for values in shown.parameters.values():
            assert not any(value.startswith('"') for value in values)
    else:
        answer = replies.answer(body, "", "", ())
        assert answer.finish == body.get("done_reason")
        assert (answer.prompt_tokens, answer.completion_tokens) == (
            body.get("prompt_eval_count"),
            body.get("eval_count"),
        )
        durations = (answer.total_seconds, answer.load_seconds, answer.prompt_seconds, answer.completion_seconds)
        names = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
        assert durations == tuple(body[name] / 1e9 if name in body else None for name in names)
        assert answer.rendered == body.get("_debug_info", {}).get("rendered_template")


@pytest.mark.skipif(not SHARED.is_dir(), reason="Ollama's documented replies (shared/ollama) are not here")
def test_documented_replies_are_read() -> None:
    def block(name: str) -> Any:
        found = re.findall(r"```json\n(.*?)```", (SHARED / "docs" / name).read_text(), re.DOTALL)
        return json.loads(found[0])

    (running,) = replies.residents(block("list_running_models.md"))
    assert (running.name, running.size_vram_bytes, running.context_length) == ("mistral:latest", 5137025024, None)
    assert running.expires_at == pytest.approx(unix_time("2024-06-04T21:38:31.83753Z"))
    assert len(replies.tags(block("list_local_models.md"))) == 2
    observed = json.loads((SHARED / "observed" / "api_ps_2026-11-02.json").read_text())["steps"][0]
    (seen,) = replies.residents({"models": observed["api_ps_models"]})
    assert (seen.name, seen.context_length) == ("qwen2.5:0.5b", 2048)


def test_names_are_compared_as_the_server_does() -> None:
    assert name_key("Judge") == name_key("judge:latest") == name_key("judge:Latest")
    assert name_key("box:5000/Judge") == name_key("box:5000/judge:latest") != name_key("judge")
    assert name_key("judge:v1") != name_key("judge:v2")
