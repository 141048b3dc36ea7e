"""The prompts of the Ollama stand-in: which template of a model runs, and what it makes of a conversation.

What is rendered is held to the renders of the real servers by tests/unit/test_ollama_standin.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2.sandbox

from tests.support.go_template import GoTemplateError, parse
from tests.support.ollama_models import CHATML, Model
from tests.support.ollama_render import prompt
from tests.support.ollama_requests import RefusalError

Messages = Sequence[Mapping[str, Any]]


def rendered(model: Model, messages: Messages, newer: bool, think: bool | str | None) -> str:
    """The prompt of a conversation. `think` is None where the request leaves it out."""
    given = [{"role": str(one.get("role") or ""), "content": str(one.get("content") or "")} for one in messages]
    if model.system and not any(one["role"] == "system" for one in given[:1]):
        given.insert(0, {"role": "system", "content": model.system})
    policy = None if think is None else bool(think)
    _, runs = model.capabilities(newer)
    if newer and model.own_template and (runs == model.own_template or model.template is None):
        return _jinja(model.own_template, given, policy)
    # Where neither a TEMPLATE nor a template of the file is there, llama-server's own runs.
    return prompt(CHATML if newer and model.template is None else runs, given, policy)


def check_template(text: str) -> None:
    """Refuses a TEMPLATE that is none, as `create` does."""
    try:
        parse(text)
    except GoTemplateError as error:
        why = 'unexpected "}" in operand' if "not closed" in str(error) and text.count("}") % 2 else str(error)
        raise RefusalError(400, f"template error: template: :1: {why}") from None


def _jinja(template: str, messages: Messages, think: bool | None) -> str:
    values = {} if think is None else {"enable_thinking": think}
    text: str = _compiled(template).render(messages=messages, add_generation_prompt=True, **values)
    return text


@cache
def _compiled(template: str) -> jinja2.Template:
    # As transformers and llama.cpp read chat templates.
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template)
