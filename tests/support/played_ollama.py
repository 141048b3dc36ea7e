"""The store of an Ollama without a network: the real client asks it, over httpx's transport for tests.

Each request is a point at which something may befall it: `befall` is asked with each, and answers with what does. A tag is a
name with a digest, as a copy makes it. Who else works on the server is played by `other`: what it has put somewhere is its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Literal

import httpx

from core.serving.ollama import Ollama
from core.serving.replies import full_name, name_key

URL = "http://box:11434"
Fate = Literal["done", "down", "lost", "refused", "disk_full", "killed_before", "killed_after"]


class Killed(BaseException):
    """The process that asked is gone."""


def digest_of(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()


class PlayedOllama:
    """`models` are what it has, by the key of their names: each is (name, model), the digest is the model's."""

    def __init__(self) -> None:
        self.models: dict[str, tuple[str, str]] = {}
        self.resident: str | None = None
        """The tag under which a model is in memory, with the model it was loaded of."""
        self.loaded: str | None = None
        self.others: dict[str, str] = {}
        """What somebody else has put under a name, by its key: nobody may replace that."""
        self.watched: set[str] = set()
        """Names that always have to be there from now on, unless somebody else deleted them."""
        self.requests: list[str] = []
        self.befall: Callable[[str], Fate] = lambda request: "done"

    # Whoever works on it.

    def put(self, name: str, model: str) -> None:
        self.models[name_key(name)] = (full_name(name), model)

    def other_puts(self, name: str, model: str) -> None:
        """Somebody else has this under the name now."""
        self.put(name, model)
        self.others[name_key(name)] = model

    def other_deletes(self, name: str) -> None:
        self.models.pop(name_key(name), None)
        self.others.pop(name_key(name), None)
        self.watched.discard(name_key(name))

    def model(self, name: str) -> str | None:
        found = self.models.get(name_key(name))
        return None if found is None else found[1]

    def load(self, name: str) -> None:
        self.resident, self.loaded = full_name(name), self.model(name)

    def client(self) -> Ollama:
        ollama = Ollama(URL)
        ollama.http._client = httpx.Client(transport=httpx.MockTransport(self._answer))
        return ollama

    # What it answers.

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/")
        body = json.loads(request.content) if request.content else {}
        what = f"{path} {body.get('destination') or body.get('model') or ''}".strip()
        self.requests.append(what)
        fate = self.befall(what)
        if fate == "killed_before":
            raise Killed
        if fate == "down":
            raise httpx.ConnectError("refused")
        if fate in ("refused", "disk_full"):
            said = "no space left on device" if fate == "disk_full" else "not on this server"
            return _reply(500 if fate == "disk_full" else 403, {"error": said})
        answer = self._do(path, body)
        for key in self.watched:
            assert key in self.models, f"{key} is gone after {what}"
        if fate == "killed_after":
            raise Killed
        if fate == "lost":
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return answer

    def _do(self, path: str, body: dict[str, str]) -> httpx.Response:
        match path:
            case "version":
                return _reply(200, {"version": "0.24.0"})
            case "tags":
                found = [{"name": name, "digest": digest_of(model), "size": 7} for name, model in self.models.values()]
                return _reply(200, {"models": found})
            case "ps":
                one = {"name": self.resident, "digest": digest_of(self.loaded or ""), "size": 7, "size_vram": 7}
                return _reply(200, {"models": [one] if self.resident else []})
            case "show":
                model = self.model(body["model"])
                if model is None:
                    return _reply(404, {"error": f"model '{body['model']}' not found"})
                weights = hashlib.sha256(f"weights of {model}".encode()).hexdigest()
                return _reply(200, {"modelfile": f"FROM /blobs/sha256-{weights}", "template": "T"})
            case "copy":
                model = self.model(body["source"])
                if model is None:
                    return _reply(404, {"error": f'model "{body["source"]}" not found'})
                self._replace(body["destination"], model)
                return _reply(200, None)
            case "delete":
                if self.model(body["model"]) is None:
                    return _reply(404, {"error": f"model '{body['model']}' not found"})
                self._replace(body["model"], None)
                return _reply(200, None)
            case "generate":
                if self.loaded is not None and self.loaded == self.model(body["model"]):
                    self.resident = self.loaded = None
                return _reply(200, {"model": body["model"], "done": True, "done_reason": "unload"})
        raise AssertionError(path)

    def _replace(self, name: str, model: str | None) -> None:
        key = name_key(name)
        theirs, there = self.others.get(key), self.model(name)
        assert theirs is None or there != theirs or model == theirs, f"{name} is somebody else's {theirs}"
        if model is None:
            last = sum(one == there for _, one in self.models.values()) == 1
            assert not last, f"{name} was the last name of {there}"
            del self.models[key]
        else:
            self.put(name, model)


def _reply(status: int, body: object) -> httpx.Response:
    """As a stream, which the client reads piece by piece."""
    return httpx.Response(status, stream=httpx.ByteStream(b"" if body is None else json.dumps(body).encode()))
