"""A tournament before it is queued: which models fit this machine, as an experiment like any other."""

from __future__ import annotations

from core.config.project import Project
from core.experiments.tournament import Tournament, WantedTournament, tournament
from core.home import Home
from core.submission.memory_check import measured_machine


def plan_tournament(home: Home, project: Project, wanted: WantedTournament) -> Tournament:
    """By this machine's memory as it is now. Raises as `tournament`, and `NotPredicted` where the memory is unknown."""
    machine = measured_machine(home)
    return tournament(home, project, wanted, machine.budget, machine.calibration)
