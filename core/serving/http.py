"""Requests to a model server over HTTP: its bytes as they come, and every way in which that can fail as a ServerError."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from core.reasons import Reason
from core.serving.address import ServerAddress
from core.serving.errors import ServerError, one_line, readable_error, readable_refusal

if TYPE_CHECKING:
    import httpx

# How httpx begins to say that a connection ended too early; its other messages are about bytes that are no HTTP.
_CUT_OFF = ("server disconnected", "peer closed")
LONGEST_REPLY_BYTES = 64 * 2**20
LONGEST_LINE_BYTES = 16 * 2**20
_LOOK_SECONDS = 0.1
_AFTER_DEADLINE_SECONDS = 0.001


class RequestWatch:
    """Ends a request that takes longer than `seconds`, or that `stopped` says is not wanted any more, also while no byte of
    it comes. A context manager around the request. Without `stopped` only the time ends it.
    """

    def __init__(self, seconds: float, stopped: Callable[[], bool] | None = None) -> None:
        self.ended: str | None = None  # "slow" or "stopped" once it was ended
        self.seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._stopped = stopped
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._look, name="request-watch", daemon=True)

    def __enter__(self) -> RequestWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpcore tells while it works: which socket the request goes over."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self.ended is not None:
                    self._break()

    def look(self) -> str | None:
        """Whether the request has to end now; the thread looks by itself, this is for between two pieces of an answer."""
        if self.ended is None:
            if self._stopped is not None and self._stopped():
                self.ended = "stopped"
            elif time.monotonic() > self._deadline:
                self.ended = "slow"
        return self.ended

    def _look(self) -> None:
        while not self._over.wait(self._pause()):
            with self._lock:
                if self.look() is not None:
                    self._break()
                    return

    def _pause(self) -> float:
        """Until the next look."""
        left = max(self._deadline - time.monotonic(), 0.0) + _AFTER_DEADLINE_SECONDS
        return left if self._stopped is None else min(left, _LOOK_SECONDS)

    def _break(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class HttpClient:
    """One server at one address. Every request has a connection of its own, so none outlives a restart of the server.

    `connect_seconds` limits the time until somebody answers there. `headers` are added to each request; no redirect is
    followed, so they reach this address only. `garbled` makes the error for what is no answer of such a server, and
    `login` is what to do when the server wants to know who asks. `proxies`: those of the environment are used.
    """

    def __init__(
        self,
        address: ServerAddress,
        *,
        connect_seconds: float,
        garbled: Callable[[str], ServerError],
        login: str,
        headers: Mapping[str, str] | None = None,
        proxies: bool = False,
    ) -> None:
        self.url = address.url
        self.connect_seconds = connect_seconds
        self.garbled = garbled
        self._login = login
        self._proxies = proxies
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        if address.authorization is not None and "Authorization" not in self._headers:
            self._headers["Authorization"] = address.authorization
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Frees what is held; the server can be asked again afterwards."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def document(self, method: str, path: str, request: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        """The one JSON object of a reply."""
        return self.parsed(self.reply(method, path, request, seconds), path)

    def reply(self, method: str, path: str, request: Mapping[str, Any] | None, seconds: float) -> bytes:
        """A whole reply within `seconds`, also of a server that sends its headers or an error byte by byte."""
        with RequestWatch(seconds) as watch:
            return b"".join(self._chunks(method, path, request, watch, longest=LONGEST_REPLY_BYTES))

    def lines(
        self,
        path: str,
        request: Mapping[str, Any],
        seconds: float,
        *,
        silence_seconds: float | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> Generator[bytes]:
        """The lines of a POST's reply, without their ends and without the empty ones."""
        # What is stopped when it is enough may be long.
        longest = LONGEST_REPLY_BYTES if stopped is None else None
        with RequestWatch(seconds, stopped) as watch:
            chunks = self._chunks("POST", path, request, watch, silence_seconds=silence_seconds, longest=longest)
            with contextlib.closing(chunks):
                for line in split_lines(chunks):
                    if len(line) > LONGEST_LINE_BYTES:
                        raise self.garbled(_last(path))
                    if line.strip():
                        yield line

    def parsed(self, raw: bytes, path: str) -> dict[str, Any]:
        """The JSON object in these bytes. An error in it is raised, as is what is no object."""
        body = json_object(raw)
        if body is None:
            raise self.garbled(_last(path))
        if said := readable_error(body):
            raise ServerError(said, code="server_refused", status=200, said=said)
        return body

    def send(
        self,
        path: str,
        pieces: Iterable[bytes],
        size_bytes: int,
        seconds: float,
        *,
        silence_seconds: float,
        stopped: Callable[[], bool] | None = None,
    ) -> int:
        """POSTs `size_bytes` as they come from `pieces`, holding none of them; the status, 200 or 201."""
        added = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
        with (
            RequestWatch(seconds, stopped) as watch,
            self._response("POST", path, pieces, watch, silence_seconds, added=added, good=(200, 201)) as response,
        ):
            return response.status_code

    def _chunks(
        self,
        method: str,
        path: str,
        request: Mapping[str, Any] | None,
        watch: RequestWatch,
        *,
        silence_seconds: float | None = None,
        longest: int | None = None,
    ) -> Generator[bytes]:
        """The reply's bytes as they come, `longest` at most. `watch` limits the whole, `silence_seconds` the time in which
        nothing comes."""
        # Not httpx's own JSON: a name with a lone surrogate, as a server can send one, is no UTF-8.
        content = None if request is None else json.dumps(request).encode()
        size = 0
        with self._response(method, path, content, watch, silence_seconds) as response:
            # Never decompressed: a small reply could be one that fills the memory, and none was asked to be compressed.
            for chunk in response.iter_raw():
                yield chunk
                size += len(chunk)
                if longest is not None and size > longest:
                    raise self.garbled(_last(path))
                if watch.look() is not None:
                    break

    @contextlib.contextmanager
    def _response(
        self,
        method: str,
        path: str,
        content: bytes | Iterable[bytes] | None,
        watch: RequestWatch,
        silence_seconds: float | None,
        *,
        added: Mapping[str, str] | None = None,
        good: Collection[int] = (200,),
    ) -> Iterator[httpx.Response]:
        """The reply with one of the `good` statuses, its body still to come. All that fails in it is a ServerError."""
        import httpx

        seconds = watch.seconds
        silence = seconds if silence_seconds is None else min(seconds, silence_seconds)
        limits = httpx.Timeout(silence, connect=min(seconds, self.connect_seconds))
        try:
            with self._http().stream(
                method,
                self.url + path,
                content=content,
                headers={**self._headers, **(added or {})},
                timeout=limits,
                extensions={"trace": watch.trace},
            ) as response:
                if response.status_code not in good:
                    raise self._refusal(response)
                yield response
        except httpx.TimeoutException as error:
            self._raise_ended(watch)
            waited = limits.connect if isinstance(error, httpx.ConnectTimeout) else silence
            raise self._slow(waited or silence) from None
        except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
            self._raise_ended(watch)
            raise self._down(error) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
            said = one_line(str(error))
            message = f"no model server can be asked at {self.url}: {said}"
            reason = Reason("server_address_unusable", {"url": self.url, "error": said})
            raise ServerError(message, code="server_down", reason=reason) from None
        self._raise_ended(watch)

    def _raise_ended(self, watch: RequestWatch) -> None:
        if watch.ended == "slow":
            raise self._slow(watch.seconds) from None
        if watch.ended == "stopped":
            raise ServerError(f"a request to {self.url} was given up", code="request_stopped") from None

    def _http(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._client is None:
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
                # Certificates take time to read.
                secure = self.url.startswith("https:")
                self._client = httpx.Client(
                    verify=secure, trust_env=self._proxies, follow_redirects=False, limits=limits
                )
            return self._client

    def _refusal(self, response: httpx.Response) -> ServerError:
        raw = bytearray()
        for chunk in response.iter_raw():
            raw += chunk
            if len(raw) > 2**20:
                break
        said = readable_refusal(json_object(bytes(raw))) or ""
        status = response.status_code
        if status in (401, 407):
            return self._not_let_in(status)
        message = said or f"the model server at {self.url} answered with HTTP status {status}"
        remedy = None
        if status in (301, 302, 303, 307, 308):
            place = one_line(response.headers.get("location", ""))
            message = f"the model server at {self.url} sends requests on to `{place}`, which is not followed"
            remedy = "write the address that answers itself"
        elif status == 403 and not said:
            remedy = "it takes no requests under this name: OLLAMA_HOST on its side, or OLLAMA_ORIGINS"
        reason = Reason("server_refused", {"url": self.url, "status": status, "said": said})
        return ServerError(
            message,
            code="server_refused",
            status=status,
            said=said,
            remedy=remedy,
            reason=reason,
            retry_after_seconds=_retry_after(response.headers.get("retry-after", "")),
        )

    def _not_let_in(self, status: int) -> ServerError:
        """401 of the server or of what stands before it, 407 of a proxy on the way."""
        given = self._headers.get("Authorization", "")
        what = "key" if given.startswith("Bearer ") else "user and password"
        who = f"the server at {self.url}" if status == 401 else f"a proxy before {self.url}"
        message = f"{who} {f'did not accept this {what}' if given else 'asks for a user and a password'} ({status})"
        reason = Reason("server_wants_password", {"url": self.url, "status": status, "given": bool(given)})
        return ServerError(message, code="server_refused", status=status, remedy=self._login, reason=reason)

    def _slow(self, seconds: float) -> ServerError:
        message = f"the model server at {self.url} did not answer within {seconds:g} s"
        reason = Reason("server_slow", {"url": self.url, "seconds": seconds})
        return ServerError(message, code="server_slow", reason=reason)

    def _down(self, error: Exception) -> ServerError:
        import httpx

        cut_off = False
        if isinstance(error, httpx.ConnectError | httpx.ProxyError):
            message = f"no model server answers at {self.url}"
        elif isinstance(error, httpx.RemoteProtocolError) and not str(error).lower().startswith(_CUT_OFF):
            return self.garbled("HTTP")
        else:
            cut_off = True
            message = f"the model server at {self.url} went away in the middle of an answer"
        reason = Reason("server_cut_off" if cut_off else "server_down", {"url": self.url})
        return ServerError(message, code="server_down", reason=reason)


def authorization(key: str | None) -> dict[str, str]:
    """The header of a key: a bearer's token (RFC 6750), or as it is where it says its scheme itself."""
    if not key:
        return {}
    return {"Authorization": key if key.startswith(("Basic ", "Bearer ")) else f"Bearer {key}"}


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines; what grows beyond LONGEST_LINE_BYTES is given as it is, so that memory stays bounded."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *whole, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            yield from whole
        if len(rest) > LONGEST_LINE_BYTES:
            yield bytes(rest)
            rest.clear()
    if rest:
        yield bytes(rest)


def json_object(raw: bytes) -> dict[str, Any] | None:
    """The object in these bytes, None where there is none. What is no UTF-8 in it becomes U+FFFD."""
    try:
        body = json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _retry_after(written: str) -> float | None:
    """Seconds of a `Retry-After` header (RFC 9110, 10.2.3), which is a number or a date; None for what is neither."""
    try:
        seconds = float(written)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(written).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _last(path: str) -> str:
    return path.rpartition("/")[2]
