"""A chat template rendered as servers with jinja do it: from its text alone, without the tokenizer it belongs to.

The settings of the environment are those that templates are written for (transformers' `chat_template_utils`, which llama.cpp
follows): blocks take the line feed behind them and the white space before them away.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from core.data.examples import Message
from core.data.training_marks import without_training_marks
from core.errors import InputError
from core.text import one_line

_SAID_CHARACTERS = 200


class JinjaTemplate:
    """`source` is the template, `bos` and `eos` are the texts of the tokens that begin and end a text. `adds_bos`: the model's
    tokenizer begins each text with `bos`, so that a server writes the sign where no template does.

    It is handed to `core.data.template_proof` in the place of a tokenizer: no text is cut into tokens, each counts as one.
    `moment` is the time that the template is told; None for that of the render.
    InputError `bad_template` where the text is no template; ModuleNotFoundError where jinja2 is not installed.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "", adds_bos: bool = False) -> None:
        # The training libraries bring it; the console does without.
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self.chat_template = source
        self.bos_token, self.eos_token = bos, eos or None
        self.adds_bos = adds_bos
        self.moment: datetime.datetime | None = None
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _raise, "strftime_now": self._now}
        try:
            self._template = environment.from_string(without_training_marks(source))
        except TemplateError as error:
            raise InputError(
                f"the chat template cannot be read: {one_line(str(error), limit=_SAID_CHARACTERS)}",
                code="bad_template",
                remedy="give the model's tokenizer a chat_template that jinja reads",
            ) from error

    def prompt(self, messages: Sequence[Message], think: bool | None) -> str:
        """What is in front of an answer. `think` None: the request does not say. Raises whatever the template raises."""
        return self._render([message.to_json() for message in messages], True, _switches(think))

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> str:
        """As a tokenizer's, where `tokenize` is false."""
        values = {key: value for key, value in options.items() if key not in ("tokenize", "add_generation_prompt")}
        return self._render(conversation, options.get("add_generation_prompt", False), values)

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        return {"input_ids": [0] if text else []}

    def decode(self, token_ids: list[int], **options: Any) -> str:
        raise NotImplementedError("a template has no vocabulary")

    def capabilities(self) -> frozenset[str]:
        """Of `thinking` and `tools`, those that Ollama from 0.30 on takes the template for: by words in its text, wherever they
        stand, a comment among them (its `server/images.go` at 0.33)."""
        text = self.chat_template
        splits = any(f"content.split({quote}</think>{quote})" in text for quote in "'\"")
        thinks = ("<think>" in text and "</think>" in text) or (
            splits and "reasoning_content" not in text and "<SPECIAL_12>" not in text
        )
        found = {"thinking"} if thinks else set()
        if "tools" in text or "tool_call" in text:
            found.add("tools")
        return frozenset(found)

    def _now(self, pattern: str) -> str:
        return (self.moment or datetime.datetime.now()).strftime(pattern)

    def _render(self, messages: Sequence[Mapping[str, Any]], asking: bool, values: Mapping[str, Any]) -> str:
        given = {"tools": None, "documents": None, "bos_token": self.bos_token, "eos_token": self.eos_token or ""}
        return self._template.render(messages=messages, add_generation_prompt=asking, **{**given, **values})


def _switches(think: bool | None) -> dict[str, Any]:
    return {} if think is None else {"enable_thinking": think, "thinking": think}


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
