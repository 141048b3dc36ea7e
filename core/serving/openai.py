"""A client of servers with OpenAI's API: which models they have, what kind of server it is, and an answer as a stream.

Written against llama-server (build 11434), and the documentation of vLLM, LM Studio and Lemonade. What a server sends beside
that API (`timings`, `reasoning_content`) is read where it is there.
"""

from __future__ import annotations

import codecs
import contextlib
import ipaddress
import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from core.reasons import Reason
from core.serving.address import ServerAddress, is_here
from core.serving.errors import ServerError, one_line
from core.serving.http import HttpClient, authorization

Dialect = Literal["llama-server", "vllm", "lm-studio", "lemonade", "openai"]
_LOGIN = (
    "the key that it takes goes into the environment variable that `key_env` of this server names in bakehouse.yaml"
)


LONGEST_DOCUMENT_BYTES = 16 * 2**20
MOST_LINES = 100_000
"""Of a reply that is one document and no stream."""


@dataclass(frozen=True)
class ListedModel:
    """An entry of `/v1/models`. `context_length` where the server tells it, `meta` what else stands there and does not move."""

    name: str
    context_length: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DetectedServer:
    """What kind of server it is, as far as that can be told by what it has beside OpenAI's API. `props` is llama-server's own
    description, empty for others.
    """

    dialect: Dialect
    version: str | None = None
    props: Mapping[str, Any] = field(default_factory=dict)


class OpenAIClient:
    """`address` holds everything before `/chat/completions`, its `/v1` included where the server has one. `key` is sent as a
    bearer's token, to this address only.

    Every method raises ServerError, and nothing else, when the server does not do what it was asked.
    """

    def __init__(self, address: ServerAddress, *, key: str | None = None, timeout_seconds: float = 10.0) -> None:
        self.timeout_seconds = timeout_seconds
        self.http = HttpClient(
            address,
            connect_seconds=timeout_seconds,
            garbled=garbled,
            login=_LOGIN,
            headers=authorization(key),
            proxies=_is_far(address.url),
        )
        path = urlsplit(address.url).path
        self._base = "" if path.endswith(("/v1", "/v2", "/v3", "/openai")) else "/v1"
        # What a server has beside the API stands above it: http://host:8080/v1 and http://host:8080/props.
        self._root = _ServerRoot(address, key, proxies=_is_far(address.url), seconds=timeout_seconds)

    @property
    def url(self) -> str:
        return self.http.url

    def close(self) -> None:
        self.http.close()
        self._root.close()

    def models(self) -> tuple[ListedModel, ...]:
        """The models that it has, in its order."""
        body = self.http.document("GET", f"{self._base}/models", None, self.timeout_seconds)
        entries = body.get("data")
        if not isinstance(entries, list):
            raise garbled("models")
        return tuple(
            _listed_model(entry) for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)
        )

    def detect(self) -> DetectedServer:
        """What kind of server it is. A server that is not there, or lets nobody in, is an error; one without extras is not."""
        props = self._root.found("/props")
        if props is not None and ("build_info" in props or "default_generation_settings" in props):
            version = props.get("build_info")
            return DetectedServer("llama-server", version if isinstance(version, str) else None, props)
        found = self._root.found("/version")
        if found is not None and isinstance(version := found.get("version"), str):
            return DetectedServer("vllm", version)
        found = self._root.found("/health") if self._base == "" else None
        if found is not None and ("model_loaded" in found or "checkpoint_loaded" in found):
            version = found.get("version")
            return DetectedServer("lemonade", version if isinstance(version, str) else None)
        found = self._root.found("/api/v0/models")
        if found is not None and isinstance(found.get("data"), list):
            return DetectedServer("lm-studio")
        return DetectedServer("openai")

    def health(self) -> None:
        """llama-server: returns once it has loaded; ServerError (503) as long as it has not."""
        self._root.found("/health")

    def busy_slots(self) -> int | None:
        """llama-server: how many answers it gives now; None where it does not tell."""
        with contextlib.suppress(ServerError, ValueError, RecursionError):
            slots = json.loads(self._root.http.reply("GET", "/slots", None, self.timeout_seconds))
            if isinstance(slots, list):
                return sum(isinstance(one, dict) and one.get("is_processing") is True for one in slots)
        return None

    def render(self, messages: Sequence[tuple[str, str]], *, think: bool) -> str:
        """llama-server: the prompt that its template makes of (role, text), with the head of an answer behind it."""
        request = {
            "messages": [{"role": role, "content": text} for role, text in messages],
            "chat_template_kwargs": {"enable_thinking": think},
        }
        prompt = self._root.posted("/apply-template", request).get("prompt")
        if not isinstance(prompt, str):
            raise garbled("apply-template")
        return prompt

    def tokenize(self, text: str) -> tuple[int, ...]:
        """llama-server: the token ids of a prompt, with those that the server puts in front or behind by itself."""
        request = {"content": text, "add_special": True, "parse_special": True}
        tokens = self._root.posted("/tokenize", request).get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(one, int) for one in tokens):
            raise garbled("tokenize")
        return tuple(tokens)

    def chat_lines(
        self,
        request: Mapping[str, Any],
        *,
        seconds: float,
        silence_seconds: float,
        stopped: Callable[[], bool],
    ) -> Generator[dict[str, Any]]:
        """The objects of a streamed answer as they come; a server that does not stream gives one. `[DONE]` is not among them.

        Read as server-sent events (WHATWG HTML, 9.2), each of one line, as all such servers write them; a reply that is one
        document over several lines is put together.
        """
        path = f"{self._base}/chat/completions"
        lines = self.http.lines(path, request, seconds, silence_seconds=silence_seconds, stopped=stopped)
        document: list[bytes] = []
        size = 0
        with contextlib.closing(lines):
            for line in lines:
                name, colon, value = line.rstrip(b"\r").removeprefix(codecs.BOM_UTF8).partition(b":")
                if not document and colon and name in (b"data", b"error"):
                    value = value.strip()
                    if value == b"[DONE]":
                        return
                    body = self.http.parsed(value, path)
                    if name == b"error":
                        raise _in_stream(body)
                    yield body
                elif document or name not in (b"", b"event", b"id", b"retry"):
                    document.append(line)
                    size += len(line)
                    if size > LONGEST_DOCUMENT_BYTES or len(document) > MOST_LINES:
                        raise garbled("completions")
        if document:
            yield self.http.parsed(b"\n".join(document), path)


