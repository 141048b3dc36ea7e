"""An experiment as it is looked at before it is queued: what is missing, what that takes, and what of it there is time for.

Commands, the list of experiments and the form of a tournament ask the same, so that nowhere something is queued whose cost was
not shown.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.config.experiment import Experiment
from core.config.project import Project
from core.experiment_submission.cost import ExperimentCost, experiment_cost
from core.experiment_submission.hours import ChosenPart, within_hours
from core.experiment_submission.plan import ExperimentPlan, plan_experiment
from core.home import Home
from core.store.database import open_database
from core.store.experiments import ExperimentKind, count_others


@dataclass(frozen=True)
class ExperimentOutlook:
    """`cost` is that of all that is missing; `plan` is without what `hours` leave out, `chosen` says what they do.

    `room_bytes` is what the disk has before jobs wait for room. `others` counts the jobs in the queue that are none of the
    experiment's: their time is not in its cost.
    """

    plan: ExperimentPlan
    cost: ExperimentCost
    room_bytes: int
    others: int
    hours: float | None = None
    chosen: ChosenPart | None = None

    def within(self, hours: float | None) -> ExperimentOutlook:
        """What of it can be done in so many hours; None: all of it. Raises as `within_hours`."""
        if hours is None or not self.plan.missing:
            return self
        chosen = within_hours(self.plan, self.cost, hours)
        return replace(self, plan=self.plan.only(chosen.runs), hours=hours, chosen=chosen)

    def to_json(self) -> dict[str, Any]:
        return self.cost.to_json() | {"room_bytes": self.room_bytes, "other_jobs": self.others}


def experiment_outlook(
    home: Home,
    project: Project,
    experiment: Experiment,
    *,
    kind: ExperimentKind = "experiment",
    about: Mapping[str, Any] | None = None,
) -> ExperimentOutlook:
    """All of it, whatever time there is. Raises as `plan_experiment`."""
    plan = plan_experiment(home, project, experiment, kind=kind, about=about)
    with contextlib.closing(open_database(home)) as connection:
        cost = experiment_cost(home, connection, project, plan)
        others = count_others(connection, None if plan.known is None else plan.known.id)
    room = shutil.disk_usage(home.root).free - project.settings.queue.min_free_disk_bytes
    return ExperimentOutlook(plan, cost, max(0, room), others)
