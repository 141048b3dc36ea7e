"""A client of Ollama, for what the GPU's lease and a chat need: what is loaded, load it, unload it, ask it.

What the server promises with these requests and what it does not (observed with 0.24.0 and 0.33.0-rc2): `unload` answers at
once whatever happens. A model that answers somebody stays listed until that answer ends; one that is still loading is not
listed, and an unload has no effect on it. `ps` lists runners under the tag that loaded them first: compare `show(name).blob`.
A runner that was killed stays listed until it is next asked for.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from core.serving import replies
from core.serving.address import ServerAddress, server_address
from core.serving.errors import ServerError, one_line
from core.serving.http import HttpClient, authorization
from core.serving.replies import FOREVER_SECONDS, Completion, ModelInfo, Resident, Tag

__all__ = ["Completion", "ModelInfo", "Ollama", "Resident", "ServerError", "Tag"]

_LOGIN = "write them into OLLAMA_HOST, or into `ollama.url` of settings.yaml: http://USER:PASSWORD@host:port"


class Ollama:
    """One server. `url`: an address in any spelling of `OLLAMA_HOST`, None for that variable's; `timeout_seconds`: for a
    reply that needs no model; `key`: for a gateway before it. Every request has a
    connection of its own, so none outlives a restart of the server.

    InputError for an address that is none. Every method raises ServerError, and nothing else, when the server does not do
    what it was asked.
    """

    def __init__(
        self, url: str | ServerAddress | None = None, *, key: str | None = None, timeout_seconds: float = 10.0
    ) -> None:
        self.timeout_seconds = timeout_seconds
        # No proxy: the server is on this machine or on its network.
        self.http = HttpClient(
            url if isinstance(url, ServerAddress) else server_address(url),
            connect_seconds=timeout_seconds,
            garbled=replies.garbled,
            login=_LOGIN,
            headers=authorization(key),
        )

    @property
    def url(self) -> str:
        """Where the server is, without user and password."""
        return self.http.url

    def __enter__(self) -> Ollama:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees what the client holds; it can be used again afterwards."""
        self.http.close()

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
            request["keep_alive"] = keep_alive(keep_alive_seconds)
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

    def chat_lines(
        self,
        name: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        seconds: float,
        silence_seconds: float,
        stopped: Callable[[], bool],
        fields: Mapping[str, Any],
    ) -> Generator[dict[str, Any]]:
        """The lines of a streamed answer as they come, for whoever measures them. `stopped` ends the request at any time."""
        request = {"model": name, "messages": list(messages), "stream": True, **fields}
        lines = self.http.lines("/api/chat", request, seconds, silence_seconds=silence_seconds, stopped=stopped)
        with contextlib.closing(lines):
            for raw in lines:
                yield self.http.parsed(raw, "/api/chat")

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
        return self.http.document(method, path, request, seconds)

    def _lines(self, path: str, request: Mapping[str, Any], seconds: float) -> Iterator[dict[str, Any]]:
        """The objects of a stream of lines. An error in the stream is raised, as is what is no object."""
        for raw in self.http.lines(path, request, seconds):
            yield self.http.parsed(raw, path)


def keep_alive(seconds: float) -> int:
    """As Ollama takes it: whole seconds, -1 for ever. 0 would unload, so what is left of a last second is one."""
    if seconds < 0 or not math.isfinite(seconds) or seconds > FOREVER_SECONDS:
        return -1
    return max(1, math.ceil(seconds))
