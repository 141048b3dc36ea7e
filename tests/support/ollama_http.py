"""The HTTP side of the Ollama stand-in: routes, streams, and a network that can fail."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.support.ollama_requests import RefusalError

JSON = "application/json; charset=utf-8"
LINES = "application/x-ndjson"
TEXT = "text/plain; charset=utf-8"
UPLOADS = "/api/blobs/"
PIECE_BYTES = 2**18

Route = Callable[["Exchange"], None]


@dataclass
class Fault:
    """What befalls one request: it waits, is cut off before its first line or after some, or gets another answer.

    `path` is the request's, or what it begins with where it ends in a slash. `cut_upload_after`: the connection breaks once
    so many bytes of the body have come. `loses_answer`: what is asked for is done, and the connection breaks before the answer.
    """

    path: str | None = None
    delay_seconds: float = 0.0
    cut_after: int | None = None
    cut_upload_after: int | None = None
    loses_answer: bool = False
    status: int = 200
    body: bytes | None = None
    content_type: str = JSON

    def meets(self, method: str, path: str) -> bool:
        if (self.cut_upload_after is not None or self.loses_answer) and method != "POST":
            return False
        wanted = self.path
        return wanted is None or wanted == path or (wanted.endswith("/") and path.startswith(wanted))


class ClientGoneError(Exception):
    """Nobody reads the answer any more."""


class Exchange:
    """One request and the way its answer goes."""

    def __init__(self, handler: _Handler, raw: bytes, fault: Fault | None) -> None:
        self.method, self.path, self.raw = handler.command, urlsplit(handler.path).path, raw
        self._handler, self._fault = handler, fault
        self._streaming = False
        self._lines = 0

    def text(self, status: int, text: str, content_type: str | None = TEXT) -> None:
        self._whole(status, text.encode(), content_type)

    def json(self, status: int, body: dict[str, Any], content_type: str = JSON) -> None:
        self._whole(status, self._handler.server.network.encoded(body), content_type)

    def upload(self) -> Iterator[bytes]:
        """The body piece by piece, where it is that of a file. ClientGoneError when it ends too early."""
        left, cut = self._handler.length, self._fault.cut_upload_after if self._fault is not None else None
        came = 0
        while left:
            piece = self._handler.rfile.read(min(left, PIECE_BYTES))
            came, left = came + len(piece), left - len(piece)
            if not piece or (cut is not None and came >= cut):
                raise ClientGoneError
            yield piece

    def line(self, body: dict[str, Any]) -> None:
        """A line of a stream; the first one opens it."""
        if self._fault is not None and self._fault.cut_after is not None and self._lines >= self._fault.cut_after:
            raise ClientGoneError
        if not self._streaming:
            self._streaming = True
            self._head(200, LINES, None)
        data = self._handler.server.network.encoded(body) + b"\n"
        self._write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self._lines += 1
        self._handler.server.network.lines_sent += 1

    def end(self) -> None:
        """The stream is whole."""
        if self._streaming:
            self._write(b"0\r\n\r\n")

    def refuse(self, refusal: RefusalError) -> None:
        """The error with its status, or as the last line of a stream that has begun."""
        if self._streaming:
            self.line({"error": refusal.error})
            self.end()
        else:
            self.json(refusal.status, {"error": refusal.error})

    def check_client(self) -> None:
        """ClientGoneError when the other side has closed."""
        connection = self._handler.connection
        readable, _, _ = select.select([connection], [], [], 0)
        try:
            gone = bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            gone = True
        if gone:
            raise ClientGoneError

    def _whole(self, status: int, data: bytes, content_type: str | None) -> None:
        self._head(status, content_type, len(data))
        if self.method != "HEAD":
            self._write(data)

    def _head(self, status: int, content_type: str | None, length: int | None) -> None:
        handler = self._handler
        if self._fault is not None and self._fault.loses_answer:
            raise ClientGoneError
        handler.send_response(status)
        if content_type is not None:
            handler.send_header("Content-Type", content_type)
        if length is None:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Content-Length", str(length))
        try:
            handler.end_headers()
        except OSError:
            raise ClientGoneError from None

    def _write(self, data: bytes) -> None:
        try:
            self._handler.wfile.write(data)
        except OSError:
            raise ClientGoneError from None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    length = 0
    """Of the request's body, in bytes."""

    def version_string(self) -> str:
        return "standin"

    def send_response(self, code: int, message: str | None = None) -> None:
        self.send_response_only(code, message)
        self.send_header("Date", self.date_time_string())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the stand-in keeps its requests itself."""

    def answer(self) -> None:
        self.length = int(self.headers.get("Content-Length") or 0)
        is_upload = self.path.startswith(UPLOADS)  # its route reads the body
        raw = self.rfile.read(self.length) if self.length and not is_upload else b""
        network = self.server.network
        fault = network.seen(self.command, urlsplit(self.path).path, raw)
        exchange = Exchange(self, raw, fault)
        try:
            if fault is not None:
                time.sleep(fault.delay_seconds)
                if fault.body is not None:
                    exchange.text(fault.status, fault.body.decode("latin-1"), fault.content_type)
                    return
                if fault.cut_after == 0:
                    raise ClientGoneError
            if not self._from_here():
                exchange.text(403, "", None)
                return
            self._route(exchange)
        except ClientGoneError:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _route(self, exchange: Exchange) -> None:
        routes = self.server.network.routes
        path = UPLOADS if exchange.path.startswith(UPLOADS) else exchange.path
        route = routes.get((self.command, path))
        if route is not None:
            try:
                route(exchange)
            except RefusalError as refusal:
                exchange.refuse(refusal)
        elif any(one == path for _, one in routes):
            exchange.text(405, "405 method not allowed", "text/plain")
        else:
            exchange.text(404, "404 page not found", "text/plain")

    def _from_here(self) -> bool:
        """A page of somebody else's may not ask: neither under another host's name nor from another origin."""
        origin = self.headers.get("Origin")
        hosts = [self.headers.get("Host") or "", *([origin.partition("://")[2]] if origin else [])]
        return all(_is_local(urlsplit(f"//{host}").hostname or "") for host in hosts)


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.answer)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], network: Network) -> None:
        self.network = network
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is the client's business; anything else is a fault of the stand-in's own."""
        import sys

        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.network.opened(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.network.closed(request)
        super().shutdown_request(request)


class Network:
    """A listening socket that can go away and come back at the same address, and what is to befall coming requests."""

    def __init__(self, routes: dict[tuple[str, str], Route], seen: Callable[[str, str, bytes], None]) -> None:
        self.routes = routes
        self.faults: list[Fault] = []
        self.delay_seconds = 0.0
        self.lines_sent = 0
        self.adds_fields = False
        """Whether each object of an answer has fields that no version knows."""
        self.port = 0
        self._seen = seen
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def up(self) -> None:
        """Listens, at the port it had."""
        if self._server is not None:
            return
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="ollama-standin", daemon=True
        )
        self._thread.start()

    def down(self) -> None:
        """Connections are refused from now on, and those that are open break."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = None
        with self._lock:
            for connection in list(self._connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def seen(self, method: str, path: str, raw: bytes) -> Fault | None:
        """Notes a request; what is to befall it."""
        self._seen(method, path, raw)
        with self._lock:
            for fault in self.faults:
                if fault.meets(method, path):
                    self.faults.remove(fault)
                    return fault
        return Fault(delay_seconds=self.delay_seconds) if self.delay_seconds else None

    def encoded(self, body: dict[str, Any]) -> bytes:
        return json.dumps(_with_more(body) if self.adds_fields else body, ensure_ascii=False).encode(errors="replace")

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)


def _with_more(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_more(one) for one in value]
    if not isinstance(value, dict):
        return value
    more = {"of_a_later_version": {"kind": [1, None]}, "seal": "x"}
    return {key: _with_more(one) for key, one in value.items()} | more


def _is_local(host: str) -> bool:
    if (
        host in ("", "localhost")
        or host.endswith((".localhost", ".local", ".internal"))
        or host == socket.gethostname()
    ):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified
