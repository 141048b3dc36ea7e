"""What Ollama makes of a TEMPLATE and a conversation: a stand-in over `go_template`, held to the same recordings.

As in Ollama's `template/template.go`: messages of one role in a row become one, a template without `.Messages` is written pair
by pair, one without `.Response` gets that at its end, and what the model can do is read from the fields that are named.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.go_template import Action, Branch, Node, Text, execute, fields_of, parse


class NoTools(tuple[Any, ...]):
    """What Go prints of a list that is not there."""

    def __str__(self) -> str:
        return "null"


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
    return set(capabilities_of_go(template))


def capabilities_of_go(template: str) -> list[str]:
    """The same in Ollama's order. It thinks where `.Thinking` stands within a range over `.Messages`, in a part of the template
    that begins and ends with text: those are the signs around thoughts (Ollama's `thinking/template.go`)."""
    nodes = parse(template)
    names = {name.lower() for name in fields_of(nodes)}
    found = [word for word, name in {"tools": "tools", "insert": "suffix"}.items() if name in names]
    return [*found, "thinking"] if all(thought_signs(nodes)) else found


def thought_signs(nodes: list[Node]) -> tuple[str, str]:
    """What stands before and behind thoughts; empty where that is not told."""
    opening = closing = ""
    for part in _parts_with_thoughts(nodes, False):
        first, last = part[0], part[-1]
        opening = first.text.strip() if isinstance(first, Text) else opening
        closing = last.text.strip() if isinstance(last, Text) else closing
    return opening, closing


def _parts_with_thoughts(nodes: list[Node], within: bool) -> Iterator[list[Node]]:
    for node in nodes:
        if isinstance(node, Text):
            continue
        inside = within
        if isinstance(node, Branch) and node.kind == "range":
            inside = "Messages" in fields_of([Action(node.pipe)])
        if inside and _names_thoughts(node.pipe):
            yield nodes
        if isinstance(node, Branch):
            yield from _parts_with_thoughts(node.body, inside)
            yield from _parts_with_thoughts(node.other, inside)


def _names_thoughts(pipe: list[list[Any]]) -> bool:
    """Of the dot alone: `$m.Thinking` is a field of a variable."""
    for command in pipe:
        for kind, value, path in command:
            if (kind == "dot" and path[:1] == ["Thinking"]) or (kind == "parenthesis" and _names_thoughts(value)):
                return True
    return False


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
    common = {"Think": bool(think), "IsThinkSet": think is not None, "ThinkLevel": ""}
    if "messages" in names:
        given = {"System": system, "Messages": collated, "Tools": NoTools(), "Response": ""}
        return execute(nodes, {**common, **given})
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
    """The template without what stands behind `.Response`: the model goes on from there."""
    return _cut(nodes)[0]


def _cut(nodes: list[Node]) -> tuple[list[Node], bool]:
    kept: list[Node] = []
    for node in nodes:
        kept.append(node)
        if isinstance(node, Action) and "Response" in fields_of([node]):
            return kept, True
        if isinstance(node, Branch):
            node.body, cut = _cut(node.body)
            if not cut:
                node.other, cut = _cut(node.other)
            if cut:
                return kept, True
    return kept, False
