"""What is wrong with a text that is no JSON, in words: what people's files hold there in place of JSON is known."""

from __future__ import annotations

import re
from json import JSONDecodeError

_COMMENT = re.compile(r"\s*(//|/\*|#)")
_PYTHON = re.compile(r"\s*(True|False|None)\b|\s*[\[{(,:]?\s*'")
_CONTROL = {"\t": "a tab, written \\t", "\n": "a line feed, written \\n", "\r": "a carriage return, written \\r"}
FENCE = "```"


def json_fault(text: str, error: JSONDecodeError, *, by_line: bool = True) -> tuple[str, str | None]:
    """A message of what the decoder could not read in `text`, and a remedy where what stands there is known.

    `by_line`: the text is one line, and only the column is said.
    """
    where = f"column {error.colno}" if by_line else f"line {error.lineno} column {error.colno}"
    rest = text[error.pos :]
    what, remedy = error.msg.removesuffix(" at"), None
    if text.lstrip().startswith(FENCE):
        what, remedy = "a fence of markdown (```) stands there", "take the fence out"
    elif _COMMENT.match(rest):
        what, remedy = "a comment, and JSON has none", "take the comments out"
    elif _PYTHON.match(rest):
        what, remedy = "Python's notation", "write it with json.dumps: double quotes, true, false, null"
    elif error.msg.startswith("Invalid control"):
        what = f"within a text, {_CONTROL.get(rest[:1], f'the control character 0x{ord(rest[0]):02x}')} in JSON"
    elif error.msg.startswith("Unterminated") or not rest.strip():
        what = "it ends in the middle of its JSON: cut off, or a line feed within a text"
    elif error.msg.startswith("Extra data"):
        what = "something follows the JSON"
    return f"is not JSON at {where}: {what}", remedy
