"""The prompts of the Ollama stand-in: which template of a model runs, and what it makes of a conversation.

A jinja is rendered by jinja2, in an environment of the stand-in's own. A Go template is rendered by no Go, but by
`go_template` and `ollama_render`, which are Python. What both render is held to the renders of real servers
(tests/unit/test_ollama_standin.py, test_go_template.py) and to those of Ollama's own template package (test_ollama_files.py).
What a server says of a jinja that fails at a conversation has not been recorded: the stand-in's words are its own.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

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
    if newer and model.own_template and runs == model.own_template:
        return _jinja(model.own_template, given, policy, model.own_tokens)
    # Where neither a TEMPLATE nor a template of the file is there, llama-server's own runs.
    return prompt(CHATML if newer and model.template is None else runs, given, policy)


def check_template(text: str) -> None:
    """Refuses a TEMPLATE that is none, as `create` does."""
    try:
        parse(text)
    except GoTemplateError as error:
        why = 'unexpected "}" in operand' if "not closed" in str(error) and text.count("}") % 2 else str(error)
        raise RefusalError(400, f"template error: template: :1: {why}") from None


def _jinja(template: str, messages: Messages, think: bool | None, tokens: Mapping[str, str]) -> str:
    values = {"bos_token": "", "eos_token": "", **tokens} | ({} if think is None else {"enable_thinking": think})
    try:
        text: str = _compiled(template).render(messages=messages, add_generation_prompt=True, **values)
    except jinja2.TemplateError as error:
        raise RefusalError(500, f"the template of the file fails: {error}") from None
    return text


@cache
def _compiled(template: str) -> jinja2.Template:
    # As transformers and llama.cpp read chat templates.
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda pattern: datetime.datetime.now().strftime(pattern)
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    return environment.from_string(template)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
