"""The parity gate on models that a server has: an Ollama of two versions with templates that differ, and other servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.task import Task
from core.data.render import encode_prompt, render_prompt
from core.data.template import Thinking
from core.data.template_proof import prove
from core.parity.conversations import probe_conversations
from core.parity.gate import ParityReport, answer_findings, compare_prompts, file_findings
from core.serving.address import server_address
from core.serving.answering import ServedIdentity
from core.serving.ollama_model import OllamaModel
from core.serving.ollama_prompts import shows_prompts
from core.serving.openai_model import OpenAIModel
from core.shipping.families import Family
from tests.support.hostile_server import hostile
from tests.support.ollama_models import CHATML as CHATML_GO
from tests.support.ollama_served import failure
from tests.support.ollama_standin import VERSIONS, OllamaStandin
from tests.support.questions import EVERY_OPTION
from tests.support.tokenizers import byte_level, qwen3, qwen3_template

pytestmark = pytest.mark.process

TASK = Task(name="judge", system="You grade notes.")
GOLDEN = [GoldenInput(id="short", input="Bread."), GoldenInput(id="long", input="The oven is warm. " * 40)]
DOUBLE = "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}" + CHATML_GO
DEAF = CHATML_GO.replace("{{- range .Messages }}", '{{- range .Messages }}{{ if ne .Role "system" }}').replace(
    "{{ end }}<|im_start|>assistant", "{{ end }}{{ end }}<|im_start|>assistant"
)


@pytest.fixture(params=VERSIONS)
def standin(request: pytest.FixtureRequest) -> Iterator[OllamaStandin]:
    with OllamaStandin(request.param, load_seconds=0.01, token_seconds=0.0) as server:
        yield server


def report(standin: OllamaStandin, tokenizer: Any, thinking: Thinking = "off") -> ParityReport:
    probes = probe_conversations(TASK, GOLDEN, prove(tokenizer, thinking))
    with closing(OllamaModel("ollama", standin.url, "judge:v1")) as model:
        return ParityReport(compare_prompts(tokenizer, model, probes, thinking, TASK.system_role))


def causes(found: ParityReport) -> set[str]:
    return {cause.code for case in found.differing for cause in case.causes}


@pytest.mark.parametrize("thinking", ["off", "on"])
@pytest.mark.parametrize(
    ("make", "family"), [(byte_level, Family("chatml")), (qwen3, Family("qwen3"))], ids=["ChatML", "Qwen3"]
)
def test_the_family_s_own_template_passes(
    standin: OllamaStandin, make: Callable[[], Any], family: Family, thinking: Thinking
) -> None:
    standin.add_model("judge:v1", template=family.go_template)
    tokenizer = make()
    found = report(standin, tokenizer, thinking)
    assert found.passed and not found.differing and len(found.cases) == 8
    asked = [one.body for one in standin.requests if one.path == "/api/chat" and one.body is not None]
    assert asked and all(one["_debug_render_only"] and not one["stream"] for one in asked)
    assert {one.get("think") for one in asked} == ({thinking == "on"} if family.name == "qwen3" else {None})


BARE = {"no_template", "system_dropped"}
# By what was done on the server: the model there, and what the gate has to say in either version.
MISTAKES: dict[str, tuple[Callable[[], Any], dict[str, Any], set[str], set[str]]] = {
    # 0.33 runs llama-server's own ChatML, which happens to be right here.
    "no template": (byte_level, {"template": None}, BARE, set()),
    "the bare text": (byte_level, {"template": "{{ .Prompt }}"}, BARE, BARE),
    "ChatML where Qwen3's belongs": (qwen3, {"template": CHATML_GO}, {"thinking_differs"}, {"thinking_differs"}),
    "the file's own jinja instead of the TEMPLATE": (
        byte_level,
        {"template": CHATML_GO, "own_template": qwen3_template(), "own_capabilities": ("tools", "thinking")},
        set(),
        {"thinking_differs"},
    ),
    "the system prompt twice": (byte_level, {"template": DOUBLE}, {"system_twice"}, {"system_twice"}),
    "the system prompt dropped": (byte_level, {"template": DEAF}, {"system_dropped"}, {"system_dropped"}),
    "a line feed more": (
        byte_level,
        {"template": CHATML_GO + "\n"},
        {"trailing_whitespace"},
        {"trailing_whitespace"},
    ),
    "another frame": (
        byte_level,
        {"template": CHATML_GO.replace("<|im_start|>", "<|turn|>")},
        {"other_template", "text_differs"},
        {"other_template", "text_differs"},
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_on_the_server_is_seen_and_told_by_its_cause(standin: OllamaStandin, mistake: str) -> None:
    make, model, older, newer = MISTAKES[mistake]
    standin.add_model("judge:v1", **model)
    expected = newer if standin.newer else older
    found = report(standin, make())
    assert found.passed is (not expected)
    assert causes(found) <= expected and bool(causes(found)) is bool(expected)


@pytest.mark.parametrize(("added", "codes"), [(0, []), (1, ["prompt_count"])])
def test_the_count_of_a_real_answer_s_prompt_has_to_agree(standin: OllamaStandin, added: int, codes: list[str]) -> None:
    """What a render does not show: a token that the server puts in front."""
    tokenizer = byte_level()
    standin.add_model(
        "judge:v1", answer="Fine.", counts=lambda text: added + len(encode_prompt(tokenizer, text)), template=CHATML_GO
    )
    asked = probe_conversations(TASK, GOLDEN, prove(tokenizer, "off"))[-1].messages
    messages = tuple((one.role, one.content) for one in asked)
    question = replace(EVERY_OPTION, messages=messages, context_length=4096, output=None, think=False)
    trained = len(encode_prompt(tokenizer, render_prompt(tokenizer, asked, "off", system_role=TASK.system_role)))
    with closing(OllamaModel("ollama", standin.url, "judge:v1")) as model:
        assert model.tokenize("any") is None
        reply = model.ask(question)
    assert [one.code for one in answer_findings(question, reply, trained, prove(tokenizer, "off"))] == codes


@pytest.mark.parametrize(("parameters", "lost"), [({}, True), ({"stop": ["<|im_end|>", "<|im_start|>"]}, False)])
def test_a_stop_token_that_neither_file_nor_modelfile_has_is_lost_to_ollamas_own_engine(
    standin: OllamaStandin, parameters: dict[str, Any], lost: bool
) -> None:
    """`show` tells the file's ends; a llama-server, which runs every file from 0.30 on, knows the usual ones by name."""
    tokenizer = byte_level()
    standin.add_model("judge:v1", template=CHATML_GO, parameters=parameters)
    with closing(OllamaModel("ollama", standin.url, "judge:v1")) as model:
        file = model.served_file()
    assert file.keys is not None and file.keys["tokenizer.ggml.eos_token_id"] != tokenizer.eos_token_id
    found = file_findings(file, prove(tokenizer, "off"), [tokenizer.eos_token_id])
    assert [one.code for one in found] == (["stop_token_lost"] if lost and not standin.newer else [])


