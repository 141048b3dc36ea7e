"""An experiment as it is looked at before it is queued: what is missing, what that takes, and what of it there is time for.

Commands, the list of experiments and the form of a tournament ask the same, so that nowhere something is queued whose cost was
not shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.config.experiment import Experiment
from core.config.project import Project
from core.home import Home
from core.store.database import open_database
from core.store.experiments import ExperimentKind
from core.submission.experiment_cost import ExperimentCost, experiment_cost
from core.submission.experiment_hours import ChosenPart, within_hours
from core.submission.experiment_plan import ExperimentPlan, plan_experiment


@dataclass(frozen=True)
class ExperimentOutlook:
    """`cost` is that of all that is missing; `plan` is without what `hours` leave out, `chosen` says what they do."""

    plan: ExperimentPlan
    cost: ExperimentCost
    hours: float | None = None
    chosen: ChosenPart | None = None

    def within(self, hours: float | None) -> ExperimentOutlook:
        """What of it can be done in so many hours; None: all of it. Raises as `within_hours`."""
        if hours is None or not self.plan.missing:
            return self
        chosen = within_hours(self.plan, self.cost, hours)
        return ExperimentOutlook(self.plan.only(chosen.runs), self.cost, hours, chosen)


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
        return ExperimentOutlook(plan, experiment_cost(connection, project, plan))
