"""A stand-in for Ollama's reader of Modelfiles: the same states, the same unquoting (its `parser/parser.go`), in Python."""

from __future__ import annotations

import re

COMMANDS = ("from", "license", "template", "system", "adapter", "parameter", "message")


class ModelfileError(Exception):
    """What Ollama would refuse."""


def read_modelfile(text: str) -> list[tuple[str, str]]:
    """The commands in order: name (that of a parameter for PARAMETER) and value; of a MESSAGE `role: text`."""
    commands: list[tuple[str, str]] = []
    state, name, buffer, role = "nothing", "", "", ""
    for letter in text:
        blank, line_end = letter in " \t", letter in "\r\n"
        kept = (
            letter if blank or line_end or letter.isprintable() else ""
        )  # what Go's strconv.IsPrint refuses is dropped
        if state == "comment":
            state = "nothing" if line_end else state
        elif state == "nothing":
            if letter == "#":
                state = "comment"
            elif not blank and not line_end:
                state, buffer = "name", kept
        elif state == "name":
            if re.fullmatch("[A-Za-z]", letter):
                buffer += letter
            elif blank and buffer.lower() in COMMANDS:
                name, buffer = buffer.lower(), ""
                state = name if name in ("parameter", "message") else "value"
            else:
                raise ModelfileError(f"no command: {buffer!r}")
        elif state == "parameter":
            if re.fullmatch("[A-Za-z0-9_]", letter):
                buffer += letter
            elif blank:
                state, name, buffer = "value", buffer, ""
            else:
                raise ModelfileError("unexpected end")
        elif state == "message":
            if letter.isalpha():
                buffer += letter
            elif blank and buffer in ("system", "user", "assistant"):
                state, role, buffer = "value", f"{buffer}: ", ""
            else:
                raise ModelfileError("no role")
        elif line_end and (value := _unquoted(buffer)) is not None:
            commands.append((name, role + value))
            state, buffer, role = "nothing", "", ""
        else:
            buffer += kept
    if state == "value":
        value = _unquoted(buffer)
        if value is None:
            raise ModelfileError("unexpected end")
        commands.append((name, role + value))
    elif state not in ("nothing", "comment"):
        raise ModelfileError("unexpected end")
    if not any(command == "from" for command, _ in commands):
        raise ModelfileError("no FROM line")
    return commands


def _unquoted(buffer: str) -> str | None:
    """The value, None while a quote is open."""
    text = buffer.strip()
    if text.startswith('"""'):
        return text[3:-3] if len(text) >= 6 and text.endswith('"""') else None
    if text.startswith('"'):
        return text[1:-1] if len(text) >= 2 and text.endswith('"') else None
    return text
