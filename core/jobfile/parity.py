"""What a parity check is told: who serves, the model whose template it was trained with, and the task that it is to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.config.task import Task
from core.home import Home
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.gpu_use import GpuUse
from core.jobfile.references import needed_jobs
from core.jobfile.spec import WORKING_BYTES, Columns, InputFile, Spec
from core.models.gguf_memory import host_bytes_of_server


class ParitySpec(Spec):
    """Compare the prompts of a served model with those of training.

    Served is the GGUF file `source` (`job:12/gguf`, or a path), by a llama-server of the job (`program`, as it was found at
    submission); or `served_model`, as `server` has it running. `model` is the base model, whose tokenizer and template trained.
    """

    kind: Literal["parity"] = "parity"
    source: OwnPath | None = None
    program: OwnPath | None = None
    server: ServerUnderTest | None = None
    served_model: str | None = None
    model: ModelEntry
    task: Task
    golden: InputFile

    @model_validator(mode="after")
    def _one_serves(self) -> ParitySpec:
        of_file, of_server = (self.source, self.program), (self.server, self.served_model)
        if (None in of_file and None in of_server) or (any(of_file) and any(of_server)):
            raise ValueError(
                "a parity check needs a GGUF file and a llama-server, or a server and the name of its model there"
            )
        return self

    @property
    def served(self) -> str:
        """What is checked, for people: the reference or path of the file, or `SERVER:MODEL`."""
        if self.server is None:
            return str(self.source)
        return f"{self.server.name}:{self.served_model}"

    @property
    def title(self) -> str:
        return f"parity {self.task.name} · {self.model.name}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task.name, model=self.model.name, source=self.served)

    @property
    def settings(self) -> dict[str, Any]:
        return {"base": self.model.name, "source": self.served}

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
        """A llama-server of the job computes on the CPU; a server of this machine has its model on the GPU."""
        if self.server is None or self.served_model is None:
            return GpuUse("none", loads_models=False)
        return self.server.gpu_use(self.served_model)

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """A server of the job holds the file and its cache in the host's memory: a file that is still to be made is counted in
        16 bits."""
        if self.source is None:
            return WORKING_BYTES
        window = self.task.sampling.context_length
        return WORKING_BYTES + host_bytes_of_server(home, Path(self.source), self.model, window)
