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
_STRING = r'"[^"\\]{0,4096}(?:\\.[^"\\]{0,4096}){0,256}"'
# A number or word counts only when something stands behind it: the last figure of a text that is cut may lack digits.
_TOKEN = re.compile(
    rf"[\s,]*(?:(?P<key>{_STRING})\s*:\s*)?"
    rf"(?:(?P<open>[\[{{])|(?P<close>[\]}}])|(?P<plain>{_STRING}|[-+.\w]{{1,400}}(?=[\s,\]}}])))",
    re.DOTALL,
)
_NESTING_LIMIT = 64
# No tool prints so much; what would take longer to look at than a reading may is cut off.
_CHARACTERS_LIMIT = 2**20
_DOCUMENTS_LIMIT = 1000
_FAILURES_LIMIT = 200
_TOKENS_LIMIT = 50_000


@dataclass(frozen=True)
class JsonDocument:
    """A document, and whether it was whole. Of one that is cut or broken it holds what stands before the break."""

    value: Any
    whole: bool


def documents(output: str) -> list[JsonDocument]:
    """The objects and lists of a tool's output in their order, without those in which nothing was found."""
    output = output[:_CHARACTERS_LIMIT].removeprefix("\ufeff")
    decoder = json.JSONDecoder()
    found: list[JsonDocument] = []
    place = failures = tokens = 0
    for _ in range(_DOCUMENTS_LIMIT):
        match = _BEGIN.search(output, place)
        if match is None or failures > _FAILURES_LIMIT or tokens > _TOKENS_LIMIT:
            break
        try:
            value, place = decoder.raw_decode(output, match.end())
            whole = True
        except (ValueError, RecursionError):
            value, place, used = _salvage(output, match.end(), _TOKENS_LIMIT - tokens)
            place, whole = max(place, match.end() + 1), False
            failures, tokens = failures + 1, tokens + used
        if value:
            found.append(JsonDocument(value, whole))
    if not found and (start := output.find("{")) >= 0:
        # Behind something else in its line.
        try:
            value, _ = decoder.raw_decode(output, start)
        except (ValueError, RecursionError):
            return []
        found = [JsonDocument(value, True)] if value else []
    return found


def _salvage(output: str, place: int, tokens: int) -> tuple[Any, int, int]:
    """What stands before the break, with all that is open closed; where the break is; how many tokens that took."""
    root: Any = None
    stack: list[Any] = []
    used = 0
    while used < tokens and (match := _TOKEN.match(output, place)):
        used += 1
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
    return root, place, used
