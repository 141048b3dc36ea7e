"""How far an experiment is: each arm at each task, seed by seed, and what is still to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.experiments.measured import ExperimentRuns
from core.experiments.time_left import ExperimentTimeLeft, time_left
from core.store.experiments import RunRole, StoredRun
from core.store.jobs import ACTIVE, ENDED, JobRow

Stand = Literal["waiting", "running", "done", "failed", "censored"]
"""Of a job as a part of an experiment. `failed` is every end that made nothing, but for a race that was lost."""
ROLES: tuple[RunRole, ...] = ("trial", "final", "merge", "convert", "quantize")


@dataclass(frozen=True)
class RunStanding:
    """A run of an arm. `share` is how much of it is done in [0, 1], None where that is not known; `lr` that of a trial."""

    role: RunRole
    seed: int
    lr: float | None
    job_id: int
    stand: Stand
    share: float | None


@dataclass(frozen=True)
class ArmStanding:
    """An arm at a task. `chosen_lr` is the learning rate that its trials chose, None before they have or without trials."""

    task: str
    key: str
    name: str
    runs: tuple[RunStanding, ...]
    chosen_lr: float | None

    def of_role(self, role: RunRole) -> tuple[RunStanding, ...]:
        return tuple(run for run in self.runs if run.role == role)

    @property
    def stand(self) -> Stand:
        """The arm as a whole: what runs, else what waits, else how its trainings ended."""
        stands = [run.stand for run in self.runs]
        finals = [run.stand for run in self.of_role("final")]
        for one in ("running", "waiting"):
            if one in stands:
                return one
        for one in ("censored", "done"):
            if one in finals:
                return one
        return "failed"


@dataclass(frozen=True)
class BakeoffStanding:
    """The bake-off behind a block of seeds of a task."""

    task: str
    block: int
    job_id: int
    stand: Stand
    share: float | None


@dataclass(frozen=True)
class ExperimentStanding:
    """`jobs` counts all jobs of the experiment by how they stand; `left` is the time of those that have not ended."""

    arms: tuple[ArmStanding, ...]
    bakeoffs: tuple[BakeoffStanding, ...]
    jobs: Mapping[Stand, int]
    left: ExperimentTimeLeft

    @property
    def stand(self) -> Stand:
        """The experiment as a whole. One whose last bake-offs are done is done, whatever arms failed."""
        if self.jobs.get("running"):
            return "running"
        if self.jobs.get("waiting"):
            return "waiting"
        newest = {one.task: one.stand for one in self.bakeoffs}
        return "done" if newest and all(stand == "done" for stand in newest.values()) else "failed"

    @property
    def total(self) -> int:
        return sum(self.jobs.values())

    @property
    def ended(self) -> int:
        return self.total - self.jobs.get("waiting", 0) - self.jobs.get("running", 0)

    def to_json(self) -> dict[str, Any]:
        arms = [{**asdict(arm), "stand": arm.stand} for arm in self.arms]
        own = {"stand": self.stand, "jobs": dict(self.jobs), "left": asdict(self.left)}
        return {**own, "arms": arms, "bakeoffs": [asdict(one) for one in self.bakeoffs]}


def standing_of(found: ExperimentRuns) -> ExperimentStanding:
    """From the jobs as they are now."""
    tasks = dict.fromkeys(run.task for run in found.runs)
    arms = tuple(
        ArmStanding(task, arm.key, arm.name, _runs(found, found.of(task, arm.key)), _chosen(found, task, arm.key))
        for task in tasks
        for arm in found.arms(task)
    )
    bakeoffs = tuple(
        BakeoffStanding(one.task, one.block, one.job_id, stand_of(found.job(one)), _share(found.job(one)))
        for one in found.bakeoffs
    )
    races = [stand_of(found.job(one)) for one in found.races]
    jobs = Counter([run.stand for arm in arms for run in arm.runs] + [one.stand for one in bakeoffs] + races)
    return ExperimentStanding(arms, bakeoffs, dict(jobs), time_left(found))


def stand_of(job: JobRow) -> Stand:
    """How a job stands as a part of its experiment."""
    if job.state in ACTIVE:
        return "running"
    if job.state not in ENDED:
        return "waiting"
    if job.is_censored:
        return "censored"
    return "done" if job.state == "done" else "failed"


def _runs(found: ExperimentRuns, runs: Sequence[StoredRun]) -> tuple[RunStanding, ...]:
    ordered = sorted(runs, key=lambda run: (ROLES.index(run.role), run.job_id))
    return tuple(
        RunStanding(run.role, run.seed, run.lr, run.job_id, stand_of(found.job(run)), _share(found.job(run)))
        for run in ordered
    )


def _share(job: JobRow) -> float | None:
    if job.state == "done":
        return 1.0
    return None if job.progress is None else job.progress.fraction


def _chosen(found: ExperimentRuns, task: str, arm: str) -> float | None:
    for run in found.of(task, arm):
        summary = (found.job(run).result or {}).get("summary") or {}
        if run.role == "final" and summary.get("chosen_lr") is not None:
            return float(summary["chosen_lr"])
    return None
