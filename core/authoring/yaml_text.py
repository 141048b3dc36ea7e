"""Text as it is written into YAML files for people: readable, and read back as the same text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from core.config.yaml import parse_scalar
from core.text import printable

_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_ ./+-]*[A-Za-z0-9_./+-])?")
_BACKSPACE = re.compile(r"(?<!\\)((?:\\\\)*)\\b")


def scalar(value: Any) -> str:
    """A value on one line: plain where that is safe, else in quotes."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if not isinstance(value, str):
        return str(value)
    if _PLAIN.fullmatch(value) and parse_scalar(value) == value:
        return value
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    quoted: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=10**9)
    # A backspace is written by its number: \b is refused when read, since in a pattern it was meant for the edge of a word.
    return _BACKSPACE.sub(r"\1\\x08", quoted.rstrip("\n"))


def flow(mapping: Mapping[str, Any]) -> str:
    """A mapping of scalars, lists and mappings on one line."""
    return "{" + ", ".join(f"{scalar(key)}: {flow_value(value)}" for key, value in mapping.items()) + "}"


def flow_value(value: Any) -> str:
    """A scalar, list or mapping on one line."""
    if isinstance(value, dict):
        return flow(value)
    return f"[{', '.join(flow_value(item) for item in value)}]" if isinstance(value, list) else scalar(value)


def block(text: str, indent: int) -> str:
    """Text behind `key: `, as a literal block whose lines stand `indent` deep where that keeps it as it is."""
    body = text.removesuffix("\n")
    lines = body.split("\n")
    plain = all(line.replace("\t", "").isprintable() for line in lines)
    if len(text) < 60 and "\n" not in text:
        return scalar(text)
    if not plain or not lines[0].strip() or lines[0][0].isspace() or not lines[-1].strip():
        return scalar(text)
    margin = " " * indent
    head = "|" if text.endswith("\n") else "|-"
    return "\n".join([head, *(margin + line if line else "" for line in lines)])


def comment(text: str, indent: int) -> str:
    """Text as comment lines that stand `indent` deep; what YAML has no letters for becomes a question mark."""
    margin = " " * indent
    lines = (printable(line, instead="?") for line in text.splitlines())
    return "\n".join(f"{margin}# {line}".rstrip() for line in lines)
