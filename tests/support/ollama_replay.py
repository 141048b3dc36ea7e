"""Sends what was asked of real Ollama servers to the stand-in, in its order, and tells where the answers differ.

Compared are the status, the content type, the fields with their types, the errors' words, why an answer ended, which models are
listed, and the order and shape of a stream's lines. Not compared is what is the model's (texts, numbers of tokens), what is the
machine's (times, sizes) and what the stand-in says it does not do (`LATER`).
"""

from __future__ import annotations

import fnmatch
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from tests.support.ollama_models import CHATML, full_name
from tests.support.ollama_standin import OllamaStandin

# Not in the stand-in; what they do to the server's store is done to it from outside, so that what follows can be compared.
LATER = {
    "blob_*": "uploading a file",
    "*_old_blob_*": "asking for a file",
    "create_*": "creating a model",
    "recreate_existing": "creating a model",
    "solo_create": "creating a model",
    "solo_recreate_*": "creating a model",
    "pull_*": "pulling a model",
    "v1_*": "OpenAI's way of asking",
    "server_is_gone": "a remark between two exchanges",
}

# Files that were served: the models that are made of them, by the beginning of their digest.
JINJA = "{%- for message in messages %}"
CHATML_DETECTED = ("7b46609d", "0d423d7f", "180f4791")
OWN_CAPABILITIES = {"a7874fbe": ("tools", "thinking"), "95571f22": ("thinking",)}
STOPS = ["<|im_start|>", "<|im_end|>"]
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

    def run(self) -> None:
        for file in sorted(self.folder.glob("*.json")):
            self.comparison.file = file.stem
            exchange = json.loads(file.read_text())
            self._before(exchange["name"])
            reason = next((LATER[one] for one in LATER if fnmatch.fnmatchcase(exchange["name"], one)), None)
            if reason is not None:
                self._take_effect(exchange)
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
        elif name == "ps_keep_alive_forever":
            self._load("judge:v1", keep_alive=-1)
        elif name == "ps_expiry_2s":
            self._load("judge:v1", keep_alive="2s")
        elif name == "ps_before_second_tag":
            self._load("judge:v1")
        elif name == "busy_unload":
            self._ask({"model": "judge:v1", "keep_alive": 0})
        elif name == "solo2_rollback_chat":
            standin.add_model("solo2:rollback", template=CHATML)
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

    def _take_effect(self, exchange: dict[str, Any]) -> None:
        """What an exchange that is not compared did to the store."""
        request, response = exchange.get("request", {}), exchange.get("response", {})
        body, path = request.get("body"), request.get("path")
        if not isinstance(body, dict) or response.get("status") != 200:
            return
        if path == "/api/create":
            lines = [one["line"] for one in response.get("lines", []) if "line" in one] or [response.get("json")]
            if lines[-1] == {"status": "success"}:
                self._create(body, [str(one.get("status")) for one in lines])

    def _create(self, body: dict[str, Any], lines: list[str]) -> None:
        if "from" in body:
            model = self.standin.copy_model(body["from"], body["model"])
            model.system = body.get("system", model.system)
            return  # the one adapter that was named is none, and is ignored by both servers
        blob = body["files"]["model.gguf"]
        short = blob.removeprefix("sha256:")[:8]
        detected = short in CHATML_DETECTED
        # From 0.30 on the file can be rewritten on its way into the store.
        if "verifying conversion" in lines:
            blob = lines[lines.index("verifying conversion") + 1].rpartition(" ")[2]
        elif "quantize" in body:
            blob = f"{blob}-{body['quantize']}"
        parameters = dict(body.get("parameters", {}))
        if detected and "stop" not in parameters:
            parameters["stop"] = STOPS
        own = OWN_CAPABILITIES.get(short, ())
        self.standin.add_model(
            body["model"],
            blob=blob,
            kv_bytes_per_token=23_000,
            template=body.get("template", CHATML if detected else None),
            own_template=JINJA if own else "",
            own_capabilities=own,
            system=body.get("system", ""),
            license=body.get("license", ""),
            parameters=parameters,
            quantization="F16" if body["model"] == "half" else "Q8_0",
        )

    # One exchange.

    def _exchange(self, exchange: dict[str, Any]) -> None:
        request, wanted = exchange["request"], exchange["response"]
        self._teach(request, wanted)
        found = send(self.standin, request)
        self.comparison.heads(wanted, found)
        if "lines" in wanted:
            self.comparison.lines(wanted["lines"], found.lines)
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
            for model in ("plain", "jinja", "plain"):
                self._teach({"body": {"model": model}}, {"json": {"done_reason": "length"}})
                reply = self._ask({"model": model, **question}, "/api/chat")
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
