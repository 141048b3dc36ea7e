"""The command of a llama-server, as its version takes it: of a job for a file under test, and of a served model."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from core.config.task import Task
from core.errors import InputError
from core.models.gguf_memory import WINDOW_STEP
from core.process.ports import LOOPBACK

ALL_LAYERS = 999
"""On the GPU, where the program was built for one; a build for the CPU ignores that."""
TRACE_LEVEL = "4: trace"
"""In the help of the versions that log the sizes of their buffers only at that level; prompts they log at none below 5."""
HELP_SECONDS = 60.0


@dataclass(frozen=True)
class ServerCommand:
    """How a llama-server is started for the GGUF file `file`.

    `alias` is the model's name in its API; `context_length` in tokens is that of each of `slots` answers at a time. `lora` is
    an adapter as a GGUF file. `on_gpu`: its layers go to the GPU, where there is one. `traces`: the sizes of its buffers are
    logged. `defaults` are options with their values, taken where the version has them: what a question gets that says nothing
    of it (`served_defaults`).
    """

    program: Path
    file: Path
    alias: str
    port: int
    context_length: int
    slots: int = 1
    seed: int = 0
    on_gpu: bool = True
    lora: Path | None = None
    traces: bool = False
    defaults: Mapping[str, str] = field(default_factory=dict)

    def words(self, options: ServerOptions) -> list[str]:
        """The command. `options` are those of the program's version."""
        window = -(-self.context_length // WINDOW_STEP) * WINDOW_STEP * self.slots
        wanted = {
            "--model": str(self.file),
            "--alias": self.alias,
            "--host": LOOPBACK,
            "--port": str(self.port),
            "--ctx-size": str(window),
            "--parallel": str(self.slots),
            "--seed": str(self.seed),
            "--n-gpu-layers": str(ALL_LAYERS if self.on_gpu else 0),
            "--jinja": None,
            **({} if self.lora is None else {"--lora": str(self.lora)}),
        }
        # Of some versions only: its page, a cache of prompts in the host's memory (8 GB), the network.
        more: dict[str, str | None] = {"--no-webui": None, "--cache-ram": "0", "--offline": None}
        more |= self.defaults
        known = {**wanted, **{option: value for option, value in more.items() if option in options.names}}
        if self.traces and TRACE_LEVEL in options.help:
            known["--log-verbosity"] = "4"
        return [str(self.program), *(word for pair in known.items() for word in pair if word is not None)]


def served_defaults(task: Task, chat_template: str | None) -> dict[str, str]:
    """How a served model answers a question that leaves it open: as the task samples and thinks, not as llama-server would."""
    sampling = task.sampling
    chosen: dict[str, float | None] = {
        "--temp": sampling.temperature,
        "--top-p": sampling.top_p,
        "--top-k": sampling.top_k,
        "--min-p": 0.0,
        "--repeat-penalty": sampling.repeat_penalty,
        "--predict": sampling.max_new_tokens,
    }
    thinks = json.dumps({"enable_thinking": task.thinking == "on"})
    switch = {"--chat-template-kwargs": thinks} if "enable_thinking" in (chat_template or "") else {}
    return {option: str(value) for option, value in chosen.items() if value is not None} | switch


@dataclass(frozen=True)
class ServerOptions:
    """What a llama-server's `--help` says."""

    help: str

    @cached_property
    def names(self) -> frozenset[str]:
        """The options that this version has."""
        return frozenset(re.findall(r"--[\w-]+", self.help))

    @classmethod
    def of(cls, program: Path) -> ServerOptions:
        """Asked of the program itself. Raises `InputError` where it does not start."""
        try:
            done = subprocess.run(
                [str(program), "--help"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=HELP_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"the program does not start: {error}", code="broken_llama_cpp", file=program) from error
        return cls((done.stdout + done.stderr).decode("utf-8", errors="replace"))
