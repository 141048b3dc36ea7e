"""JSON pointers (RFC 6901) with `*` for every item of a list and every value of an object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator

EVERY = "*"


def check_pointer(pointer: str) -> str:
    """The pointer; ValueError for a text that is none."""
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"a JSON pointer begins with `/`: write `/{pointer}`")
    for part in pointer.split("/")[1:]:
        if "~" in part.replace("~0", "").replace("~1", ""):
            raise ValueError("in a JSON pointer `~` is written `~0`, and `/` inside a key `~1`")
    return pointer


Pointer = Annotated[str, AfterValidator(check_pointer)]


def parts_of_pointer(pointer: str) -> list[str]:
    """The keys and places of a pointer; none for the empty one, which means the whole document."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def pointer_to(*parts: str | int) -> str:
    """The pointer with these keys and places."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def found_at(document: Any, pointer: str) -> Iterator[Any]:
    """The values that a pointer leads to, in document order; none where nothing stands there."""
    yield from _follow(document, parts_of_pointer(pointer))


def _follow(value: Any, parts: list[str]) -> Iterator[Any]:
    if not parts:
        yield value
        return
    first, rest = parts[0], parts[1:]
    if first == EVERY:
        inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
        for item in inner:
            yield from _follow(item, rest)
    elif isinstance(value, dict) and first in value:
        yield from _follow(value[first], rest)
    elif isinstance(value, list) and _is_place(first) and int(first) < len(value):
        yield from _follow(value[int(first)], rest)


def _is_place(part: str) -> bool:
    return part.isascii() and part.isdecimal() and str(int(part[:9])) == part


def as_text(value: Any) -> str:
    """A value as it is captured: a string as it is, anything else as JSON (`4.5`, `true`, `null`, `[1,2]`)."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
