"""The stand-ins for code of Ollama (Go templates, its reader of Modelfiles, what it sees in a jinja), held to what it said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chat_templates import SOUND, trl_templates
from tests.support.go_template import fields_of, parse
from tests.support.modelfile_reader import ModelfileError, read_modelfile
from tests.support.needs import needs
from tests.support.ollama_files import capabilities_of_jinja, is_chatml
from tests.support.ollama_models import jinja_wins
from tests.support.ollama_render import capabilities_of_go, render, thought_signs
from tests.support.ollama_samples import own_code
from tests.support.tokenizers import CHATML

SAID = own_code()


@pytest.mark.parametrize("one", SAID["renders"], ids=lambda one: str(len(one["template"])))
def test_a_template_is_read_and_rendered_as_there(one: dict[str, Any]) -> None:
    nodes = parse(one["template"])
    assert render(one["template"], one["messages"], one["think"]) == one["text"]
    assert list(thought_signs(nodes)) == one["thoughts"]
    assert {name.lower() for name in fields_of(nodes)} >= set(one["names"]) - {"response"}
    assert ("thinking" in capabilities_of_go(one["template"])) == all(one["thoughts"])


@pytest.mark.parametrize("one", SAID["modelfiles"], ids=lambda one: repr(one["text"][7:20]))
def test_a_modelfile_is_read_as_there(one: dict[str, Any]) -> None:
    if one["commands"] is None:
        with pytest.raises(ModelfileError):
            read_modelfile(one["text"])
    else:
        read = [("model" if name == "from" else name, value) for name, value in read_modelfile(one["text"])]
        assert read == [tuple(command) for command in one["commands"]]


@needs("trl")
def test_the_same_templates_are_taken_for_chatml() -> None:
    texts = {"bare": CHATML} | {name: source for name, (source, _) in SOUND.items()} | trl_templates()
    chatml = {name for name, found in SAID["detected"].items() if found == "chatml"}
    assert {name for name, source in texts.items() if is_chatml(source)} == chatml & set(texts)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ messages }}{# no tools here #}", ("tools",)),
        ("Say <think> and </think>, or {{ tool_call }}", ("tools", "thinking")),
        ("{{ m.content.split('</think>')[-1] }}", ("thinking",)),
        ("{{ m.content.split('</think>')[-1] }}{{ m.reasoning_content }}", ()),
        ("{% if enable_thinking %}<think>{% endif %}", ()),
    ],
)
def test_what_a_jinja_can_do_is_told_by_words_in_its_text(source: str, found: tuple[str, ...]) -> None:
    assert capabilities_of_jinja(source) == found


ROUND_TRIP = '{{ .Tools }}{{ .ToolCalls }}{{ if eq .Role "tool" }}{{ end }}'


@pytest.mark.parametrize(
    ("jinja", "written", "wins"),
    [
        ("tools", "", True),
        ("tools", "{{ .Tools }}", False),
        # As many capabilities, and only the jinja writes the results of tools.
        ("tools tool_calls message.role == 'tool'", "{{ .Tools }}", True),
        ("tools tool_calls message.role == 'tool'", ROUND_TRIP, False),
        # More of them, and results would be lost by it.
        ("tools <think></think>", ROUND_TRIP, False),
        ("tools tool_calls tool_response <think></think>", ROUND_TRIP, True),
    ],
)
def test_which_template_is_taken(jinja: str, written: str, wins: bool) -> None:
    assert jinja_wins(jinja, capabilities_of_jinja(jinja), written, capabilities_of_go(written)) is wins
