"""Sends what was asked of real Ollama servers to the stand-in, in its order, and tells where the answers differ.

Compared are the status, the content type, the fields with their types, the errors' words, why an answer ended, which models are
listed, the order and shape of a stream's lines, which parts a model is made of, and every prompt that was rendered. Not
compared is what is the model's (texts, numbers of tokens), what is the machine's (times, sizes) and what the stand-in says it
does not do (`LATER`).
"""

from __future__ import annotations

import fnmatch
import hashlib
import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.ollama_comparison import Comparison
from tests.support.ollama_exchange import (
    Reply,
    changes,
    open_request,
    ps,
    send,
    shape,
    wait,
)
from tests.support.ollama_files import TORN, StoredFile
from tests.support.ollama_models import CHATML, full_name
from tests.support.ollama_standin import OllamaStandin

# Not in the stand-in.
LATER = {
    "pull_*": "pulling a model",
    "v1_*": "OpenAI's way of asking",
    "server_is_gone": "a remark between two exchanges",
}

# The files that were uploaded, which are not at hand: what the servers saw in them, by the beginning of their digest.
FILES: dict[str, dict[str, Any]] = {
    "7b46609d": {"size_bytes": 144_811_072, "detected": True},
    "0d423d7f": {"size_bytes": 270_885_952, "detected": True, "quantization": "F16"},
    "180f4791": {"detected": True},
    "a7874fbe": {"template": "jinja"},
    "95571f22": {"template": "jinja-thinking-only"},
    "c4ebc1b1": {},
    "8955cded": {"refusal": TORN, "panics": True},
    "bad39bac": {"refusal": 'tensor "token_embd.weight" offset+size (31868992) exceeds file size (20000000)'},
    "a371d526": {},
}
SOLO = "sha256:180f479197560f664fea59b8e0119692bfc4f8175d2c43d4ca00fce58ab762f0"
THINKING = "sha256:95571f225f9e85b1a299325afbf2fbe458638ad402637ce355f29d556cd98805"
BASE = "sha256:7b46609d11703c058397e5cfe4cc6e4b2508cb1eb4c80ddc472a5d421fbdb508"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LOOKED_AT_SECONDS = 0.3
"""How long each thing lasts that is to be seen by who polls a hundred times a second."""


