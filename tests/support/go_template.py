"""A stand-in for Go's text/template, as far as templates of Ollama use it: its parser and what it renders.

It is no Go. It is held to every TEMPLATE and render that real servers were recorded with (`test_go_template.py`), and refuses
what it does not know instead of guessing. Sources: https://pkg.go.dev/text/template; Ollama's `template/template.go`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_ACTION = re.compile(r"\{\{(-(?=\s))?(.*?)((?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<declare>:=)|(?P<assign>=)|(?P<pipe>\|)"""
    r"""|(?P<open>\()|(?P<close>\))|(?P<comma>,)|(?P<variable>\$\w*)|(?P<field>\.\w+)|(?P<dot>\.)|(?P<word>\w+))"""
)
_WHITE = " \t\r\n"


class GoTemplateError(Exception):
    """A template that Go, or this stand-in, does not take."""


Token = tuple[str, str, bool]
"""Kind, text, and whether white space stands in front: `$x.Y` is one operand, `$x .Y` are two."""


@dataclass
class Text:
    text: str


@dataclass
class Action:
    """`{{ pipeline }}`, or an assignment to `variable`."""

    pipe: list[list[Any]]
    variable: str | None = None
    declares: bool = False


@dataclass
class Branch:
    """`if`, `with` or `range`; `variables` are those that a range or a condition declares."""

    kind: str
    pipe: list[list[Any]]
    variables: list[str]
    body: list[Any] = field(default_factory=list)
    other: list[Any] = field(default_factory=list)


Node = Text | Action | Branch


def parse(source: str) -> list[Node]:
    """The nodes of a template. GoTemplateError for what is none."""
    items = list(_items(source))
    nodes, at, end = _list(items, 0)
    if end is not None:
        raise GoTemplateError(f"unexpected {end}")
    assert at == len(items)
    return nodes


def execute(nodes: Sequence[Node], data: Mapping[str, Any]) -> str:
    """What the template writes of the data."""
    return "".join(_run(nodes, data, [{"$": data}]))


