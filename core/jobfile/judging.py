"""What a judging is told: the answers of an ended bake-off, the checks of judges, and what they have said already."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core.home import Home
from core.jobfile.bakeoff import ASKING_BYTES, CandidateSpec, TaskUnderTest, gpu_use_of
from core.jobfile.gpu_use import GpuUse
from core.jobfile.spec import Columns, InputFile, Spec


class JudgingSpec(Spec):
    """Ask the judges of a bake-off for what they have not said, and score its answers again.

    `scoring` is the number of the scoring whose checks the `tasks` have; what comes of it is a scoring of its own. `answers` is
    a copy of what counts, `verdicts` of what its judges have said, `earlier_verdicts` of what they have said
    in any bake-off of the home. `curtailed` are the candidates by task that were stopped.
    """

    kind: Literal["judging"] = "judging"
    bakeoff: int
    scoring: int
    tasks: list[TaskUnderTest] = Field(min_length=1)
    candidates: list[CandidateSpec]
    incumbent: str | None = None
    judges: list[CandidateSpec] = Field(min_length=1)
    answers: InputFile
    verdicts: InputFile | None = None
    earlier_verdicts: InputFile | None = None
    curtailed: dict[str, list[str]] = Field(default_factory=dict)
    concurrency: int = Field(default=1, ge=1)
    pattern_timeout_seconds: float = Field(default=1.0, gt=0)

    @property
    def title(self) -> str:
        return f"judging of bake-off {self.bakeoff}"

    @property
    def columns(self) -> Columns:
        task = self.tasks[0].name if len(self.tasks) == 1 else None
        model = self.judges[0].served_model if len(self.judges) == 1 else None
        return Columns(task=task, model=model, source=f"bake-off {self.bakeoff}")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "bakeoff": self.bakeoff,
            "tasks": [task.name for task in self.tasks],
            "judges": [judge.name for judge in self.judges],
        }

    @property
    def packages(self) -> tuple[str, ...]:
        return ()

    @property
    def gpu_use(self) -> GpuUse:
        """A judge on this machine has its model on the GPU; nothing is loaded by the job."""
        return gpu_use_of(self.judges, loads=False)

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return ASKING_BYTES
