"""A model's chat template, applied to a conversation; and the signs of its frame that a text must not hold by accident.

`core.data.template_proof` proves a template before its renders are believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from core.data.examples import Message
from core.errors import InputError
from core.text import one_line

Thinking = Literal["off", "on"]
# As which role the system text is given: its own, or at the head of the first user message (what Gemma 3's template does by
# itself), for templates that know no system message.
SystemRole = Literal["system", "user"]
# Whose contents are handed to the template as a list of one text part, as vision models have it; all others are strings.
Contents = Literal["text", "parts", "turn_parts", "user_parts"]
LISTED: Mapping[Contents, tuple[str, ...]] = {
    "text": (),
    "parts": ("system", "user", "assistant"),
    "turn_parts": ("user", "assistant"),
    "user_parts": ("user",),
}
# Between the system text and the user's where they share a message; Gemma 3's template writes the same.
BETWEEN = "\n\n"

# The block of thoughts in which a model may open its answer, in the dialects of today's templates.
THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought", "<channel|>"),
)
# What looks like a sign of a frame even where the tokenizer does not know it as a special token.
_TAG = r"<[|｜]?[^<>\s|｜]{1,60}[|｜]?>|\[/?[A-Z][A-Z_]{1,30}\]"
_SAID_CHARACTERS = 200


class ChatTokenizer(Protocol):
    """What is used of a transformers tokenizer (a fast one: offsets are needed for the middle cut)."""

    chat_template: Any

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> Any: ...

    def __call__(self, text: str, **options: Any) -> Any: ...

    def decode(self, token_ids: list[int], **options: Any) -> Any: ...


def apply_template(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    thinking: Thinking,
    *,
    add_generation_prompt: bool,
    system_role: SystemRole = "system",
    contents: Contents = "text",
) -> str:
    """The conversation as the template writes it. InputError `no_chat_template`, or `template_refused` with the template's
    own words.

    Templates call their switch for thoughts `enable_thinking` (Qwen, GLM, Gemma) or `thinking` (DeepSeek, Granite): both are
    given, as servers do.
    """
    if not tokenizer.chat_template:
        raise InputError(
            "the model has no chat template: it is a base model that was never taught to take turns",
            code="no_chat_template",
            remedy="take the instruct version of the model, or give this one a `chat_template:` in its entry of models.yaml",
        )
    given = [message.to_json() for message in (fold_system(messages) if system_role == "user" else messages)]
    conversation: list[dict[str, Any]] = [
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if message["role"] in LISTED[contents]
        else dict(message)
        for message in given
    ]
    on = thinking == "on"
    try:
        text = tokenizer.apply_chat_template(
            conversation,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=on,
            thinking=on,
        )
    except Exception as error:  # a template is a program of others: it can raise whatever Python can
        raise InputError(
            f"the model's chat template refuses these messages: {one_line(str(error), limit=_SAID_CHARACTERS)}",
            code="template_refused",
            remedy="take another model, or a chat_template that takes such conversations",
        ) from error
    return str(text)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system text at the head of the first user message; without one, as they are."""
    if not messages or messages[0].role != "system":
        return list(messages)
    system, rest = messages[0].content, list(messages[1:])
    for place, message in enumerate(rest):
        if message.role == "user":
            rest[place] = Message("user", f"{system}{BETWEEN}{message.content}")
            return rest
    return list(messages)


def thought_blocks(tokenizer: ChatTokenizer) -> tuple[tuple[str, str], ...]:
    """The pairs of signs that stand around thoughts: those that the template names, and `<think>`, which every reader of
    answers takes for thoughts."""
    source = str(tokenizer.chat_template)
    return tuple(pair for pair in THOUGHTS if pair[0] == "<think>" or pair[0] in source)


def special_tokens(tokenizer: ChatTokenizer) -> set[str]:
    """The texts that the tokenizer reads as one special token wherever they stand."""
    named = {str(token) for token in getattr(tokenizer, "all_special_tokens", ())}
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {text for text in named | {str(token) for token in added.values() if token.special} if text.strip()}


def signs_pattern(signs: Iterable[str], *, tags: bool = False) -> re.Pattern[str]:
    """Matches any of the signs, the longest first, and with `tags` whatever looks like one."""
    # As a tree of their letters: some tokenizers have thousands (<unused6241>), and each `<` of a text would try them all.
    tree: dict[str, Any] = {}
    for sign in signs:
        node = tree
        for letter in sign:
            node = node.setdefault(letter, {})
        node[""] = {}
    return re.compile("|".join([*([_branches(tree)] if tree else []), *([_TAG] if tags else [])]) or r"(?!)")


def _branches(node: dict[str, Any]) -> str:
    """A pattern of all the words below a node of the tree, longer ones first."""
    below = [re.escape(letter) + _branches(child) for letter, child in sorted(node.items()) if letter]
    if not below:
        return ""
    ends = "?" if "" in node else ""
    return f"(?:{'|'.join(below)}){ends}" if ends or len(below) > 1 else below[0]


def pieces(text: str, signs: re.Pattern[str]) -> list[str]:
    """The text in pieces that are compared as one: each sign a piece, of all other text each character."""
    found: list[str] = []
    end = 0
    for match in signs.finditer(text):
        found += [*text[end : match.start()], match[0]]
        end = match.end()
    return [*found, *text[end:]]
