"""What is asked for when the stages of an adapter are asked for."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from core.jobfile.quantize import Quantization


@dataclass(frozen=True)
class WantedStages:
    """The stages of what the training `job` made. `task` None: the one that it was trained for. `smaller` are formats below
    Q8_0, in any order. None of the rest leaves it to the task or to the default."""

    job: int
    task: str | None = None
    smaller: tuple[Quantization, ...] = ()
    repeats: int | None = None
    concurrency: int | None = None

    def command(self, project: tuple[str, ...] = ()) -> str:
        """The command that asks for the same; `project` is the option by which it finds the project."""
        words = ["bakehouse", "bakeoff", "--stages", str(self.job), *([self.task] if self.task else [])]
        words += ["--smaller", ",".join(self.smaller)] if self.smaller else []
        words += ["--repeats", str(self.repeats)] if self.repeats is not None else []
        words += ["--concurrency", str(self.concurrency)] if self.concurrency is not None else []
        return " ".join(shlex.quote(word) for word in [*words, *project])
