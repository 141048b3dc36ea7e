"""What goes wrong with a model server, as one error with one readable line."""

from __future__ import annotations

import json
from typing import Any, Literal

from core.errors import BakehouseError
from core.reasons import Reason
from core.text import one_line as text_in_one_line

ServerCode = Literal["server_down", "server_slow", "server_refused", "server_garbled"]

_LONGEST = 400


class ServerError(BakehouseError):
    """A model server did not do what it was asked.

    `code`: `server_down` (nobody listens there, or it went away in the middle), `server_slow` (a limit of time passed),
    `server_refused` (it answered with an error; `status` is the HTTP status, 200 where the error stood in a stream) or
    `server_garbled` (what it answered is not an answer of Ollama). `said` is the server's own message as one line of
    printable text, empty where it said nothing. `reason` is the same for whoever stores or compares it; its code is finer
    than `code` where one is given.
    """

    def __init__(
        self,
        message: str,
        *,
        code: ServerCode,
        status: int | None = None,
        said: str = "",
        remedy: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.status = status
        self.said = said
        self.reason = reason or Reason(code, {"status": status, "said": said})


def reason_of(error: BaseException) -> Reason:
    """Why a request failed, also one that ended with an error that no request should end with."""
    if isinstance(error, ServerError):
        return error.reason
    return Reason("unexpected_error", {"error": one_line(repr(error))})


def one_line(text: str) -> str:
    """Text of a server as one line of printable characters, at most 400 of them."""
    return text_in_one_line(text, limit=_LONGEST)


def readable_error(body: object) -> str | None:
    """The message in the `error` of a reply, None where it holds none.

    Servers from 0.30 on pass llama-server's reply on as a JSON document inside the string; OpenAI's way is an object.
    """
    message: object = body.get("error") if isinstance(body, dict) else None
    for _ in range(4):  # a document in a string in a document: never deeper than this in any version
        if isinstance(message, str):
            inner = _document(message)
            if inner is None:
                return one_line(message) or None
            message = inner
        if not isinstance(message, dict):
            return None
        message = next((message[key] for key in ("error", "message") if message.get(key)), None)
    return one_line(message) if isinstance(message, str) else None


def _document(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and (value.get("error") or value.get("message")) else None