def test_a_render_loads_with_the_window_of_the_answers(standin: OllamaStandin) -> None:
    standin.add_model("judge:v1", template=CHATML_GO)
    with closing(OllamaModel("ollama", standin.url, "judge:v1")) as model:
        model.load(512)
        assert model.render([("user", "hi")], think=False).endswith("assistant\n")
        assert [one["context_length"] for one in standin.scheduler.ps()] == [512]


def test_a_version_that_shows_no_prompts_is_told_and_asked_nothing(standin: OllamaStandin) -> None:
    standin.add_model("judge:v1")
    standin.version = "0.11.4"  # type: ignore[assignment]
    with closing(OllamaModel("ollama", standin.url, "judge:v1")) as model:
        error = failure(lambda: model.render([("user", "hi")], think=False))
        assert not shows_prompts(model.identity())
    assert error.code == "no_render" and "0.11.4" in error.message and "unknown" in error.message and error.remedy
    assert not any(one.path == "/api/chat" for one in standin.requests)


def test_an_answer_in_the_place_of_a_render_is_no_prompt(standin: OllamaStandin) -> None:
    standin.add_model("judge:v1")
    standin.answer_next(b'{"model":"judge:v1","message":{"role":"assistant","content":"Hi"},"done":true}', "/api/chat")
    with closing(OllamaModel("ollama", standin.url, "judge:v1")) as model:
        assert failure(lambda: model.render([("user", "hi")], think=False)).code == "no_render"


def test_a_model_that_is_not_there_is_named_with_those_that_are(standin: OllamaStandin) -> None:
    standin.add_model("judge:v1")
    with closing(OllamaModel("ollama", standin.url, "judge:v2")) as model:
        error = failure(lambda: model.render([("user", "hi")], think=False))
    assert error.code == "model_not_found" and "judge:v1" in (error.remedy or "")


def test_of_other_servers_llama_server_alone_shows_prompts() -> None:
    with hostile("openai", lambda connection: None) as server:
        server.documents = {"/props": (404, {"error": "not here"}), "/version": {"version": "0.11.0"}}
        with closing(OpenAIModel("box", server_address(f"{server.url}/v1"), "m")) as model:
            error = failure(lambda: model.render([("user", "hi")], think=False))
    assert error.code == "no_render" and "vllm" in error.message
    assert shows_prompts(ServedIdentity("llama-server", "m")) and not shows_prompts(ServedIdentity("openai", "m"))
    assert shows_prompts(ServedIdentity("ollama", "m", version="0.33.0-rc2"))
