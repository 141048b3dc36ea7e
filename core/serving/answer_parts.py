"""An answer while it comes: its pieces, the time of the first, and a bound on how much of it is held."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from core.serving.errors import ServerError

LONGEST_ANSWER_CHARACTERS = 2**20
"""An answer is cut there and told as one that ran to its limit (`length`). No limit of a task is near; a server that lets a
model run on past `max_new_tokens` would else fill the memory, and would do so again when it is asked again."""

_REPEATS = 30


class AnswerParts:
    """`started` is the monotonic time of the request; `came` is called for each piece."""

    def __init__(self, started: float, came: Callable[[], None] = lambda: None) -> None:
        self.started, self._came = started, came
        self.first_seconds: float | None = None
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._characters = 0
        self._last, self._repeats = "", 0

    def add(self, text: object, thought: object) -> None:
        """A piece of the answer and one of the thinking; what is no text is none."""
        for piece, pieces in ((text, self._texts), (thought, self._thoughts)):
            if not isinstance(piece, str) or not piece:
                continue
            if self.first_seconds is None:
                self.first_seconds = time.monotonic() - self.started
            pieces.append(piece[: max(0, LONGEST_ANSWER_CHARACTERS - self._characters)])
            self._characters += len(piece)
            self._came()
            same = piece.strip()
            self._repeats = self._repeats + 1 if same == self._last else 0
            self._last = same

    @property
    def is_full(self) -> bool:
        """No more of it is held."""
        return self._characters >= LONGEST_ANSWER_CHARACTERS

    @property
    def repeats_one_token(self) -> bool:
        """The last pieces are the same one over and over: where Ollama gives an answer up without an end."""
        return self._repeats >= _REPEATS

    @property
    def text(self) -> str:
        return _whole(self._texts)

    @property
    def thinking(self) -> str | None:
        """None where nothing was thought, or where nothing of it was told."""
        return _whole(self._thoughts) or None


def _whole(pieces: list[str]) -> str:
    """The pieces as one text. JSON can hold half a character (a lone surrogate): two halves are joined, one is U+FFFD."""
    text = "".join(pieces)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def schema_of(text: str) -> dict[str, Any]:
    """The JSON schema that an answer is held to; ServerError (`option_refused`) for what is none."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise ServerError("the schema of the answer is not a JSON object", code="option_refused")
    return schema
