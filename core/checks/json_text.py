"""The JSON document that an answer is, read strictly; what is forgiven has to be switched on.

Never accepted: text around the document, two documents, a key that stands twice, NaN and Infinity, numbers too large for a
float, a document nested deeper than `MAX_DEPTH`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, get_args

Forgiven = Literal["fence", "bom", "comments"]
FORGIVEN: tuple[Forgiven, ...] = get_args(Forgiven)
"""`fence`: the whole answer stands in one code block marked as json, as text or with nothing. `bom`: a mark of byte order.
`comments`: `//` and `/* */` outside of strings."""
BY_DEFAULT: frozenset[Forgiven] = frozenset(("fence", "bom"))

MAX_DEPTH = 50
MAX_DIGITS = 400
"""Of a whole number: Python takes a time that grows with the square of the digits to read one."""
_MARKS = frozenset(("", "json", "json5", "jsonc", "text", "txt", "plaintext", "plain"))
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})(.*)")
# A string that never ends is one piece up to its end, so that no search starts anew inside of it.
_PIECE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|//[^\n]*|/\*.*?(?:\*/|\Z)|[\[\]{}]', re.DOTALL)
_SYNTAX = {
    "Expecting ',' delimiter": "a comma or a closing bracket is missing",
    "Expecting ':' delimiter": "a colon is missing",
    "Expecting value": "a value is missing",
    "Expecting property name enclosed in double quotes": "a key does not stand in double quotes",
    "Unterminated string starting at": "a string does not end",
    "Invalid control character at": "a line break or tab stands in a string",
    "Invalid \\escape": "an escape that JSON does not have",
    "Invalid \\uXXXX escape": "an escape that JSON does not have",
    "Illegal trailing comma before end of object": "a comma stands before a closing bracket",
    "Illegal trailing comma before end of array": "a comma stands before a closing bracket",
}


class NotJsonError(ValueError):
    """The text is no JSON document; the message is the reason in words that are the same for the same reason."""


def read_document(text: str, forgiven: frozenset[Forgiven] = BY_DEFAULT) -> Any:
    """The value of the one JSON document that `text` is. NotJsonError says why it is none."""
    if "bom" in forgiven:
        text = text.removeprefix("\ufeff")
    text = text.strip(" \t\r\n")
    inner = _fenced(text)
    if inner is not None:
        if "fence" not in forgiven:
            raise NotJsonError("the whole answer is in a code block")
        text = inner.strip(" \t\r\n")
    if not text:
        raise NotJsonError("no JSON document")
    depth, commented = _shape(text)
    if depth > MAX_DEPTH:
        raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")
    if "comments" in forgiven and commented:
        text = _PIECE.sub(lambda piece: " " if piece[0].startswith("/") else piece[0], text).strip(" \t\r\n")
        if not text:
            raise NotJsonError("no JSON document")
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise NotJsonError(_why(text, error, commented)) from None
    following = text[end:].strip(" \t\r\n")
    if not following:
        return value
    if not isinstance(value, dict | list):
        raise NotJsonError(_no_document(text))
    raise NotJsonError(
        "more than one JSON document" if following[0] in "{[" else "text stands behind the JSON document"
    )


def _fenced(text: str) -> str | None:
    """What stands in the one code block that the text is; a block that does not end goes on to the end, as in CommonMark."""
    first, _, rest = text.partition("\n")
    opening = _FENCE.fullmatch(first.rstrip("\r"))
    if opening is None or opening[2].strip().casefold() not in _MARKS:
        return None
    lines = rest.split("\n")
    for place, line in enumerate(lines):
        closing = _FENCE.fullmatch(line.rstrip("\r"))
        if closing and not closing[2].strip() and closing[1].startswith(opening[1]):
            return None if any(after.strip() for after in lines[place + 1 :]) else "\n".join(lines[:place])
    return rest


def _shape(text: str) -> tuple[int, bool]:
    """The deepest nesting of brackets outside of strings, and whether there are comments."""
    depth = deepest = 0
    commented = False
    for piece in _PIECE.finditer(text):
        sign = piece[0][0]
        if sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "]}":
            depth -= 1
        elif sign == "/":
            commented = True
    return deepest, commented


def _why(text: str, error: json.JSONDecodeError, commented: bool) -> str:
    if text[0] not in '{["':
        return _no_document(text)
    if commented and text[error.pos : error.pos + 1] == "/":
        return "not valid JSON: a comment"
    return f"not valid JSON: {_SYNTAX.get(error.msg, error.msg)}"


def _no_document(text: str) -> str:
    return "text stands before the JSON document" if re.search(r"[{\[]", text) else "no JSON document"


def _pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise NotJsonError(f"the key `{twice[:40]}` stands twice")
    return found


def _constant(word: str) -> NoReturn:
    raise NotJsonError(f"{word} is no JSON")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise NotJsonError(f"a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise NotJsonError("a number too large for a float")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_whole, parse_float=_float, strict=True
)
