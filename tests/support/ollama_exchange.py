"""One exchange with a server of Ollama's API, raw, and what of it can be compared with a recorded one."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.ollama_standin import OllamaStandin
from tests.support.waiting import PATIENCE_SECONDS, wait_until

_PLACE = re.compile(r"(?<=open )/\S*/blobs/")
NUMBERS = re.compile(r"\d+(\.\d+)?")


@dataclass
class Reply:
    """An answer: its status, content type, object, text, or lines of a stream."""

    status: int
    content_type: str | None
    raw: bytes

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw.splitlines() if line.strip()]

    @property
    def json(self) -> Any:
        return json.loads(self.raw) if self.raw.lstrip()[:1] in (b"{", b"[") else None


def send(standin: OllamaStandin, request: dict[str, Any]) -> Reply:
    connection, response = open_request(standin, request)
    try:
        return Reply(response.status, response.getheader("Content-Type"), response.read())
    finally:
        connection.close()


def open_request(
    standin: OllamaStandin, request: dict[str, Any]
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Sends it; the beginning of the answer."""
    connection = connect(standin, request)
    return connection, connection.getresponse()


def connect(standin: OllamaStandin, request: dict[str, Any]) -> http.client.HTTPConnection:
    """Sends it as it was recorded, foreign headers and broken bodies too."""
    url = urlsplit(standin.url)
    headers = request.get("headers", {})
    data = json.dumps(request["body"]).encode() if "body" in request else request.get("body_note", "").encode()
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    connection.putrequest(request["method"], request["path"], skip_host="Host" in headers)
    for key, value in headers.items():
        connection.putheader(key, value)
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders(data)
    return connection


def ps(standin: OllamaStandin) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = send(standin, {"method": "GET", "path": "/api/ps"}).json["models"]
    return found


def wait(found: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    return wait_until(found, seconds)


def shape(value: Any) -> Any:
    """The fields and the types of their values; numbers are numbers, a list is what its first member is."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None:
        return repr(type(value).__name__)
    return "number" if isinstance(value, int | float) else "text"


def listed(models: list[dict[str, Any]]) -> list[tuple[str, int, bool]]:
    """(name, context, whether it stays for ever), in the order of the list."""
    return [(one["name"], one["context_length"], int(one["expires_at"][:4]) > 2300) for one in models]


def changes(lists: list[list[dict[str, Any]]]) -> list[list[tuple[str, int]]]:
    """The models that were listed, one after another; their order in the list and their expiry left aside."""
    found: list[list[tuple[str, int]]] = []
    for one in lists:
        now = sorted((entry["name"], entry["context_length"]) for entry in one)
        if not found or found[-1] != now:
            found.append(now)
    return found


def count(entries: list[Any]) -> int:
    """How many there were, with those that were cut from the recording."""
    return sum(int(NUMBERS.search(one)[0]) if isinstance(one, str) else 1 for one in entries)  # type: ignore[index]


def without_measures(text: str) -> str:
    """An error's words; how many tokens or bytes is the model's and the machine's, as is where it has its files."""
    text = _PLACE.sub("blobs/", text)
    measured = ("memory", "allocate", "context size")
    return NUMBERS.sub("N", text) if any(word in text for word in measured) else text
