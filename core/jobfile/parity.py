"""What a parity check is told: a GGUF file, the model whose template it was trained with, and the task that it is to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from core.config.base import OwnPath
from core.config.model import ModelEntry
from core.config.task import Task
from core.home import Home
from core.jobfile.references import needed_jobs
from core.jobfile.spec import WORKING_BYTES, Columns, InputFile, Spec
from core.models.files import parameter_count


class ParitySpec(Spec):
    """Compare the prompts of a llama-server for `source` (`job:12/gguf`, or the path of a GGUF file) with those of training.

    `model` is the base model, whose tokenizer and template trained. `program` is `llama-server` as it was found at submission.
    """

    kind: Literal["parity"] = "parity"
    source: OwnPath
    model: ModelEntry
    task: Task
    golden: InputFile
    program: OwnPath

    @property
    def title(self) -> str:
        return f"parity {self.task.name} · {self.model.name}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task.name, model=self.model.name, source=self.source)

    @property
    def settings(self) -> dict[str, Any]:
        return {"base": self.model.name, "source": self.source}

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return (self.model,)

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(self.source)

    @property
    def packages(self) -> tuple[str, ...]:
        return ("transformers",)

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """The server holds the file in the host's memory: a file that is still to be made is counted in 16 bits."""
        file = Path(self.source)
        weights = file.stat().st_size if file.is_file() else 2 * parameter_count(home, self.model)
        return weights + WORKING_BYTES