def fields_of(nodes: Sequence[Node]) -> set[str]:
    """The names of all fields and variables, as Ollama's `Identifiers` gathers them."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, Action | Branch):
            found |= _named(node.pipe)
        if isinstance(node, Branch):
            found |= fields_of(node.body) | fields_of(node.other)
    return found


def _named(pipe: list[list[Any]]) -> set[str]:
    found: set[str] = set()
    for command in pipe:
        for kind, value, path in command:
            found |= set(path)
            if kind == "parenthesis":
                found |= _named(value)
    return found


def _items(source: str) -> Iterator[str | list[Token]]:
    """Texts and the tokens of actions, in turn; the trim marks have been heeded, comments are gone."""
    end, trims = 0, False
    for match in _ACTION.finditer(source):
        text = source[end : match.start()]
        text = text.lstrip(_WHITE) if trims else text
        text = text.rstrip(_WHITE) if match[1] else text
        if "{{" in text:
            raise GoTemplateError("an action is not closed")
        yield text
        inner = match[2]
        if not inner.strip().startswith("/*"):
            yield _tokens(inner)
        end, trims = match.end(), bool(match[3])
    rest = source[end:]
    if "{{" in rest:
        raise GoTemplateError("an action is not closed")
    yield rest.lstrip(_WHITE) if trims else rest


def _tokens(inner: str) -> list[Token]:
    found, at = [], 0
    while inner[at:].strip():
        match = _TOKEN.match(inner, at)
        if match is None or match.lastgroup is None:
            raise GoTemplateError(f"what is this: {inner[at:]!r}")
        text = match[match.lastgroup]
        found.append((match.lastgroup, text, match.start(match.lastgroup) > at))
        at = match.end()
    return found


def _list(items: list[str | list[Token]], at: int) -> tuple[list[Node], int, str | None]:
    """Nodes up to an `else` or `end` that is not theirs: that one is told, `at` is behind it for `end` and at it for `else`."""
    nodes: list[Node] = []
    while at < len(items):
        item = items[at]
        if isinstance(item, str):
            if item:
                nodes.append(Text(item))
            at += 1
            continue
        word = item[0][1] if item and item[0][0] == "word" else ""
        if word == "end":
            return nodes, at + 1, "end"
        if word == "else":
            return nodes, at, "else"
        if word in ("if", "with", "range"):
            branch, at = _branch(items, at, item)
            nodes.append(branch)
            continue
        if word in ("break", "continue", "define", "template", "block"):
            raise GoTemplateError(f"{word} is not known to the stand-in")
        variables, declares, rest = _declared(item)
        nodes.append(Action(_pipeline(rest), variables[0] if variables else None, declares))
        at += 1
    return nodes, at, None


def _branch(items: list[str | list[Token]], at: int, tokens: list[Token]) -> tuple[Branch, int]:
    variables, _, rest = _declared(tokens[1:])
    branch = Branch(tokens[0][1], _pipeline(rest), variables)
    branch.body, at, end = _list(items, at + 1)
    if end == "else":
        following = items[at]
        assert not isinstance(following, str)
        if len(following) > 1:  # `else if …`: its `end` is ours
            inner, at = _branch(items, at, following[1:])
            branch.other = [inner]
            return branch, at
        branch.other, at, end = _list(items, at + 1)
    if end != "end":
        raise GoTemplateError("an end is missing")
    return branch, at


def _declared(tokens: list[Token]) -> tuple[list[str], bool, list[Token]]:
    """The variables in front of `:=` or `=`, and what follows."""
    for at, (kind, _, _) in enumerate(tokens):
        if kind in ("declare", "assign"):
            names = [text for found, text, _ in tokens[:at] if found == "variable"]
            return names, kind == "declare", tokens[at + 1 :]
        if kind not in ("variable", "comma"):
            break
    return [], False, tokens


def _pipeline(tokens: list[Token]) -> list[list[Any]]:
    """Commands, each a list of operands: kind, value, and the fields that are taken of it."""
    commands: list[list[Any]] = [[]]
    at = 0
    while at < len(tokens):
        kind, text, spaced = tokens[at]
        if kind == "pipe":
            commands.append([])
        elif kind == "open":
            depth, start = 1, at + 1
            while depth:
                at += 1
                if at == len(tokens):
                    raise GoTemplateError("a parenthesis is not closed")
                depth += {"open": 1, "close": -1}.get(tokens[at][0], 0)
            commands[-1].append(("parenthesis", _pipeline(tokens[start:at]), []))
        elif kind == "field" and not spaced and commands[-1]:
            commands[-1][-1][2].append(text[1:])
        elif kind == "field":
            commands[-1].append(("dot", None, [text[1:]]))
        elif kind == "string":
            commands[-1].append(("value", _string(text), []))
        elif kind == "number":
            commands[-1].append(("value", float(text) if "." in text else int(text), []))
        elif kind in ("variable", "dot", "word"):
            commands[-1].append((kind, text, []))
        else:
            raise GoTemplateError(f"unexpected {text!r}")
        at += 1
    if not all(commands):
        raise GoTemplateError("a command is missing")
    return commands


def _string(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    simple = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}

    def letter(match: re.Match[str]) -> str:
        number = match[1] or match[2] or match[3]
        if number is None and match[4] not in simple:
            raise GoTemplateError(f"unknown escape {match[0]}")
        return chr(int(number, 16)) if number else simple[match[4]]

    return re.sub(r"\\(?:U([0-9a-fA-F]{8})|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", letter, text[1:-1])


Scopes = list[dict[str, Any]]


def _run(nodes: Sequence[Node], dot: Any, scopes: Scopes) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Text):
            yield node.text
        elif isinstance(node, Action):
            value = _value(node.pipe, dot, scopes)
            if node.variable is None:
                yield _printed(value)
            elif node.declares:
                scopes[-1][node.variable] = value
            else:
                next(scope for scope in reversed(scopes) if node.variable in scope)[node.variable] = value
        elif node.kind == "range":
            yield from _ranged(node, dot, scopes)
        else:
            value = _value(node.pipe, dot, scopes)
            inner = [*scopes, dict.fromkeys(node.variables, value)]
            inside = value if node.kind == "with" and _true(value) else dot
            yield from _run(node.body if _true(value) else node.other, inside, inner)


def _ranged(node: Branch, dot: Any, scopes: Scopes) -> Iterator[str]:
    elements = list(_value(node.pipe, dot, scopes) or ())
    for index, element in enumerate(elements):
        values = (index, element) if len(node.variables) == 2 else (element,)
        scope = dict(zip(node.variables, values, strict=False))
        yield from _run(node.body, element, [*scopes, scope])
    if not elements:
        yield from _run(node.other, dot, [*scopes, {}])


def _value(pipe: list[list[Any]], dot: Any, scopes: Scopes) -> Any:
    passed: list[Any] = []
    for command in pipe:
        kind, text, _ = command[0]
        if kind == "word" and text in _FUNCTIONS:
            passed = [_call(text, command[1:], dot, scopes, passed)]
        elif len(command) > 1 or passed:
            raise GoTemplateError(f"{text!r} is no function of the stand-in")
        else:
            passed = [_operand(command[0], dot, scopes)]
    return passed[0]


def _call(name: str, operands: list[Any], dot: Any, scopes: Scopes, passed: list[Any]) -> Any:
    if name in ("and", "or"):  # they do not look at what they need not, from Go 1.18 on
        value: Any = None
        for operand in operands:
            value = _operand(operand, dot, scopes)
            if _true(value) is (name == "or"):
                break
        return value
    return _FUNCTIONS[name](*(_operand(operand, dot, scopes) for operand in operands), *passed)


def _operand(operand: tuple[str, Any, list[str]], dot: Any, scopes: Scopes) -> Any:
    kind, text, path = operand
    if kind == "value":
        found = text
    elif kind == "dot":
        found = dot
    elif kind == "variable":
        found = next(scope for scope in reversed(scopes) if text in scope)[text]
    elif kind == "parenthesis":
        found = _value(text, dot, scopes)
    elif text in ("true", "false", "nil"):
        found = {"true": True, "false": False, "nil": None}[text]
    else:
        raise GoTemplateError(f"{text!r} is not known to the stand-in")
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else getattr(found, name)
    return found


def _true(value: Any) -> bool:
    return bool(value)


def _printed(value: Any) -> str:
    if value is None:
        return "<no value>"
    if value == () and type(value) is tuple:
        return "[]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _slice(value: Any, *bounds: int) -> Any:
    return value[slice(*bounds) if len(bounds) > 1 else slice(bounds[0], None)] if bounds else value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: None,
    "or": lambda *values: None,
    "not": lambda value: not _true(value),
    "eq": lambda first, *others: any(type(first) is type(other) and first == other for other in others),
    "ne": lambda first, other: first != other,
    "lt": lambda first, other: first < other,
    "le": lambda first, other: first <= other,
    "gt": lambda first, other: first > other,
    "ge": lambda first, other: first >= other,
    "len": len,
    "index": lambda value, *keys: _indexed(value, keys),
    "slice": _slice,
    "print": lambda *values: "".join(map(_printed, values)),
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
}


def _indexed(value: Any, keys: Sequence[Any]) -> Any:
    for key in keys:
        value = value[key]
    return value
