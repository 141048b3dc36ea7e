"""What a deployment is told: a GGUF file, who is to serve it and under which name, and what it is held to before it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.config.task import Task
from core.home import Home
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.gpu_use import GpuUse
from core.jobfile.references import needed_jobs
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import WORKING_BYTES, Columns, InputFile, Spec
from core.models.gguf_memory import host_bytes_of_server

Target = Literal["ollama", "llama-server"]
MOST_SLOTS = 64
STAGING = "-staging-"
"""Stands in the tag under which a model is proved; behind it stands which home that is of."""


class DeploySpec(Spec):
    """Have the GGUF file `source` (`job:12/gguf`, or a path) serve under `name`, once its prompts are those of training.

    To an Ollama: `server`, and `staging`, the tag under which the model is made and proved before `name` is touched. To a
    served model of llama-server: `program`, as it was found at submission, whether it starts `at_boot`, how many answers it
    gives at a time (`slots`), and its `port`; None is the one that the name has, else a free one. `model` is the base model,
    whose tokenizer and template trained; `served` holds the task, and the official template where the model's entry names one.
    """

    kind: Literal["deploy"] = "deploy"
    source: OwnPath
    to: Target
    name: str
    server: ServerUnderTest | None = None
    staging: str | None = None
    program: OwnPath | None = None
    at_boot: bool = False
    port: int | None = Field(default=None, ge=1, lt=2**16)
    slots: int = Field(default=1, ge=1, le=MOST_SLOTS)
    model: ModelEntry
    served: ServedAs
    golden: InputFile

    @model_validator(mode="after")
    def _is_whole(self) -> DeploySpec:
        if self.served.task is None:
            raise ValueError("a deployment needs the task that the model is to do")
        if self.to == "ollama" and (self.server is None or self.staging is None):
            raise ValueError("a deployment to Ollama needs the server and the tag under which the model is proved")
        if self.to == "llama-server" and self.program is None:
            raise ValueError("a deployment to llama-server needs its program")
        return self

    @property
    def task(self) -> Task:
        assert self.served.task is not None  # the spec was validated
        return self.served.task

    @property
    def title(self) -> str:
        return f"deploy {self.task.name} · {self.model.name} · {self.name}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task.name, model=self.model.name, source=self.source)

    @property
    def settings(self) -> dict[str, Any]:
        return {"base": self.model.name, "source": self.source, "to": self.to, "name": self.name}

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return (self.model,)

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(self.source)

    @property
    def packages(self) -> tuple[str, ...]:
        return ("transformers",)

    @property
    def gpu_use(self) -> GpuUse:
        """The model is loaded beside what serves already, and never while a training has the GPU."""
        if self.server is None:
            return GpuUse("serving", beside_programs=True)
        if not self.server.is_local:
            return GpuUse("none", loads_models=False)
        assert self.staging is not None  # the spec was validated
        return GpuUse("serving", {self.server.url: (self.staging,)}, loads_models=False)

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """A llama-server may hold the file and its cache in the host's memory: a file that is still to be made is counted in
        16 bits."""
        if self.to == "ollama":
            return WORKING_BYTES
        window = self.task.sampling.context_length
        return WORKING_BYTES + host_bytes_of_server(home, Path(self.source), self.model, window, self.slots)
