"""A client of Ollama, for what the GPU's lease and a chat need: what is loaded, load it, unload it, ask it.

What the server promises with these requests and what it does not (observed with 0.24.0 and 0.33.0-rc2): `unload` answers at
once whatever happens. A model that answers somebody stays listed until that answer ends; one that is still loading is not
listed, and an unload has no effect on it. `ps` lists runners under the tag that loaded them first: compare `show(name).blob`.
A runner that was killed stays listed until it is next asked for.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from core.reasons import Reason
from core.serving import replies
from core.serving.address import server_address
from core.serving.errors import ServerError, one_line, readable_error
from core.serving.replies import FOREVER_SECONDS, Completion, ModelInfo, Resident, Tag

if TYPE_CHECKING:
    import httpx

__all__ = ["Completion", "ModelInfo", "Ollama", "Resident", "ServerError", "Tag"]

# How httpx begins to say that a connection ended too early; its other messages are about bytes that are no HTTP.
_CUT_OFF = ("server disconnected", "peer closed")
LONGEST_REPLY_BYTES = 64 * 2**20


class Ollama:
    """One server. `url`: an address in any spelling of `OLLAMA_HOST`, None for that variable's; `timeout_seconds`: for a
    reply that needs no model. Every request has a connection of its own, so none outlives a restart of the server.

    InputError for an address that is none. Every method raises ServerError, and nothing else, when the server does not do
    what it was asked.
    """

    def __init__(self, url: str | None = None, *, timeout_seconds: float = 10.0) -> None:
        self._address = server_address(url)
        self.timeout_seconds = timeout_seconds
        self._client: httpx.Client | None = None

    @property
    def url(self) -> str:
        """Where the server is, without user and password."""
        return self._address.url

    def __enter__(self) -> Ollama:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees what the client holds; it can be used again afterwards."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def version(self) -> str:
        """The server's version, as it writes it."""
        body = self._ask("GET", "/api/version", None, self.timeout_seconds)
        version = body.get("version")
        if not isinstance(version, str) or not version:
            raise replies.garbled("version")
        return version

    def tags(self) -> tuple[Tag, ...]:
        """The models in the server's store."""
        return replies.tags(self._ask("GET", "/api/tags", None, self.timeout_seconds))

    def ps(self) -> tuple[Resident, ...]:
        """The models in memory, as the server believes. One that is still loading is not among them."""
        return replies.residents(self._ask("GET", "/api/ps", None, self.timeout_seconds))

    def show(self, name: str) -> ModelInfo:
        """What the model `name` is made of."""
        return replies.shown(self._ask("POST", "/api/show", {"model": name}, self.timeout_seconds))

    def load(
        self,
        name: str,
        *,
        context_length: int | None = None,
        keep_alive_seconds: float | None = None,
        timeout_seconds: float = 300.0,
    ) -> None:
        """Has the model loaded, and returns when it is. A negative `keep_alive_seconds` is for ever, None the server's own."""
        request: dict[str, Any] = {"model": name, "stream": False}
        if context_length is not None:
            request["options"] = {"num_ctx": context_length}
        if keep_alive_seconds is not None:
            request["keep_alive"] = _keep_alive(keep_alive_seconds)
        try:
            self._ask("POST", "/api/generate", request, timeout_seconds)
        except ServerError as error:
            # A model that only embeds is loaded by asking for the embedding of nothing.
            if error.status != 400 or not error.said.endswith("does not support generate"):
                raise
            self._ask("POST", "/api/embed", {**request, "input": ""}, timeout_seconds)

    def unload(self, name: str) -> None:
        """Asks the server to let the model go. That it was asked is all that is known afterwards: see the module."""
        self._ask("POST", "/api/generate", {"model": name, "keep_alive": 0, "stream": False}, self.timeout_seconds)

    def chat(
        self,
        name: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        timeout_seconds: float = 300.0,
        stream: bool = True,
        on_text: Callable[[str], None] | None = None,
        fields: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Completion:
        """The model's answer to a conversation. `options` are the sampling options (`num_ctx`, `temperature`, …), `fields`
        the request's own (`think`, `format`, `keep_alive`, …); `on_text` is called with each piece as it comes.
        """
        request = {"model": name, "messages": list(messages), "stream": stream, **(fields or {})}
        return self._answer("/api/chat", request, options, timeout_seconds, on_text)

    def generate(
        self,
        name: str,
        prompt: str,
        *,
        timeout_seconds: float = 300.0,
        stream: bool = True,
        on_text: Callable[[str], None] | None = None,
        fields: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Completion:
        """The model's continuation of a prompt; the rest is as in `chat`."""
        request = {"model": name, "prompt": prompt, "stream": stream, **(fields or {})}
        return self._answer("/api/generate", request, options, timeout_seconds, on_text)

    def _answer(
        self,
        path: str,
        request: dict[str, Any],
        options: Mapping[str, Any],
        timeout_seconds: float,
        on_text: Callable[[str], None] | None,
    ) -> Completion:
        if options:
            request["options"] = dict(options)
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[Mapping[str, Any]] = []
        last: dict[str, Any] = {}
        for line in self._lines(path, request, timeout_seconds):
            last = line
            message = line.get("message")
            part: Mapping[str, Any] = message if isinstance(message, dict) else line
            text, thought = part.get("content", part.get("response")), part.get("thinking")
            if isinstance(text, str) and text:
                texts.append(text)
                if on_text is not None:
                    on_text(text)
            if isinstance(thought, str):
                thoughts.append(thought)
            if isinstance(called := part.get("tool_calls"), list):
                calls.extend(call for call in called if isinstance(call, dict))
        # A render for debugging has neither an answer nor an end.
        if last.get("done") is not True and "_debug_info" not in last:
            what = one_line(str(request["model"]))
            raise ServerError(f"the answer of `{what}` broke off without an end", code="server_garbled", status=200)
        return replies.answer(last, "".join(texts), "".join(thoughts), tuple(calls))

    def _ask(self, method: str, path: str, request: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        """The one JSON object of a reply."""
        raw = b"".join(self._chunks(method, path, request, seconds))
        return self._line(raw, path)

    def _lines(self, path: str, request: Mapping[str, Any], seconds: float) -> Iterator[dict[str, Any]]:
        """The objects of a stream of lines. An error in the stream is raised, as is what is no object."""
        rest = b""
        with contextlib.closing(self._chunks("POST", path, request, seconds)) as chunks:
            for chunk in chunks:
                *whole, rest = (rest + chunk).split(b"\n")
                for raw in filter(bytes.strip, whole):
                    yield self._line(raw, path)
        if rest.strip():
            yield self._line(rest, path)

    def _line(self, raw: bytes, path: str) -> dict[str, Any]:
        body = _object(raw)
        if body is None:
            raise replies.garbled(path.rpartition("/")[2])
        if said := readable_error(body):
            raise ServerError(said, code="server_refused", status=200, said=said)
        return body

    def _chunks(self, method: str, path: str, request: Mapping[str, Any] | None, seconds: float) -> Generator[bytes]:
        """The reply's bytes as they come. `seconds` limits the silence between them and the whole."""
        import httpx

        deadline = time.monotonic() + seconds
        # Not httpx's own JSON: a name with a lone surrogate, as a server can send one, is no UTF-8.
        content = None if request is None else json.dumps(request).encode()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._address.authorization is not None:
            headers["Authorization"] = self._address.authorization
        limits = httpx.Timeout(seconds, connect=min(seconds, self.timeout_seconds))
        size = 0
        try:
            with self._http().stream(
                method, self.url + path, content=content, headers=headers, timeout=limits
            ) as response:
                if response.status_code != 200:
                    raise self._refusal(response)
                for chunk in response.iter_bytes():
                    yield chunk
                    size += len(chunk)
                    if size > LONGEST_REPLY_BYTES:
                        raise replies.garbled(path.rpartition("/")[2])
                    if time.monotonic() > deadline:
                        raise self._slow(seconds)
        except httpx.TimeoutException:
            raise self._slow(seconds) from None
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise self._down(error) from None
        except httpx.DecodingError:
            raise replies.garbled(path.rpartition("/")[2]) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
            said = one_line(str(error))
            message = f"no model server can be asked at {self.url}: {said}"
            reason = Reason("server_address_unusable", {"url": self.url, "error": said})
            raise ServerError(message, code="server_down", reason=reason) from None

    def _http(self) -> httpx.Client:
        import httpx

        if self._client is None:
            # No proxy, no netrc: the server is on this machine or on its network. Certificates take time to read.
            limits = httpx.Limits(max_keepalive_connections=0)
            secure = self.url.startswith("https:")
            self._client = httpx.Client(verify=secure, trust_env=False, follow_redirects=False, limits=limits)
        return self._client

    def _refusal(self, response: httpx.Response) -> ServerError:
        raw = bytearray()
        for chunk in response.iter_bytes():
            raw += chunk
            if len(raw) > 2**20:
                break
        said = readable_error(_object(bytes(raw))) or ""
        status = response.status_code
        if status in (401, 407):
            return self._not_let_in(status)
        message = said or f"the model server at {self.url} answered with HTTP status {status}"
        remedy = None
        if status == 403 and not said:
            remedy = "it takes no requests under this name: OLLAMA_HOST on its side, or OLLAMA_ORIGINS"
        reason = Reason("server_refused", {"url": self.url, "status": status, "said": said})
        return ServerError(message, code="server_refused", status=status, said=said, remedy=remedy, reason=reason)

    def _not_let_in(self, status: int) -> ServerError:
        """401 of the server or of what stands before it, 407 of a proxy on the way."""
        given = self._address.authorization is not None
        who = f"the server at {self.url}" if status == 401 else f"a proxy before {self.url}"
        message = (
            f"{who} {'did not accept this user and password' if given else 'asks for a user and a password'} ({status})"
        )
        remedy = "write them into OLLAMA_HOST, or into `ollama.url` of settings.yaml: http://USER:PASSWORD@host:port"
        reason = Reason("server_wants_password", {"url": self.url, "status": status, "given": given})
        return ServerError(message, code="server_refused", status=status, remedy=remedy, reason=reason)

    def _slow(self, seconds: float) -> ServerError:
        message = f"the model server at {self.url} did not answer within {seconds:g} s"
        reason = Reason("server_slow", {"url": self.url, "seconds": seconds})
        return ServerError(message, code="server_slow", reason=reason)

    def _down(self, error: Exception) -> ServerError:
        import httpx

        cut_off = False
        if isinstance(error, httpx.ConnectError):
            message = f"no model server answers at {self.url}"
        elif isinstance(error, httpx.RemoteProtocolError) and not str(error).lower().startswith(_CUT_OFF):
            return replies.garbled("HTTP")
        else:
            cut_off = True
            message = f"the model server at {self.url} went away in the middle of an answer"
        reason = Reason("server_cut_off" if cut_off else "server_down", {"url": self.url})
        return ServerError(message, code="server_down", reason=reason)


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _keep_alive(seconds: float) -> int:
    """As Ollama takes it: whole seconds, -1 for ever. 0 would unload, so what is left of a last second is one."""
    if seconds < 0 or not math.isfinite(seconds) or seconds > FOREVER_SECONDS:
        return -1
    return max(1, math.ceil(seconds))
