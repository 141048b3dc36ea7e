"""A llama-server that a bake-off starts for a GGUF file: a child of the job on loopback, asked as any other served model.

It is gone with the job, however that ends, and is started again when it has died: whoever asks sees `server_down` and has it
loaded once more. What it prints goes to a file of its own in the attempt's folder, from which a failure is told in one line.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import psutil

from core.errors import InputError
from core.format import data_size
from core.gpu.devices import find_gpu
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.models.gguf import GgufHeader, check_servable
from core.models.gguf_memory import server_memory, shape_of_file
from core.models.llama_cpp import missing, server_version
from core.process.child import end_child
from core.process.ports import LOOPBACK, free_port
from core.served.command import ServerCommand, ServerOptions
from core.served.llama_server import has_loaded, server_environment
from core.served.server_log import LESS_MEMORY, ServerLog
from core.serving.address import ServerAddress
from core.serving.answering import Capabilities, LoadedModel, Question, Reply, ServedFile, ServedIdentity
from core.serving.errors import ServerError
from core.serving.openai_model import OpenAIModel
from jobs.child import start_child
from jobs.context import JobContext
from jobs.gguf import gguf_file, lora_on, weights_of

MOST_PORTS = 5
"""So many ports are tried: between looking for a free one and taking it somebody else may have it."""
LOOK_SECONDS = 0.05


@dataclass
class _Running:
    """A server that runs: its process, how it is asked, and with which window."""

    process: subprocess.Popen[bytes]
    model: OpenAIModel
    context_length: int


class LlamaServer:
    """A `ServedModel` for the GGUF file `file`, of which `weights` is the digest. Its server runs from `load` on.

    `lora` is an adapter as a GGUF file that the server puts on it; `weights` is of both then. `slots` answers are given at a
    time; `on_gpu`: its layers go to the GPU, where there is one. `check_stop` is called while the file is loaded, and may
    raise. `loads` counts how often a server was started and had loaded.
    """

    def __init__(
        self,
        name: str,
        file: Path,
        program: Path,
        log: Path,
        *,
        weights: str,
        lora: Path | None = None,
        slots: int = 1,
        seed: int = 0,
        on_gpu: bool = True,
        check_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.file, self.program, self.log, self.weights, self.lora = file, program, log, weights, lora
        self.slots, self.seed, self.on_gpu, self.check_stop = slots, seed, on_gpu, check_stop
        self.loads = 0
        self._name = name
        self._alias = file_stem(name)
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self.log_of_start = ServerLog(log)
        self._said: int | None = None
        self._has_loaded = False

    @property
    def name(self) -> str:
        return f"llama-server:{self._name}"

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server's process; None before `load` and after `unload`."""
        return None if self._running is None else self._running.process

    @cached_property
    def header(self) -> GgufHeader:
        """Of the file. ServerError where no server could load it: none is started for such a file."""
        try:
            return check_servable(self.file, self._name)
        except (InputError, OSError) as error:
            raise ServerError(f"{self.name} is not started: {error}", code="server_refused", status=400) from error

    @cached_property
    def version(self) -> str:
        try:
            return server_version(self.program)
        except InputError as error:
            raise ServerError(str(error), code="server_refused", status=400) from error

    def identity(self) -> ServedIdentity:
        """Told from the file and the program: the same before it is loaded and after."""
        template = self.header.chat_template
        return ServedIdentity(
            api="llama-server",
            model=self._name,
            version=self.version,
            weights=self.weights,
            template=None if template is None else hashlib.sha256(template.encode()).hexdigest(),
        )

    def capabilities(self) -> Capabilities:
        return Capabilities(
            thinking="enable_thinking" in (self.header.chat_template or ""),
            formats=frozenset({"json", "schema", "grammar"}),
        )

    def load(self, context_length: int) -> LoadedModel:
        """Have a server that has loaded the file with that window for each slot. One that lives and has it is kept."""
        trained = self.header.keys.get(f"{self.header.architecture}.context_length")
        if isinstance(trained, int) and trained < context_length:
            raise ServerError(
                f"{self._name} was trained for a window of {trained} tokens, {context_length} are wanted",
                code="context_overflow",
                remedy="lower the context_length of the task",
            )
        self._refuse_too_large(context_length)
        with self._lock:
            running = self._running
            if running is not None and running.process.poll() is None and running.context_length >= context_length:
                return LoadedModel(0.0, True, self._said, _resident_bytes(running.process))
            self._end()
            started = time.monotonic()
            self._running = self._start(context_length)
            self.loads += 1
            took, self._said = time.monotonic() - started, self.log_of_start.vram_bytes()
            return LoadedModel(took, False, self._said, _resident_bytes(self._running.process))

    def _refuse_too_large(self, context_length: int) -> None:
        """A machine without a GPU that has less memory would not refuse the server: it would read the file for each token, or
        have the kernel end what is in the way."""
        adapter = 0 if self.lora is None else self.lora.stat().st_size
        shape = replace(shape_of_file(self.header), lora_bytes=adapter)
        needed = server_memory(shape, context_length, self.slots, on_gpu=False)
        total = psutil.virtual_memory().total
        if needed.least_bytes > total and find_gpu() is None:
            raise ServerError(
                f"{self._name} needs about {data_size(needed.needed_bytes)} of host memory, of which the machine has "
                f"{data_size(total)}",
                code="server_out_of_memory",
                remedy=LESS_MEMORY,
            )

    def stamp(self) -> str:
        """Nobody but the job changes what its server has loaded."""
        return self.identity().sha256

    def ask(
        self, question: Question, stopped: Callable[[], bool] = lambda: False, came: Callable[[], None] = lambda: None
    ) -> Reply:
        running = self._running
        if running is None:
            raise ServerError(f"{self.name} is not loaded", code="server_down")
        if running.process.poll() is not None:
            # Its port may be another program's by now.
            raise self._why_it_died(running.process)
        try:
            return running.model.ask(question, stopped, came)
        except ServerError as error:
            if error.code == "request_stopped" or not _has_died(running.process):
                raise
            raise self._why_it_died(running.process) from error

    def render(self, messages: Sequence[tuple[str, str]], *, think: bool) -> str:
        """The prompt of a conversation, from the server that is loaded: see `core.parity.gate.PromptServer`."""
        return self._loaded().render(messages, think=think)

    def tokenize(self, text: str) -> tuple[int, ...]:
        return self._loaded().tokenize(text)

    def served_file(self) -> ServedFile:
        return ServedFile(keys=self.header.keys, template=self.header.chat_template)

    def _loaded(self) -> OpenAIModel:
        if self._running is None:
            raise ServerError(f"{self.name} is not loaded", code="server_down")
        return self._running.model

    def unload(self) -> None:
        with self._lock:
            self._end()

    def others_active(self) -> bool | None:
        """Never: nobody else has its key."""
        return False

    def close(self) -> None:
        self.unload()

    def _start(self, context_length: int) -> _Running:
        """A server that has loaded, on a port that was free."""
        for _ in range(MOST_PORTS):
            key, port = secrets.token_hex(16), free_port()
            self._has_loaded = False
            self.log_of_start.begin()
            with self.log.open("ab") as log:
                process = start_child(
                    self._command(port, context_length), stdout=log, stderr=log, environ=_environ(key)
                )
            model = OpenAIModel(
                "llama-server",
                ServerAddress(f"http://{LOOPBACK}:{port}/v1"),
                self._alias,
                key=key,
                weights=self.weights,
            )
            try:
                self._wait_until_loaded(process, port)
                model.load(context_length)
            except ServerError as error:
                end_child(process)
                model.close()
                if error.code == "server_down" and self.log_of_start.port_was_taken():
                    continue
                raise
            except BaseException:
                end_child(process)
                model.close()
                raise
            self._has_loaded = True
            return _Running(process, model, context_length)
        raise ServerError(f"{self.name} got none of {MOST_PORTS} ports that were free", code="server_down")

    def _command(self, port: int, context_length: int) -> list[str]:
        command = ServerCommand(
            self.program,
            self.file,
            self._alias,
            port,
            context_length,
            slots=self.slots,
            seed=self.seed,
            on_gpu=self.on_gpu,
            lora=self.lora,
            traces=True,
        )
        return command.words(self._options)

    @cached_property
    def _options(self) -> ServerOptions:
        try:
            return ServerOptions.of(self.program)
        except InputError as error:
            raise ServerError(str(error), code="server_refused", status=400) from error

    def _wait_until_loaded(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Return when `/health` says so, and not that of another server, which has the port. ServerError with the reason when
        the process ends before."""
        while True:
            self.check_stop()
            if process.poll() is not None:
                raise self._why_it_died(process)
            if has_loaded(process.pid, port):
                return
            time.sleep(LOOK_SECONDS)

    def _why_it_died(self, process: subprocess.Popen[bytes]) -> ServerError:
        return self.log_of_start.why_it_died(self.name, self.file.name, process.returncode, has_loaded=self._has_loaded)

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.model.close()
            end_child(running.process)


def server_for(context: JobContext, spec: BakeoffSpec, candidate: CandidateSpec) -> LlamaServer:
    """What answers for a candidate that is a GGUF file; it runs from `load` on. Raises `InputError`, `NotFoundError`."""
    context.phase("finding the file", candidate.ref or candidate.path)
    file, noted = gguf_file(context, candidate.ref or candidate.path or "")
    if spec.llama_server is None or not Path(spec.llama_server).is_file():
        raise missing("llama-server")
    weights = weights_of(file, noted, context.home, context.check_stop)
    lora, weights = (None, weights) if candidate.lora is None else lora_on(context, candidate.lora, weights)
    # Under which name it is known must not depend on how it is asked: one server answers for all variants.
    name = candidate.name.removesuffix(f" @{candidate.variant.written}")
    return LlamaServer(
        name,
        file,
        Path(spec.llama_server),
        context.attempt.path / f"llama-server-{file_stem(name)}.log",
        weights=weights,
        lora=lora,
        slots=spec.concurrency,
        seed=spec.seed,
        check_stop=context.check_stop,
    )


def file_stem(name: str) -> str:
    """A name as a part of a file's name, and of those that llama-server takes."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "model"


def _environ(key: str) -> dict[str, str]:
    """The job's environment, with a key of this start: others of this machine reach the port, and get no answer there."""
    return {**server_environment(os.environ), "LLAMA_API_KEY": key}


def _resident_bytes(process: subprocess.Popen[bytes]) -> int | None:
    try:
        resident: int = psutil.Process(process.pid).memory_info().rss
    except psutil.Error:
        return None
    return resident


def _has_died(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends now; its connections break a moment before the kernel tells of its end."""
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        return False
    return True
