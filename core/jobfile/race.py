"""What a race is told: the trials of an experiment at one task, by which its arms are put in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.home import Home, RunDir
from core.jobfile.spec import Columns, Spec
from core.jobfile.train import TrialRef

HOST_BYTES = 200_000_000


def record_of(run: RunDir) -> Path:
    """What the trials of a race had reached when it was decided, as JSON: `trials`, each with its `held_out` or null."""
    return run.path / "race.json"


def rule_of(run: RunDir) -> Path:
    """How many arms go on by a race, as JSON: `keep`, as the experiment says now; null where none is stopped any more."""
    return run.path / "race_rule.json"


class RaceSpec(Spec):
    """Put the arms of an experiment in order by the held-out loss of their trials, once for all of them.

    It waits for the trials, and the trainings of the arms wait for it: where each of them named every trial of every arm, the
    queue would grow with the square of the arms. `arms` are names by key; `keep` arms were to go on when the race was queued.
    """

    kind: Literal["race"] = "race"
    experiment: str
    task: str
    arms: dict[str, str]
    trials: list[TrialRef] = Field(min_length=1)
    keep: int = Field(ge=1)

    @property
    def title(self) -> str:
        return f"race {self.task} · {self.experiment}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task)

    @property
    def settings(self) -> dict[str, Any]:
        return {"experiment": self.experiment, "arms": len(self.arms), "keep": self.keep}

    @property
    def needs_ended(self) -> tuple[int, ...]:
        return tuple(sorted({trial.job for trial in self.trials}))

    @property
    def packages(self) -> tuple[str, ...]:
        return ()

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return HOST_BYTES
