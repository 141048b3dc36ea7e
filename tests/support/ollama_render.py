"""What Ollama makes of a TEMPLATE and a conversation: a stand-in over `go_template`, held to the same recordings.

As in Ollama's `template/template.go`: messages of one role in a row become one, a template without `.Messages` is written pair
by pair, one without `.Response` gets that at its end, and what the model can do is read from the fields that are named.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.go_template import Action, Branch, Node, execute, fields_of, parse

RESPONSE = Action([[("dot", None, ["Response"])]])


@dataclass(frozen=True)
class GoMessage:
    """A message as templates see it."""

    Role: str
    Content: str
    Thinking: str = ""
    ToolCalls: tuple[Any, ...] = ()
    Images: tuple[Any, ...] = ()
    ToolName: str = ""


def capabilities(template: str) -> set[str]:
    """What Ollama reads out of a Go template besides completion."""
    names = fields_of(parse(template))
    return {word for word, fields in {"thinking": {"Thinking", "Think"}, "tools": {"Tools"}}.items() if names & fields}


def prompt(template: str, messages: Sequence[Mapping[str, str]], think: bool | None, *, system: str = "") -> str:
    """The prompt of `/api/chat`. `system` is the Modelfile's. Who can think and is not told whether to, thinks."""
    if think is None and "thinking" in capabilities(template):
        think = True
    elif "thinking" not in capabilities(template):
        think = None
    given = [dict(message) for message in messages]
    if system and not any(message["role"] == "system" for message in given[:1]):
        given.insert(0, {"role": "system", "content": system})
    return render(template, given, think)


def render(template: str, messages: Sequence[Mapping[str, str]], think: bool | None) -> str:
    """The template over a conversation, `think` None for one that is not set."""
    nodes = parse(template)
    names = {name.lower() for name in fields_of(nodes)}
    if not names & {"messages", "response"}:
        nodes.append(RESPONSE)
    system, collated = _collate(messages)
    common = {"Think": bool(think), "IsThinkSet": think is not None, "ThinkLevel": "", "Tools": (), "Response": ""}
    if "messages" in names:
        return execute(nodes, {**common, "System": system, "Messages": collated})
    return _by_pairs(nodes, collated, common)


def _collate(messages: Sequence[Mapping[str, str]]) -> tuple[str, list[GoMessage]]:
    collated: list[GoMessage] = []
    for message in messages:
        role, content = message["role"], message["content"]
        if collated and collated[-1].Role == role:
            collated[-1] = GoMessage(role, f"{collated[-1].Content}\n\n{content}", collated[-1].Thinking)
        else:
            collated.append(GoMessage(role, content, message.get("thinking", "")))
    return "\n\n".join(message["content"] for message in messages if message["role"] == "system"), collated


def _by_pairs(nodes: list[Node], messages: Sequence[GoMessage], common: Mapping[str, Any]) -> str:
    empty = {"System": "", "Prompt": "", "Response": ""}
    values, written = dict(empty), ""
    for message in messages:
        before = {"system": ("Prompt", "Response"), "user": ("Response",)}.get(message.Role, ())
        if any(values[name] for name in before):
            written += execute(nodes, {**common, **values})
            values = dict(empty)
        name = {"system": "System", "user": "Prompt", "assistant": "Response"}.get(message.Role)
        if name is not None:
            values[name] = message.Content
    return written + execute(_up_to_response(copy.deepcopy(nodes)), {**common, **values})


def _up_to_response(nodes: list[Node]) -> list[Node]:
    """The template without what stands behind, and with, `.Response`: the model writes that."""
    return _cut(nodes)[0]


def _cut(nodes: list[Node]) -> tuple[list[Node], bool]:
    kept: list[Node] = []
    for node in nodes:
        if isinstance(node, Action) and "Response" in fields_of([node]):
            return kept, True
        kept.append(node)
        if isinstance(node, Branch):
            node.body, cut = _cut(node.body)
            if not cut:
                node.other, cut = _cut(node.other)
            if cut:
                return kept, True
    return kept, False
