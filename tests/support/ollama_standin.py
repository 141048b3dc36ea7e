"""A stand-in of Ollama 0.24.0 and 0.33.0-rc2: not Ollama, but a server of its API for tests without a model.

It has what the GPU's lease, a chat and a deployment need: version, tags, ps, show, chat and generate (with loading and
unloading), uploads, create, copy and delete, and the faults of a server and of a network. Its models say what they are told to,
and its tokens are words; their templates are run. What it answers, and the order in which things happen in it, is held to
exchanges recorded with the real servers by tests/unit/test_ollama_standin.py, where those are at hand. Pulling models is not in
it: `add_model` puts one there from outside.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, get_args

from tests.support import ollama_answers as answers
from tests.support import ollama_requests as requests
from tests.support.ollama_client import Client
from tests.support.ollama_http import UPLOADS, Exchange, Fault, Network
from tests.support.ollama_models import CHATML, Model, full_name
from tests.support.ollama_requests import Asked, RefusalError
from tests.support.ollama_runners import Report, Runner, Scheduler
from tests.support.ollama_store import Store
from tests.support.waiting import PATIENCE_SECONDS

Version = Literal["0.24.0", "0.33.0-rc2"]
VERSIONS: tuple[Version, ...] = get_args(Version)
ENDLESS = 10**6


class OllamaStandin:
    """A server on loopback; a context manager. `scheduler` holds its settings (slots, models at once, queue, memory, …).

    `on_residents_changed` is called with [(name, VRAM in bytes, pid)] of every runner process whenever that changes, from
    threads of the stand-in, one call at a time.
    """

    def __init__(self, version: Version = "0.24.0", *, load_seconds: float = 0.1, token_seconds: float = 0.005) -> None:
        self.version = version
        self.newer = version != "0.24.0"
        self.token_seconds = token_seconds
        self.requests: list[Asked] = []
        self.on_request: Callable[[Asked], None] | None = None
        """Called with each request before it is answered."""
        self.models: dict[str, Model] = {}
        self.torn: set[str] = set()
        """Tags that are names of empty files: see `tear`."""
        self.store = Store(self.models, self.newer, self.down)
        self.scheduler = Scheduler(self.newer)
        self.scheduler.load_seconds = load_seconds
        self._network = Network(self._routes(), self._note)

    def __enter__(self) -> OllamaStandin:
        self._network.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._network.down()
        self.scheduler.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._network.port}"

    @property
    def on_residents_changed(self) -> Report | None:
        return self.scheduler.report

    @on_residents_changed.setter
    def on_residents_changed(self, report: Report | None) -> None:
        self.scheduler.report = report

    # Its store.

    def add_model(
        self,
        name: str,
        *,
        blob: str | None = None,
        size_bytes: int = 143_000_000,
        kv_bytes_per_token: int = 0,
        trained_context: int = 8192,
        template: str | None = CHATML,
        **more: Any,
    ) -> Model:
        """A model under this name; `blob` is that of its weights, its own when none is given. See Model for the rest."""
        tag = _named(name)
        blob = blob or "sha256:" + hashlib.sha256(tag.encode()).hexdigest()
        model = Model(tag, blob, size_bytes, kv_bytes_per_token, trained_context, template, **more)
        self.store.put(model)
        return model

    def copy_model(self, source: str, destination: str) -> Model:
        """Another tag of a model, as `/api/copy` makes one; both share the blob."""
        tag = _named(destination)
        self.torn.discard(tag)
        self.store.put(replace(self.models[_named(source)], name=tag, modified_at=time.time()))
        return self.models[tag]

    def remove_model(self, name: str) -> None:
        """Deletes a tag. What runs of it goes on."""
        self.store.remove(_named(name))

    def tear(self, name: str) -> None:
        """A tag is left as by a copy in whose middle the disk was full or the server was killed: a file with nothing in it.

        It is not listed, whoever asks for it is answered 500, also after a restart, and the next copy to it makes it whole.
        """
        self.models.pop(_named(name), None)
        self.torn.add(_named(name))

    # What happens in it.

    def residents(self) -> list[tuple[str, int, int]]:
        """(name, VRAM in bytes, pid) of every runner process."""
        return self.scheduler.residents()

    def listed(self) -> list[str]:
        """The names in `/api/ps`, in its order."""
        return [entry["name"] for entry in self.scheduler.ps()]

    def pid_of(self, name: str) -> int:
        """The process of the runner that was loaded under this name."""
        return next(pid for one, _, pid in self.residents() if one == _named(name))

    def kill_runner(self, name: str) -> int:
        """SIGKILL for the runner behind this name: the server goes on listing it. Its pid."""
        return self.scheduler.kill(_named(name))

    def unloads(self) -> list[str]:
        """The models that clients asked to unload, in order."""
        return [name for asked in list(self.requests) if (name := asked.unloads) is not None]

    @contextmanager
    def answering(self, name: str, seconds: float | None = None, **options: Any) -> Iterator[Client]:
        """Another client gets an answer from a model that counts, from the moment the model has begun.

        It is as long as `seconds`, or else goes on until `end()` of the client, or the end of this context.
        """
        words = ENDLESS if seconds is None else max(1, round(seconds / self.token_seconds))
        body = {"model": name, "prompt": "count", "options": {"num_predict": words, **options}}
        model = self.models[_named(name)]
        model.enough = threading.Event() if seconds is None else None
        client = Client(self._network.port, body, model.enough)
        client.start()
        assert client.begun.wait(PATIENCE_SECONDS), f"{name} does not begin to answer"
        try:
            yield client
        finally:
            client.end()
            client.join(PATIENCE_SECONDS)
            model.enough = None

    # What befalls it.

    def down(self) -> None:
        """The server ends, and its runners with it: connections break, later ones are refused."""
        self._network.down()
        self.scheduler.drop_all()

    def up(self) -> None:
        """The server comes back at the same address, with nothing in memory."""
        self._network.up()

    @property
    def lines_sent(self) -> int:
        """How many lines of streams have gone out so far."""
        return self._network.lines_sent

    def drop_next(self, path: str | None = None, *, after_lines: int = 0) -> None:
        """The next request (to this path) is cut off without an answer, or after some lines of its stream."""
        self._network.faults.append(Fault(path, cut_after=after_lines))

    def cut_next_upload(self, after_bytes: int) -> None:
        """The connection of the next upload breaks once so many bytes have come."""
        self._network.faults.append(Fault(UPLOADS, cut_upload_after=after_bytes))

    def lose_next_answer(self, path: str) -> None:
        """What the next POST to this path asks for is done, and the connection breaks before its answer."""
        self._network.faults.append(Fault(path, loses_answer=True))

    def delay_next(self, seconds: float, path: str | None = None) -> None:
        """The next request (to this path) is answered after so long."""
        self._network.faults.append(Fault(path, delay_seconds=seconds))

    def answer_next(
        self, body: bytes, path: str | None = None, *, status: int = 200, content_type: str = "application/json"
    ) -> None:
        """The next request (to this path) gets these bytes for an answer."""
        self._network.faults.append(Fault(path, status=status, body=body, content_type=content_type))

    def add_fields(self) -> None:
        """From now on each object in an answer has fields that no version has, as a later one may."""
        self._network.adds_fields = True

    @property
    def delay_seconds(self) -> float:
        """How long every request waits for its answer."""
        return self._network.delay_seconds

    @delay_seconds.setter
    def delay_seconds(self, seconds: float) -> None:
        self._network.delay_seconds = seconds

    # Its routes.

    def _routes(self) -> dict[tuple[str, str], Callable[[Exchange], None]]:
        routes: dict[tuple[str, str], Callable[[Exchange], None]] = {
            ("GET", "/"): lambda exchange: exchange.text(200, "Ollama is running"),
            ("GET", "/api/version"): lambda exchange: exchange.json(200, {"version": self.version}),
            ("GET", "/api/tags"): self._tags,
        }
        routes |= {("HEAD", path): route for (_, path), route in routes.items()}
        routes[("GET", "/api/ps")] = lambda exchange: exchange.json(200, {"models": self.scheduler.ps()})
        routes[("POST", "/api/show")] = self._show
        routes[("POST", "/api/chat")] = lambda exchange: self._answer(exchange, chat=True)
        routes[("POST", "/api/generate")] = lambda exchange: self._answer(exchange, chat=False)
        routes[("POST", "/api/embed")] = self._embed
        routes[("POST", "/api/copy")] = self._copy
        routes[("DELETE", "/api/delete")] = self._delete
        routes[("HEAD", UPLOADS)] = self.store.head
        routes[("POST", UPLOADS)] = self.store.post
        routes[("POST", "/api/create")] = self.store.create
        routes[("POST", "/api/pull")] = _later
        return routes

    def _tags(self, exchange: Exchange) -> None:
        newest_first = sorted(self.models.values(), key=lambda model: -int(model.modified_at))
        exchange.json(200, {"models": [model.tag(self.newer) for model in newest_first]})

    def _show(self, exchange: Exchange) -> None:
        body = requests.body_of(exchange.raw, "ShowRequest")
        name = body.get("model") or body.get("name")
        if not name:
            raise RefusalError(400, "model is required")
        tag = full_name(name)
        if tag in self.torn:
            raise RefusalError(500, "EOF")
        if tag not in self.models:
            raise RefusalError(404, f"model '{tag if self.newer else name}' not found")
        exchange.json(200, self.models[tag].shown(self.newer, bool(body.get("verbose"))))

    def _copy(self, exchange: Exchange) -> None:
        body = requests.body_of(exchange.raw, "CopyRequest")
        for role in ("source", "destination"):
            if full_name(body.get(role)) is None:
                raise RefusalError(400, f'{role} "{body.get(role) or ""}" is invalid')
        if full_name(body["source"]) not in self.models:
            raise RefusalError(404, f'model "{body["source"]}" not found')
        self.copy_model(body["source"], body["destination"])
        exchange.text(200, "", None)

    def _delete(self, exchange: Exchange) -> None:
        body = requests.body_of(exchange.raw, "DeleteRequest")
        self.remove_model(self._model(body, chat=False).name)
        exchange.text(200, "", None)

    def _embed(self, exchange: Exchange) -> None:
        body = requests.body_of(exchange.raw, "EmbedRequest")
        model = self._model(body, chat=False)
        if self.newer and not model.embeds_only and body.get("input"):
            raise RefusalError(501, "This server does not support embeddings. Start it with `--embeddings`")
        started = time.monotonic()
        options = requests.checked_options({**model.parameters, **(body.get("options") or {})})
        self.scheduler.release(self.scheduler.acquire(model, options, requests.keep_alive(body), exchange.check_client))
        loaded = time.monotonic() - started
        found: dict[str, Any] = {"model": body["model"], "embeddings": []}
        if body.get("input"):
            duration = answers.nanoseconds(loaded)
            found |= {"embeddings": [[0.05] * 576], "total_duration": duration, "load_duration": duration}
            found["prompt_eval_count"] = len(answers.tokens_of(str(body["input"])))
        exchange.json(200, found)

    def _model(self, body: dict[str, Any], chat: bool) -> Model:
        name = body.get("model") or ""
        if chat and full_name(name) is None:
            raise RefusalError(400, "model is required")
        if full_name(name) in self.torn:
            raise RefusalError(500, "EOF")
        model = self.models.get(full_name(name) or "")
        if model is None:
            raise RefusalError(404, f"model '{name}' not found")
        return model

    def _answer(self, exchange: Exchange, chat: bool) -> None:
        body = requests.body_of(exchange.raw, "ChatRequest" if chat else "GenerateRequest")
        keep_alive = requests.keep_alive(body)
        model = self._model(body, chat)
        name = str(body["model"])
        asks = bool(body.get("messages") if chat else body.get("prompt"))
        if not asks and keep_alive == 0:
            self.scheduler.unload(model)
            exchange.json(200, answers.line(name, chat, "", done=True) | {"done_reason": "unload"})
            return
        capabilities, _ = model.capabilities(self.newer)
        thinks = requests.check_think(body, capabilities)
        if "completion" not in capabilities:
            raise RefusalError(400, f'"{name}" does not support {"chat" if chat else "generate"}')
        options = requests.checked_options({**model.parameters, **(body.get("options") or {})})
        if body.get("tools") and "tools" not in capabilities:
            raise RefusalError(400, f"registry.ollama.ai/library/{model.name} does not support tools")
        started = time.monotonic()
        runner = self.scheduler.acquire(model, options, keep_alive, exchange.check_client)
        streams = False
        try:
            loaded = time.monotonic() - started
            if not asks:
                last = answers.line(name, chat, "", done=True) | {"done_reason": "load"}
            elif body.get("_debug_render_only"):
                last = self._rendered(model, body, chat)
            else:
                streams = body.get("stream") is not False
                last = self._tell(exchange, body, model, runner, options, loaded, thinks=bool(thinks), chat=chat)
        finally:
            self.scheduler.release(runner)
        # Only now is the answer whole: who has it finds the runner idle.
        if streams:
            exchange.line(last)
            exchange.end()
        else:
            exchange.json(200, last)

    def _tell(
        self,
        exchange: Exchange,
        body: dict[str, Any],
        model: Model,
        runner: Runner,
        options: dict[str, Any],
        load_seconds: float,
        *,
        thinks: bool,
        chat: bool,
    ) -> dict[str, Any]:
        """Gives the answer, line by line where it is streamed; its last line, or the whole of it."""
        requests.check_format(body)
        messages = body.get("messages") or []
        if self.newer and any(message.get("images") for message in messages):
            raise requests.no_images()
        prompt = self._prompt(model, body, chat)
        window = runner.options["num_ctx"]
        prompt_tokens = prompt.cut_to(window, self.newer, body.get("truncate") is not False)
        room = 0 if body.get("shift") is not False else max(window - prompt_tokens, 1)
        name, streams = str(body["model"]), body.get("stream") is not False
        with runner.slots:
            told = answers.Told()
            words: list[str] = []
            for word in answers.pieces(runner, model, prompt, options, room, told, self.token_seconds):
                exchange.check_client()
                words.append(word)
                if streams and not thinks:
                    exchange.line(answers.line(name, chat, word))
        text, thought = told.text, ""
        if thinks:
            opened = "<think>" if prompt.text.endswith("<think>") else ""
            thought, text = answers.split_thoughts(opened + told.text)
            if streams:
                for part in answers.tokens_of(thought):
                    exchange.line(answers.line(name, chat, "", part))
                for part in answers.tokens_of(text):
                    exchange.line(answers.line(name, chat, part))
        last = answers.line(name, chat, "" if streams else text, "" if streams else thought, done=True)
        last |= answers.done_fields(told, prompt_tokens, load_seconds, self.newer)
        if body.get("logprobs"):
            last["logprobs"] = answers.logprobs_of(words, int(body.get("top_logprobs") or 0))
        if not chat and not body.get("raw"):
            last["context"] = list(range(1, prompt_tokens + told.tokens + 1))
        return last

    def _prompt(self, model: Model, body: dict[str, Any], chat: bool) -> answers.Prompt:
        if not chat:
            return answers.generate_prompt(model, body, self.newer)
        return answers.chat_prompt(model, body.get("messages") or [], self.newer, body.get("think"))

    def _rendered(self, model: Model, body: dict[str, Any], chat: bool) -> dict[str, Any]:
        """What the model would be given."""
        found = answers.line(str(body["model"]), chat, "")
        if chat:
            found["message"] = {"role": "", "content": ""}
        return found | {"_debug_info": {"rendered_template": self._prompt(model, body, chat).text}}

    def _note(self, method: str, path: str, raw: bytes) -> None:
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        asked = Asked(time.time(), method, path, body if isinstance(body, dict) else None)
        self.requests.append(asked)
        if self.on_request is not None:
            self.on_request(asked)


def _later(exchange: Exchange) -> None:
    raise RefusalError(501, "not in this stand-in")


def _named(name: str) -> str:
    tag = full_name(name)
    assert tag is not None, f"{name!r} is no name of a model"
    return tag
