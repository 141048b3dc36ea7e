"""What the form of a tournament asks: the tasks and models there are, and what a tournament comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from core.config.project import project_option
from core.errors import BakehouseError
from core.format import parameters, plural
from core.home import Home
from tui.queries.failures import ask_beside
from tui.queries.latest_only import LatestOnly

if TYPE_CHECKING:
    from core.config.project import Project
    from core.experiment_submission.outlook import ExperimentOutlook
    from core.experiments.tournament import Tournament, WantedTournament


@dataclass(frozen=True)
class Entrant:
    """A task or a model that can be ticked; `problem` is why it cannot."""

    name: str
    note: str = ""
    problem: str = ""


@dataclass(frozen=True)
class AskedTournament:
    """What is ticked and written; `hours` None: all of it."""

    wanted: WantedTournament
    hours: float | None = None


@dataclass(frozen=True)
class TournamentOutlook:
    """What a tournament comes to, as an experiment like any other (`found`), or the problem that keeps it from being one."""

    asked: AskedTournament
    made: Tournament | None = None
    found: ExperimentOutlook | None = None
    problem: str = ""


class EntrantsRead(Message):
    """The tasks and the models of the project."""

    def __init__(
        self,
        tasks: tuple[Entrant, ...] = (),
        models: tuple[Entrant, ...] = (),
        option: tuple[str, ...] = (),
        problem: str = "",
    ) -> None:
        super().__init__()
        self.tasks, self.models, self.option, self.problem = tasks, models, option, problem


class TournamentRead(Message):
    def __init__(self, outlook: TournamentOutlook) -> None:
        super().__init__()
        self.outlook = outlook


class TournamentQueries:
    """Asked in threads; `tell` takes the messages."""

    def __init__(self, home: Home, find_project: Callable[[], Project], tell: Callable[[Message], None]) -> None:
        self.home, self.find_project, self.tell = home, find_project, tell
        self.outlook: LatestOnly[AskedTournament, TournamentOutlook] = LatestOnly(
            "tournament",
            self._outlook,
            lambda asked, found: tell(TournamentRead(found)),
            lambda asked, line: TournamentOutlook(asked, problem=line),
        )

    def start(self) -> None:
        ask_beside("entrants", self._entrants, lambda line: EntrantsRead(problem=line), self.tell)

    def forget(self) -> None:
        self.outlook.forget()

    def _entrants(self) -> EntrantsRead:
        project = self.find_project()
        # Those that can be trained first: the others are shown with why they can't.
        tasks = tuple(
            sorted((_task(project, name) for name in project.task_names()), key=lambda one: bool(one.problem))
        )
        models = tuple(_model(project, name) for name in project.model_names())
        return EntrantsRead(tasks, models, project_option(project))

    def _outlook(self, asked: AskedTournament) -> TournamentOutlook:
        from core.experiment_submission.outlook import experiment_outlook
        from core.experiment_submission.tournament import plan_tournament

        project = self.find_project()
        made = plan_tournament(self.home, project, asked.wanted)
        found = experiment_outlook(self.home, project, made.experiment, kind="tournament", about=made.about)
        try:
            return TournamentOutlook(asked, made, found.within(asked.hours))
        except BakehouseError as error:
            return TournamentOutlook(asked, made, found, error.message)


def _task(project: Project, name: str) -> Entrant:
    """A task needs examples to learn from and golden inputs to be measured by."""
    try:
        task = project.task(name)
        if task.data.train is None:
            return Entrant(name, problem="no training data")
        inputs = len(project.golden(task).inputs)
        project.train_file(task)
    except BakehouseError as error:
        return Entrant(name, problem=error.message)
    if not task.format and not task.content:
        return Entrant(name, problem="it has no checks")
    return Entrant(name, plural(inputs, "golden input"))


def _model(project: Project, name: str) -> Entrant:
    try:
        entry = project.model(name)
    except BakehouseError as error:
        return Entrant(name, problem=error.message)
    return Entrant(name, parameters(entry.parameters) if entry.parameters else "")
