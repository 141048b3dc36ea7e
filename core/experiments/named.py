"""Which experiment a name means: a file of the project, else one that was queued before, such as a tournament."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.config.experiment import Experiment
from core.config.project import Project
from core.errors import NotFoundError
from core.store.experiments import ExperimentKind, StoredExperiment, find_experiment, list_experiments


@dataclass(frozen=True)
class NamedExperiment:
    """What is asked for by a name; `stored` is how it was queued before, None before that."""

    experiment: Experiment
    kind: ExperimentKind
    stored: StoredExperiment | None

    @property
    def about(self) -> Mapping[str, Any]:
        """What was kept with it: how a tournament came to its arms."""
        about: Mapping[str, Any] = {} if self.stored is None else self.stored.definition.get("about", {})
        return about


def named_experiment(connection: sqlite3.Connection, project: Project, name: str) -> NamedExperiment:
    """The experiment of that name: the project's file before what is stored, so that a changed file counts.

    Raises `NotFoundError` with a suggestion, and `InputError` for what is wrong in the file.
    """
    stored = find_experiment(connection, project.id, name)
    files = project.experiment_names()
    if name in files:
        return NamedExperiment(project.experiment(name), "experiment", stored)
    if stored is not None:
        return NamedExperiment(as_asked(stored), stored.kind, stored)
    known = [*files, *(one.name for one in list_experiments(connection, project.id) if one.name not in files)]
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    remedy = f"did you mean `{near[0]}`?" if near else "`bakehouse experiment list` shows those that there are"
    raise NotFoundError(f"no experiment `{name}`", code="experiment_not_found", remedy=remedy)


def as_asked(stored: StoredExperiment) -> Experiment:
    """What a stored experiment was asked for last."""
    return Experiment.model_validate(stored.definition["experiment"])
