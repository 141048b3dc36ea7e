"""An experiment as it is shown: what was asked for, how far it is, and what it answers at each task."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.config.project import Project
from core.errors import NotFoundError
from core.experiments.answer import TaskAnswer, answer_of
from core.experiments.evidence import ArmEvidence, TaskEvidence
from core.experiments.measured import ExperimentRuns, read_evidence, read_runs
from core.experiments.named import named_experiment
from core.experiments.standing import ExperimentStanding, standing_of
from core.home import Home
from core.store.experiments import StoredExperiment


@dataclass(frozen=True, eq=False)
class ShownTask:
    """One task: the evidence, and what is concluded from it."""

    evidence: TaskEvidence
    answer: TaskAnswer

    @property
    def name(self) -> str:
        return self.evidence.task

    @property
    def ranked(self) -> Sequence[ArmEvidence]:
        """The arms by the ranking, those without scores last, as the experiment has them."""
        order = {key: place for place, key in enumerate(self.answer.ranking.order)}
        return sorted(self.evidence.arms, key=lambda arm: (order.get(arm.key, len(order)), arm.place))


@dataclass(frozen=True, eq=False)
class ShownExperiment:
    """`names` are those of the arms by their keys."""

    runs: ExperimentRuns
    standing: ExperimentStanding
    tasks: tuple[ShownTask, ...]

    @property
    def stored(self) -> StoredExperiment:
        return self.runs.stored

    @property
    def names(self) -> Mapping[str, str]:
        return {arm.key: arm.name for arm in self.stored.arms}

    def to_json(self) -> dict[str, Any]:
        """Plain types only."""
        stored = self.stored
        return {
            "schema": 1,
            "name": stored.name,
            "kind": stored.kind,
            "experiment": stored.definition["experiment"],
            "about": stored.definition.get("about", {}),
            "arms": [
                {
                    "key": arm.key,
                    "name": arm.name,
                    "model": arm.definition["model"],
                    "weights": arm.definition["weights"],
                }
                | {"values": arm.definition["values"]}
                for arm in stored.arms
            ],
            "standing": self.standing.to_json(),
            "answers": {task.name: task.answer.to_json() for task in self.tasks},
        }


def shown_experiment(
    home: Home, connection: sqlite3.Connection, project: Project, name: str, task: str | None = None
) -> ShownExperiment:
    """The experiment of that name that was run, with one of its tasks or all of them.

    Raises `NotFoundError` where there is none of that name, where it was not run yet, and for a task that it does not have.
    """
    stored = named_experiment(connection, project, name).stored
    if stored is None:
        raise NotFoundError(
            f"{name} was not run yet",
            code="experiment_not_run",
            remedy=f"`bakehouse experiment run {name} --dry-run` shows what would be queued",
        )
    return shown(home, connection, stored, task)


def shown(
    home: Home, connection: sqlite3.Connection, stored: StoredExperiment, task: str | None = None
) -> ShownExperiment:
    """The same of an experiment that is known. Raises `NotFoundError` for a task that it does not have."""
    runs = read_runs(connection, stored)
    tasks = list(dict.fromkeys([*runs.experiment.tasks, *(run.task for run in runs.runs)]))
    if task is not None and task not in tasks:
        raise NotFoundError(
            f"{stored.name} has no task `{task}`", code="no_task", remedy=f"its tasks: {', '.join(tasks)}"
        )
    found = [read_evidence(home, connection, runs, one) for one in tasks if task in (None, one)]
    return ShownExperiment(runs, standing_of(runs), tuple(ShownTask(one, answer_of(one)) for one in found))
