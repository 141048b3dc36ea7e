"""JSON among other lines: tools print warnings before it, the name of an error in front of it, or stop in the middle.

Nothing raises, whatever the text is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# Objects and lists begin a line, perhaps behind the name of an error: `AmdSmiException: {…}`.
_BEGIN = re.compile(r"^[ \t]*(?:[A-Za-z_][\w.]{0,100}:[ \t]*)?(?=[\[{])", re.MULTILINE)
# A number or word counts only when something stands behind it: the last figure of a text that is cut may lack digits.
_TOKEN = re.compile(
    r'[\s,]*(?:(?P<key>"(?:[^"\\]|\\.)*")\s*:\s*)?'
    r'(?:(?P<open>[\[{])|(?P<close>[\]}])|(?P<plain>"(?:[^"\\]|\\.)*"|[-+.\w]{1,400}(?=[\s,\]}])))',
    re.DOTALL,
)
_NESTING_LIMIT = 64
_DOCUMENTS_LIMIT = 1000
# Lines that begin with a bracket and are no document.
_FAILURES_LIMIT = 200


@dataclass(frozen=True)
class Found:
    """A document, and whether it was whole. Of one that is cut or broken it holds what stands before the break."""

    value: Any
    whole: bool


def documents(output: str) -> list[Found]:
    """The objects and lists of a tool's output in their order, without those in which nothing was found."""
    decoder = json.JSONDecoder()
    found: list[Found] = []
    place = failures = 0
    while (match := _BEGIN.search(output, place)) and len(found) < _DOCUMENTS_LIMIT and failures < _FAILURES_LIMIT:
        try:
            value, place = decoder.raw_decode(output, match.end())
            whole = True
        except (ValueError, RecursionError):
            value, place = _salvage(output, match.end())
            place, whole = max(place, match.end() + 1), False
            failures += 1
        if value:
            found.append(Found(value, whole))
    return found


def _salvage(output: str, place: int) -> tuple[Any, int]:
    """What stands before the break, with all that is open closed, and where the break is."""
    root: Any = None
    stack: list[Any] = []
    while match := _TOKEN.match(output, place):
        within = stack[-1] if stack else None
        opened, closed = match["open"], match["close"]
        if (isinstance(within, dict) and not closed) is not bool(match["key"]) or len(stack) >= _NESTING_LIMIT:
            break
        if closed:
            if (closed == "}") is not isinstance(within, dict):
                break
            place = match.end()
            stack.pop()
            if not stack:
                break
            continue
        try:
            value: Any = ({} if opened == "{" else []) if opened else json.loads(match["plain"])
            key = json.loads(match["key"]) if match["key"] else None
        except ValueError:
            break
        place = match.end()
        if isinstance(within, dict):
            within[key] = value
        elif isinstance(within, list):
            within.append(value)
        else:
            root = value
        if opened:
            stack.append(value)
    return root, place