class _ServerRoot:
    """The same server without the API's own path, for what it has beside. The key goes with it: it is the same place."""

    def __init__(self, address: ServerAddress, key: str | None, *, proxies: bool, seconds: float) -> None:
        base = address.url
        for end in ("/v1", "/v2", "/v3"):
            base = base.removesuffix(end)
        self.seconds = seconds
        self.http = HttpClient(
            ServerAddress(base, address.authorization),
            connect_seconds=seconds,
            garbled=garbled,
            login=_LOGIN,
            headers=authorization(key),
            proxies=proxies,
        )

    def found(self, path: str) -> dict[str, Any] | None:
        """The document at this path; None where the server has none there."""
        try:
            return self.http.document("GET", path, None, self.seconds)
        except ServerError as error:
            # 503: llama-server answers so to everything while it loads.
            if error.code in ("server_down", "server_slow") or error.status in (401, 407, 503):
                raise
            return None

    def posted(self, path: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The document that the server makes of a request."""
        return self.http.document("POST", path, request, self.seconds)

    def close(self) -> None:
        self.http.close()


def garbled(what: str) -> ServerError:
    """What was answered to `what` is not what such a server answers."""
    return ServerError(
        f"the answer to `{what}` is not one of a server with OpenAI's API",
        code="server_garbled",
        remedy="is the path right? such addresses mostly end with /v1",
        reason=Reason("server_garbled", {"request": what}),
    )


def text_and_thought(part: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """What a message, or a piece of one, says and what was thought for it.

    Servers have three names for a thought; Mistral writes both as a list of parts. A refusal is what the model answers.
    """
    content = part.get("content")
    thoughts = [part.get(name) for name in ("reasoning_content", "reasoning", "thinking")]
    if isinstance(content, list):
        parts = [one for one in content if isinstance(one, dict)]
        thoughts += [_joined(one.get("thinking")) for one in parts if one.get("type") == "thinking"]
        content = "".join(_joined(one.get("text")) for one in parts if one.get("type") == "text")
    text = content if isinstance(content, str) and content else part.get("refusal")
    thought = next((one for one in thoughts if isinstance(one, str) and one), None)
    return text if isinstance(text, str) else None, thought


def _joined(value: object) -> str:
    """A text, or those of a list of parts."""
    if isinstance(value, list):
        return "".join(_joined(one.get("text")) for one in value if isinstance(one, dict))
    return value if isinstance(value, str) else ""


def other_model(asked: str, told: str | None) -> str | None:
    """`told`, the model that a reply names, where that is not the one asked for: a server without it answers with what it has.

    A name with its date (`m-2026-08-06`), its place (`org/m`, `/models/m.gguf`) or in other letters is the same one.
    """
    if told is None:
        return None
    one, other = (name.strip().lower().replace("\\", "/") for name in (asked, told))
    one, other = (name.rpartition("/")[2].removesuffix(".gguf").removesuffix(":latest") for name in (one, other))
    alike = one == other or re.match(r"[-@:_ ]", other.removeprefix(one) if other.startswith(one) else "")
    return None if alike else one_line(told)


def _in_stream(body: Mapping[str, Any]) -> ServerError:
    """An error that older llama-servers write as `error: {…}` into the stream."""
    said = body.get("message")
    text = said if isinstance(said, str) else "an error without words"
    return ServerError(text, code="server_refused", status=200, said=text)


def _listed_model(entry: Mapping[str, Any]) -> ListedModel:
    meta = entry.get("meta")
    numbers = meta if isinstance(meta, dict) else {}
    length = next(
        (
            value
            for value in (entry.get("max_model_len"), entry.get("context_length"), numbers.get("n_ctx"))
            if isinstance(value, int) and not isinstance(value, bool) and value > 0
        ),
        None,
    )
    kept = {key: entry[key] for key in ("root", "quantization") if isinstance(entry.get(key), str)}
    kept |= {key: numbers[key] for key in ("n_vocab", "n_ctx_train", "n_embd", "n_params", "size") if key in numbers}
    return ListedModel(str(entry["id"]), length, kept)


def _is_far(url: str) -> bool:
    """Whether a proxy may stand between: not for this machine, nor for an address or a bare name of a local network."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".lan", ".internal", ".localhost")) and not is_here(url)
