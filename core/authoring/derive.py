"""What a person's own examples say about a task: its lengths, its system message, and checks that all of them pass."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.authoring.yaml_text import flow, scalar
from core.checks.json_text import NotJsonError, read_document
from core.checks.pointers import EVERY, pointer_to
from core.data.examples import Example

BYTES_PER_TOKEN = (
    3  # fewer than any tokenizer of today takes on prose, so that lengths come out too large rather than too small
)
FEW = 12  # so many different values may a closed set have
_KINDS: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}
SHORT = 40  # characters of a value that is compared letter by letter
FEWEST_EXAMPLES = 4  # with fewer, what they have in common is chance


@dataclass(frozen=True)
class Lengths:
    """Of a data set, in characters and in tokens that are estimated."""

    longest_completion: int
    longest_line: int
    max_new_tokens: int
    context_length: int


def lengths(examples: list[Example]) -> Lengths:
    """What answers and prompts need: twice the longest completion, and room for the longest prompt before it."""
    longest = max(examples, key=lambda example: _tokens(example.completion))
    new_tokens = _round_up(2 * _tokens(longest.completion), 64)
    prompt = max(sum(_tokens(message.content) + 8 for message in example.messages) for example in examples)
    context = max(4096, _round_up(prompt + new_tokens, 1024))
    return Lengths(len(longest.completion), longest.line, new_tokens, context)


def shared_system(examples: list[Example]) -> str | None:
    """The one system message of all examples ("" when none has any); None when they differ."""
    found = {example.messages[0].content if example.messages[0].role == "system" else "" for example in examples}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Field:
    """A part of every completion: `pattern` finds it, and its values, where they are few, can be compared."""

    name: str
    pattern: str
    multiline: bool
    values: tuple[str, ...]  # empty: any text
    short: bool = True  # every value is one short line, which an answer may be asked to give exactly
    key: str | None = None  # of a JSON object; then there is no pattern

    def check(self) -> str:
        """The check as a line of YAML."""
        options: dict[str, Any] = {"id": self.name.replace("_", "-"), "check": "regex", "pattern": self.pattern}
        return flow(options | ({"multiline": True, "count": 1} if self.multiline else {}))

    def value(self, completion: str) -> str | None:
        """What the completion says here."""
        if self.key is not None:
            said = _object(completion).get(self.key)
            return said.strip() if isinstance(said, str) else None
        match = re.search(self.pattern, completion, re.MULTILINE if self.multiline else 0)
        return match[self.name].strip() if match else None


def fields(completions: list[str]) -> list[Field]:
    """What all completions have in common: one word of a few, labelled lines, or the keys of a JSON object."""
    if len(completions) < FEWEST_EXAMPLES:
        return []
    texts = [completion.strip() for completion in completions]
    found = _choice(texts) or _json_fields(texts) or _labelled_lines(texts)
    everywhere = [field for field in found if all(field.value(text) is not None for text in completions)]
    return [replace(field, short=_all_short(field, completions)) for field in everywhere]


def _all_short(field: Field, completions: list[str]) -> bool:
    return all(len(field.value(text) or "") <= SHORT for text in completions)


def _choice(texts: list[str]) -> list[Field]:
    values = _closed(texts)
    if not values:
        return []
    return [Field("answer", rf"^\s*(?P<answer>{_any_of(values)})\s*$", False, values)]


def _labelled_lines(texts: list[str]) -> list[Field]:
    """Labels such as `Priority:` that begin exactly one line of every text."""
    line = re.compile(r"^([^\W\d][\w -]{0,30}):[ \t]*(\S.*)$", re.MULTILINE)
    found = [line.findall(text) for text in texts]
    labels = [label for label, _ in found[0] if all([name for name, _ in pairs].count(label) == 1 for pairs in found)]
    names = _identifiers(labels)
    made = []
    for label, name in zip(labels, names, strict=True):
        values = _closed([dict(pairs)[label].strip() for pairs in found])
        inner = _any_of(values) if values else r"\S.*"
        made.append(Field(name, rf"^{_literal(label)}:[ \t]*(?P<{name}>{inner})[ \t]*$", True, values))
    return made


def _json_fields(texts: list[str]) -> list[Field]:
    """The keys with text that JSON objects have in common."""
    objects = [_object(text) for text in texts]
    # A pointer has no way to name the key `*`.
    keys = [key for key in objects[0] if key != EVERY and all(isinstance(item.get(key), str) for item in objects)]
    return [
        Field(name, "", False, _closed([item[key] for item in objects]), key=key)
        for key, name in zip(keys, _identifiers(keys), strict=True)
    ]


def _object(text: str) -> dict[str, Any]:
    """The JSON object that a text is, as the check `json_schema` reads it; empty where it is none."""
    try:
        found = read_document(text)
    except NotJsonError:
        return {}
    return found if isinstance(found, dict) else {}


def checks(found: Sequence[Field], completions: Sequence[str]) -> list[str]:
    """The checks that find the fields, as lines of YAML: a schema for keys of JSON objects, else a pattern for each."""
    if not found or found[0].key is None:
        return [field.check() for field in found]
    objects = [_object(text) for text in completions]
    required = [key for key in objects[0] if all(key in item for item in objects)]
    closed = {field.key: list(field.values) for field in found if field.values}
    properties = {
        key: {"enum": closed[key]} if key in closed else {"type": kind}
        for key in required
        if key in closed or (kind := _kind([item[key] for item in objects]))
    }
    schema = {"type": "object", "required": required, "properties": properties}
    capture = {field.name: pointer_to(field.key) for field in found if field.key is not None}
    return [flow({"id": "json", "check": "json_schema", "schema": schema, "capture": capture})]


def _kind(values: list[Any]) -> str | None:
    """The type of JSON that all these values have; None where they differ."""
    kinds = {_KINDS.get(type(value), "null") for value in values}
    if kinds == {"integer", "number"}:
        return "number"
    return kinds.pop() if len(kinds) == 1 else None


def _closed(values: list[str]) -> tuple[str, ...]:
    """The different values, when they are few and short; else nothing."""
    different = dict.fromkeys(values)
    few = len(different) <= min(FEW, max(2, len(values) // 3))
    short = all(0 < len(value) <= SHORT and "\n" not in value and '"' not in value for value in different)
    return tuple(different) if few and short else ()


def _any_of(values: tuple[str, ...]) -> str:
    # The longest first: an alternation takes the first that fits, and one value may begin with another.
    return "|".join(_literal(value) for value in sorted(values, key=lambda value: (-len(value), value)))


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\ ", " ").replace(r"\-", "-").replace(r"\#", "#")


def _identifiers(labels: list[str]) -> list[str]:
    """Names of groups: `Due date` is due_date."""
    names: list[str] = []
    for label in labels:
        name = re.sub(r"\W+", "_", label.lower(), flags=re.ASCII).strip("_") or "part"
        name = name if name[0].isalpha() else f"part_{name}"
        names.append(name if name not in names else f"{name}_{len(names) + 1}")
    return names


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def expectation(found: list[Field], completion: str) -> dict[str, str]:
    """What a golden input expects: what the completion that was written for it says in each of these fields."""
    return {field.name: value for field in found if (value := field.value(completion)) is not None}


def comparison(field: Field) -> str:
    """The content check that compares a field, as a line of YAML; free text may differ in upper and lower case."""
    loose = "" if field.values else ", case_sensitive: false"
    return f"{{check: captured_equals, name: {scalar(field.name)}{loose}}}"