@dataclass
class Replay:
    """One run over the recordings of a version; `comparison` tells where the answers differ."""

    standin: OllamaStandin
    folder: Path
    comparison: Comparison = field(default_factory=Comparison)
    compared: list[str] = field(default_factory=list)
    later: dict[str, str] = field(default_factory=dict)
    polled: list[list[dict[str, Any]]] = field(default_factory=list)
    """What `/api/ps` listed, poll by poll, while something was done."""

    def run(self) -> None:
        for file in sorted(self.folder.glob("*.json")):
            self.comparison.file = file.stem
            exchange = json.loads(file.read_text())
            self._before(exchange["name"])
            self._bring_files(exchange)
            reason = next((LATER[one] for one in LATER if fnmatch.fnmatchcase(exchange["name"], one)), None)
            if reason is not None:
                self.later[file.stem] = reason
                continue
            self._one(exchange)
            self.compared.append(file.stem)

    def _one(self, exchange: dict[str, Any]) -> None:
        name = exchange["name"]
        if "timeline" in exchange:
            self._timeline(exchange)
        elif "outcomes" in exchange:
            self._outcomes(exchange)
        elif name.startswith("runner_killed"):
            model = exchange["request"]["body"]["model"]
            with self._later(0.4, lambda: self.standin.kill_runner(self._runner_of(model))):
                self._exchange(exchange)
        elif exchange["response"].get("client_closed_after_lines"):
            self._closed_early(exchange)
        else:
            self._exchange(exchange)

    # The steps that the recordings tell of in their notes only.

    def _before(self, name: str) -> None:
        standin, settings = self.standin, self.standin.scheduler
        if name in ("server_is_gone", "blob_unused_after_restart", "create_jinja-thinking-only"):
            self._restart()
            if name.startswith("create_jinja"):  # the file was in a model before
                self._upload(THINKING)
                self._make("earlier", THINKING)
        elif name == "ps_keep_alive_forever":
            self._load("judge:v1", keep_alive=-1)
        elif name == "ps_expiry_2s":
            self._load("judge:v1", keep_alive="2s")
        elif name == "ps_before_second_tag":
            self._load("judge:v1")
        elif name == "busy_unload":
            self._ask({"model": "judge:v1", "keep_alive": 0})
        elif name == "solo2_old_blob_after_copy_and_recreate":
            self._upload(SOLO)
            self._make("solo2", SOLO)
            standin.copy_model("solo2", "solo2:rollback")
            self._make("solo2", BASE)
        elif name == "blob_head_after_broken_upload":
            standin.cut_next_upload(after_bytes=5)
            with suppress(OSError, http.client.HTTPException):
                self._upload(SOLO)
        elif name == "blob_unused_before_restart":
            self._upload(SOLO)
        elif name == "out_of_memory":
            standin.add_model("bigctx", trained_context=10_000_000, kv_bytes_per_token=23_000)
            settings.memory_bytes = 24 * 10**9
        elif name == "ps_after_idle_runner_killed":
            self._load("plain")
        elif name == "queue_full":
            self._restart(max_queue=1, max_loaded=1)
        elif name == "swap_one_model_at_a_time":
            self._restart(max_loaded=1)
        elif name == "four_clients_parallel_1":
            self._restart()
        elif name == "four_clients_parallel_4":
            self._restart(parallel=4)

    def _restart(self, *, max_queue: int = 512, max_loaded: int = 3, parallel: int = 1) -> None:
        self.standin.down()
        settings = self.standin.scheduler
        settings.max_queue, settings.max_loaded, settings.parallel = max_queue, max_loaded, parallel
        settings.memory_bytes = None
        self.standin.up()

    # The files.

    def _bring_files(self, exchange: dict[str, Any]) -> None:
        """What stands for the file of an upload; and files of which no upload was recorded, though models are made of them."""
        request, wanted = exchange.get("request", {}), exchange.get("response", {})
        if request.get("method") == "POST" and request["path"].startswith("/api/blobs/"):
            digests = _DIGEST.findall((wanted.get("json") or {}).get("error", request["path"]))
            if digests and digests[-1].removeprefix("sha256:")[:8] in FILES:
                self._teach_file(request["body_note"], digests[-1])
        for digest in ((request.get("body") or {}).get("files") or {}).values():
            if digest.removeprefix("sha256:")[:8] in FILES and digest not in self.standin.store:
                self._upload(digest)

    def _teach_file(self, note: str, digest: str) -> None:
        facts = dict(FILES[digest.removeprefix("sha256:")[:8]])
        if "template" in facts:
            # What a later exchange shows; and the digest under which 0.33 put the file into a model.
            facts["template"] = self._recorded(f"show_{facts['template']}")["response"]["json"]["template"]
            facts["rewritten"] = self._rewritten(digest)
        self.standin.store.taught[hashlib.sha256(note.encode()).hexdigest()] = StoredFile(digest, **facts)

    def _recorded(self, name: str) -> Any:
        # Only the newer server shows the template of a file.
        (file,) = (self.folder.parent / "0.33.0-rc2").glob(f"*_{name}.json")
        return json.loads(file.read_text())

    def _rewritten(self, digest: str) -> str | None:
        for file in sorted(self.folder.glob("*create_*.json")):
            exchange = json.loads(file.read_text())
            lines = [one["line"].get("status", "") for one in exchange["response"].get("lines", []) if "line" in one]
            files = exchange["request"].get("body", {}).get("files", {})
            if digest in files.values() and "verifying conversion" in lines:
                return str(lines[lines.index("verifying conversion") + 1].rpartition(" ")[2])
        return None

    def _upload(self, digest: str) -> None:
        note = f"the file {digest}"
        self._teach_file(note, digest)
        send(self.standin, {"method": "POST", "path": f"/api/blobs/{digest}", "body_note": note})

    def _make(self, name: str, digest: str) -> None:
        self._ask({"model": name, "files": {"model.gguf": digest}, "template": CHATML}, "/api/create")

    # One exchange.

    def _exchange(self, exchange: dict[str, Any]) -> None:
        request, wanted = exchange["request"], exchange["response"]
        if "ended_by" in wanted:
            try:
                send(self.standin, request)
            except (http.client.RemoteDisconnected, ConnectionError):
                return
            self.comparison.differ("end", wanted["ended_by"], "an answer")
            return
        self._teach(request, wanted)
        found = send(self.standin, request)
        self.comparison.heads(wanted, found)
        if "lines" in wanted:
            self.comparison.lines(wanted["lines"], found.lines)
            if request["path"] == "/api/create":
                self.comparison.statuses(request["body"], wanted["lines"], found.lines)
        elif "json" in wanted:
            self.comparison.bodies(exchange, wanted["json"], found.json)
        elif wanted.get("text") != found.raw.decode():
            self.comparison.differ("text", wanted.get("text"), found.raw)

    def _teach(self, request: dict[str, Any], wanted: dict[str, Any]) -> None:
        """What the model said is the model's; whether it was done with it is said by how the answer ended."""
        body = request.get("body")
        model = self.standin.models.get(full_name(body.get("model")) or "") if isinstance(body, dict) else None
        last = wanted.get("json") or {}
        if model is None or last.get("done_reason") not in ("stop", "length"):
            return
        said = last.get("message", last).get("content", last.get("response", ""))
        model.answer = None
        if last["done_reason"] == "stop":
            model.answer = f"{said}{body['options']['stop'][0]} and more" if "stop" in body.get("options", {}) else said
            if "thinking" in last:
                model.answer = f"{last['thinking']}</think>{said}"

    def _closed_early(self, exchange: dict[str, Any]) -> None:
        wanted = exchange["response"]
        number = wanted["client_closed_after_lines"]
        connection, response = open_request(self.standin, exchange["request"])
        lines = [json.loads(response.readline()) for _ in range(number)]
        connection.close()
        response.close()
        self.comparison.same("lines", [shape(one["line"]) for one in wanted["lines"]], [shape(one) for one in lines])
        # Nobody reads: the model is free again long before it would have been done, so its expiry stands still.
        name = self._runner_of(exchange["request"]["body"]["model"])
        started = time.monotonic()
        wait(lambda: self._expiry(name) == self._expiry(name))
        self.comparison.same("free at once", True, time.monotonic() - started < 0.5)

    # What happens while something is done.

    def _timeline(self, exchange: dict[str, Any]) -> None:
        seen: list[list[dict[str, Any]]] = []
        self.polled = seen
        over = threading.Event()

        def poll() -> None:
            while not over.is_set():
                seen.append(ps(self.standin))
                over.wait(0.01)

        seen.append(ps(self.standin))
        poller = threading.Thread(target=poll)
        poller.start()
        settings = self.standin.scheduler
        quick = settings.load_seconds, settings.reap_seconds
        settings.load_seconds, settings.reap_seconds = LOOKED_AT_SECONDS, LOOKED_AT_SECONDS
        try:
            reply = self._act(exchange["name"])
        finally:
            time.sleep(LOOKED_AT_SECONDS)
            over.set()
            poller.join()
            settings.load_seconds, settings.reap_seconds = quick
        wanted = exchange.get("reply")
        if wanted is not None and reply is not None:
            self.comparison.same("status", wanted["status"], reply.status)
            self.comparison.values(wanted["json"], reply.json)
        cut = any(isinstance(one, str) for one in exchange["timeline"])
        there = changes([one["ps"] for one in exchange["timeline"] if isinstance(one, dict)])
        here = changes(seen)
        # What is done at once may have been seen by the first poll already.
        self.comparison.same("changes", there, here[: len(there)] if cut else here[1:] if here[1:] == there else here)

    def _act(self, name: str) -> Reply | None:
        """What was done while `/api/ps` was polled."""
        question = {"messages": [{"role": "user", "content": "What is bread made of?"}], "stream": False}
        question["options"] = {"num_ctx": 1024, "num_predict": 24}
        if name == "ps_while_loading":
            return self._ask({"model": "judge:v1", "messages": []}, "/api/chat")
        if name == "unload_keep_alive_0":
            return self._ask({"model": "judge:v1", "keep_alive": 0})
        if name == "unload_one_of_two_tags":
            return self._ask({"model": "plain", "keep_alive": 0})
        if name == "second_tag_same_blob":
            self._teach({"body": {"model": "plain"}}, {"json": {"done_reason": "length"}})
            return self._ask({"model": "plain", **question}, "/api/chat")
        if name == "ps_expiry_2s":
            wait(lambda: "judge:v1" not in self.standin.listed())
        elif name == "ps_after_idle_runner_killed":
            for listed_name in self.standin.listed():
                self.standin.kill_runner(listed_name)
        elif name == "busy_unload":
            with self.standin.answering("judge:v1", num_ctx=1024):
                time.sleep(LOOKED_AT_SECONDS)
                reply = self._ask({"model": "judge:v1", "keep_alive": 0})
                time.sleep(LOOKED_AT_SECONDS)
            return reply
        elif name == "request_during_load":
            self._ask({"model": "judge:v1", "keep_alive": 0})
            wait(lambda: "judge:v1" not in self.standin.listed())
            model = self.standin.models["judge:v1"]
            model.loads_until = loaded = threading.Event()
            loading = threading.Thread(target=self._load, args=("judge:v1",))
            loading.start()
            wait(lambda: any(one == model.name for one, _, _ in self.standin.residents()))
            reply = self._ask({"model": "judge:v1", "keep_alive": 0})
            time.sleep(LOOKED_AT_SECONDS)
            loaded.set()
            loading.join()
            model.loads_until = None
            return reply
        elif name == "swap_one_model_at_a_time":
            for tag in ("plain", "jinja", "plain"):
                self._teach({"body": {"model": tag}}, {"json": {"done_reason": "length"}})
                reply = self._ask({"model": tag, **question}, "/api/chat")
                wait(partial(self._is_listed, tag))
            return reply
        else:
            raise AssertionError(f"what is done in `{name}`?")
        return None

    def _outcomes(self, exchange: dict[str, Any]) -> None:
        queue = exchange["name"] == "queue_full"
        started = time.monotonic()
        found: list[tuple[int, str | None, float]] = []

        def client(number: int) -> None:
            model = ("jinja" if number % 2 == 0 else "plain") if queue else "plain"
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": False}
            reply = self._ask({**body, "options": {"num_ctx": 1024, "num_predict": 240}}, "/api/chat")
            found.append((reply.status, (reply.json or {}).get("error"), time.monotonic() - started))

        for model in ("plain", "jinja"):
            self.standin.models[f"{model}:latest"].answer = None
        if not queue:
            self._load("plain")
        clients = [threading.Thread(target=client, args=(number,)) for number in range(len(exchange["outcomes"]))]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        if queue:
            there = {(one["status"], one["error"]) for one in exchange["outcomes"] if isinstance(one, dict)}
            self.comparison.same("outcomes", there, {one[:2] for one in found})
            return
        there_times = [one["answered_at_s"] for one in exchange["outcomes"]]
        here_times = [one[2] for one in found]
        in_turn = [max(times) / min(times) > 2 for times in (there_times, here_times)]
        self.comparison.same("answered one after another", *in_turn)

    # Means.

    def _ask(self, body: dict[str, Any], path: str = "/api/generate") -> Reply:
        return send(self.standin, {"method": "POST", "path": path, "body": body})

    def _load(self, model: str, **more: Any) -> None:
        self._ask({"model": model, "options": {"num_ctx": 1024}, **more})

    def _is_listed(self, tag: str) -> bool:
        """In what the poll beside saw last."""
        return any(one["name"] == full_name(tag) for one in self.polled[-1])

    def _expiry(self, name: str) -> str | None:
        time.sleep(0.02)
        return next((one["expires_at"] for one in ps(self.standin) if one["name"] == name), None)

    def _runner_of(self, model: str) -> str:
        """The name under which the runner of this model's blob is listed."""
        blob = self.standin.models[full_name(model) or ""].blob
        return wait(lambda: next((one for one in self.standin.listed() if self.standin.models[one].blob == blob), None))

    @contextmanager
    def _later(self, seconds: float, do: Callable[[], object]) -> Iterator[None]:
        timer = threading.Timer(seconds, do)
        timer.start()
        yield
        timer.join()
