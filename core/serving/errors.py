"""What goes wrong with a model server, as one error with one readable line."""

from __future__ import annotations

import json
from typing import Any, Literal

from core.errors import BakehouseError
from core.reasons import Reason
from core.text import one_line as text_in_one_line

ServerCode = Literal[
    "server_down",
    "server_slow",
    "server_refused",
    "server_garbled",
    "server_busy",
    "server_out_of_memory",
    "context_overflow",
    "model_not_found",
    "option_refused",
    "create_refused",
    "no_render",
    "request_stopped",
]

_LONGEST = 400
# The same request may succeed later: the server or what stands before it was busy, restarting or out of reach.
_PASSING_STATUS = frozenset({408, 409, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})


class ServerError(BakehouseError):
    """A model server did not do what it was asked.

    `code`: `server_down` (nobody listens there, or it went away in the middle), `server_slow` (a limit of time passed),
    `server_refused` (it answered with an error; `status` is the HTTP status, 200 where the error stood in a stream) or
    `server_garbled` (what it answered is not an answer of such a server). A model that is asked (`ServedModel`) tells some
    refusals apart: `server_busy`, `server_out_of_memory`, `context_overflow`, `model_not_found`, `option_refused`,
    `create_refused` (it makes no model of what it was sent), `no_render` (it does not show the prompt that a model gets); and
    `request_stopped` where the request was given up on our side.

    `said` is the server's own message as one line of printable text, empty where it said nothing. `retry_after_seconds` is
    how long it asks to be left alone. `reason` is the same for whoever stores or compares it; its code is finer than `code`
    where one is given.
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
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.status = status
        self.said = said
        self.retry_after_seconds = retry_after_seconds
        self.reason = reason or Reason(code, {"status": status, "said": said})

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later. Not where memory is short: the next request would not find more."""
        if self.code == "server_refused":
            # An error within a stream: what answered has gone, another will be started.
            return self.status is None or self.status == 200 or self.status in _PASSING_STATUS
        return self.code in {"server_down", "server_slow", "server_garbled", "server_busy"}


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


def readable_refusal(body: object) -> str | None:
    """The message of a reply with an error's status, also where a gateway or FastAPI writes it in a way of its own."""
    if not isinstance(body, dict):
        return None
    if said := readable_error(body):
        return said
    for key in ("message", "detail"):
        value = body.get(key)
        if isinstance(value, list):  # FastAPI: [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
            parts = [f"{_place(one.get('loc'))}: {one.get('msg')}" for one in value[:5] if isinstance(one, dict)]
            value = "; ".join(parts)
        if isinstance(value, str) and value.strip():
            return one_line(value)
    return None


def _place(loc: object) -> str:
    return ".".join(str(part) for part in loc) if isinstance(loc, list) else ""


def _document(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and (value.get("error") or value.get("message")) else None
