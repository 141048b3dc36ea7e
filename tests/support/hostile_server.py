"""A model server that misbehaves: it answers small requests as its API does, and a question with whatever bytes it is told.

Raw sockets: what no library of HTTP would send is sent here. `ollama` and `openai` are the APIs that it speaks.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MODEL = "m:latest"
CHAT = {"ollama": "/api/chat", "openai": "/v1/chat/completions"}
STREAM = {"ollama": "application/x-ndjson", "openai": "text/event-stream"}

Behaviour = Callable[["Connection"], None]


class Connection:
    """One request that came, and the way back. Sending to somebody who has gone ends the behaviour (OSError)."""

    def __init__(self, server: HostileServer, connection: socket.socket, head: str) -> None:
        self.server, self.api, self._socket, self.head = server, server.api, connection, head

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._socket.sendall(part)

    def begin(self, **headers: str) -> None:
        """A good head of a stream that ends when the connection does."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send(head(200, STREAM[self.api], *lines))

    def say(self, text: str) -> None:
        """A piece of an answer."""
        self.send(piece(self.api, json.dumps(text).encode()))

    def end(self) -> None:
        """The last piece of a good answer."""
        self.send(end(self.api))

    def stall(self) -> None:
        """Send nothing more, until the client goes or the test is over."""
        self._socket.settimeout(0.05)
        while not self.server.over.is_set():
            with contextlib.suppress(TimeoutError):
                if not self._socket.recv(65536):
                    return

    def reset(self) -> None:
        """The connection breaks (RST) instead of being closed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._socket.close()


class HostileServer:
    """`behaviour` answers the requests for an answer; `asked` are (path, head, body) of all requests."""

    def __init__(self, api: str, behaviour: Behaviour) -> None:
        self.api, self.behaviour = api, behaviour
        self.version = "0.33.0"
        self.documents: dict[str, Any] = {}  # what other paths answer instead: a document, or (status, document)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=32)
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._handle, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()

    def _handle(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            raw = b""
            while b"\r\n\r\n" not in raw:
                part = connection.recv(65536)
                if not part:
                    return
                raw += part
            top, _, body = raw.partition(b"\r\n\r\n")
            text = top.decode("latin-1")
            lengths = [line for line in text.lower().split("\r\n") if line.startswith("content-length:")]
            wanted = int(lengths[0].partition(":")[2]) if lengths else 0
            while len(body) < wanted:
                body += connection.recv(65536)
            path = text.split(" ")[1]
            self.asked.append((path, text, json.loads(body) if body else {}))
            if path == CHAT[self.api]:
                self.behaviour(Connection(self, connection, text))
            else:
                connection.sendall(self._usual(path))

    def _usual(self, path: str) -> bytes:
        documents: dict[str, Any] = {
            "/api/version": {"version": self.version},
            "/api/show": {
                "modelfile": f"FROM /models/sha256-{'a' * 64}\n",
                "template": "{{ .Prompt }}",
                "capabilities": ["completion"],
            },
            "/api/tags": {"models": [{"name": MODEL}]},
            "/api/ps": {"models": []},
            "/api/generate": {"model": MODEL, "response": "", "done": True, "done_reason": "load"},
            "/v1/models": {"object": "list", "data": [{"id": MODEL, "object": "model"}]},
            "/props": {"build_info": self.version, "chat_template": "{{ messages }}"},
        }
        usual = {key: value for key, value in documents.items() if key.startswith("/api/") == (self.api == "ollama")}
        found = {**usual, **self.documents}.get(path) or (404, {"error": "not here"})
        status, document = found if isinstance(found, tuple) else (200, found)
        return whole(status, json.dumps(document).encode())


@contextmanager
def hostile(api: str, behaviour: Behaviour) -> Iterator[HostileServer]:
    """Such a server, for as long as the context lasts."""
    server = HostileServer(api, behaviour)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def head(status: int, content_type: str, *lines: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status} So", f"Content-Type: {content_type}", *lines, "", "")).encode("latin-1")


def whole(status: int, body: bytes, *lines: str, content_type: str = "application/json") -> bytes:
    """A reply with the right length."""
    return head(status, content_type, f"Content-Length: {len(body)}", *lines) + body


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def piece(api: str, text: bytes, thought: bytes = b'""') -> bytes:
    """A piece of an answer; `text` and `thought` are JSON."""
    if api == "ollama":
        message = b'{"role": "assistant", "content": %b, "thinking": %b}' % (text, thought)
        return b'{"model": "m", "message": %b, "done": false}\n' % message
    delta = b'{"content": %b, "reasoning_content": %b}' % (text, thought)
    return b'data: {"choices": [{"index": 0, "delta": %b, "finish_reason": null}]}\n\n' % delta


def end(api: str, numbers: bytes = b"7", finish: bytes = b'"stop"') -> bytes:
    """The last piece; `numbers` is the JSON that stands for every count and duration."""
    if api == "ollama":
        names = (b"prompt_eval_count", b"eval_count", b"eval_duration", b"prompt_eval_duration", b"load_duration")
        counts = b", ".join(b'"%b": %b' % (name, numbers) for name in names)
        return b'{"model": "m", "message": {"content": ""}, "done": true, "done_reason": %b, %b}\n' % (finish, counts)
    usage = b'{"prompt_tokens": %b, "completion_tokens": %b}' % (numbers, numbers)
    timings = b'{"prompt_ms": %b, "predicted_ms": %b}' % (numbers, numbers)
    last = b'{"choices": [{"index": 0, "delta": {}, "finish_reason": %b}], "usage": %b, "timings": %b}'
    return b"data: " + last % (finish, usage, timings) + b"\n\ndata: [DONE]\n\n"
