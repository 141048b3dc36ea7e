"""The experiments of a project: how far each is, what one that is a file would queue, and new tournaments."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.message import Message

from core.text import printable
from tui.actions import AUTHOR, RequestDone
from tui.commands import ENDS, Command, bindings, command
from tui.context import Context
from tui.lines import Line, folded
from tui.queries.failures import ask_beside
from tui.screens.experiment import ExperimentScreen
from tui.screens.new_tournament import NewTournament
from tui.screens.rows_screen import WatchingScreen, problem_rows
from tui.widgets.experiment_rows import experiment_list_rows

if TYPE_CHECKING:
    from core.experiment_submission.outlook import ExperimentOutlook

NONE_CHOSEN = "Select an experiment."
NOT_RUN = "Select an experiment that was run."


class ExperimentsScreen(WatchingScreen):
    heading = "Experiments"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "down", "The next experiment", "j,down", "scroll(1)", rank=0, palette=False),
        command("k ↑", "up", "The experiment before", "k,up", "scroll(-1)", rank=0, palette=False),
        command(
            "⏎",
            "queue it",
            "Queue what is missing of it",
            "enter",
            "queue",
            lambda screen: screen.outlook is not None and not screen.busy,
            rank=1,
            unless="Nothing is planned.",
        ),
        command(
            "⏎",
            "open",
            "Open the experiment: arms, differences, the answer",
            "enter",
            "open",
            lambda screen: screen.outlook is None and screen.was_run,
            rank=1,
            unless=NOT_RUN,
        ),
        command(
            "⏎",
            "what it takes",
            "Show what the experiment would queue, before anything runs",
            "enter",
            "look",
            lambda screen: screen.outlook is None and screen.can_look and not screen.was_run,
            rank=1,
            unless=NONE_CHOSEN,
        ),
        command(
            "x",
            "run again",
            "Show what is missing of the experiment, to queue it",
            "x",
            "look",
            lambda screen: screen.outlook is None and screen.can_look and screen.was_run,
            rank=2,
            unless=NOT_RUN,
        ),
        command(
            "n",
            "new tournament",
            "New tournament: every model that fits, trained alike and baked off",
            "n",
            "new",
            lambda screen: screen.outlook is None,
            rank=2,
            short="new",
        ),
        command("r", "read again", "Look again", "r", "read", lambda screen: not screen.reading, rank=3),
        *ENDS,
        command("esc", "back", "Back; what is queued goes on", "escape,q", "leave", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class ExperimentsRead(Message):
        def __init__(self, found: Sequence[dict[str, Any]] | None, problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.problem = problem

    class ExperimentPlanned(Message):
        """What would be queued; or, with `queued`, words for what was."""

        def __init__(self, outlook: ExperimentOutlook | None, problem: str = "", queued: str = "") -> None:
            super().__init__()
            self.outlook = outlook
            self.problem = problem
            self.queued = queued

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.experiments: Sequence[dict[str, Any]] | None = None
        self.selected: str | None = None
        self.outlook: ExperimentOutlook | None = None
        self.problem = ""
        self.busy = False

    @property
    def chosen(self) -> dict[str, Any] | None:
        return next((row for row in self.experiments or () if row["name"] == self.selected), None)

    @property
    def was_run(self) -> bool:
        return self.chosen is not None and self.chosen["jobs"] is not None

    @property
    def can_look(self) -> bool:
        return self.chosen is not None and not self.chosen["problem"] and not self.busy

    # Reading

    def action_read(self) -> None:
        self.reading = True
        ask_beside("experiments", self._read, lambda line: self.ExperimentsRead(None, line), self.tell)

    def _read(self) -> ExperimentsRead:
        from core.experiments.overview import experiment_rows
        from core.store.database import open_database

        project = self.context.find_project()
        with contextlib.closing(open_database(self.context.home)) as connection:
            return self.ExperimentsRead(experiment_rows(connection, project))

    def on_experiments_screen_experiments_read(self, message: ExperimentsRead) -> None:
        self.reading = False
        if message.found is None:
            self.problem = message.problem
        else:
            self.experiments = message.found
        if self.chosen is None and self.experiments:
            self.selected = self.experiments[0]["name"]
        self._paint()

    # Showing

    @property
    def rows_title(self) -> Line:
        title = Line("Experiments", "bold")
        if self.outlook is not None:
            return title.add(f"  {printable(self.outlook.plan.experiment.name)}: what would be queued")
        return title.add("  arms that differ in what is asked about, baked off together", "dim")

    def _rows(self, width: int, height: int) -> list[Line]:
        rows = problem_rows(self.problem, width) if self.problem else []
        if self.busy:
            return [*rows, Line("looking at each arm: its data, its recipe, the memory that it takes …", "busy")]
        if self.outlook is not None:
            return [*rows, *self._planned(self.outlook, width)]
        if self.experiments is None:
            return rows or [Line("reading …", "dim")]
        if not self.experiments:
            text = "No experiment yet: write configs/experiments/NAME.yaml, or n starts a tournament."
            return [*rows, *folded(Line(text, "dim"), width)]
        return [*rows, *experiment_list_rows(self.experiments, self.selected, width)]

    def _planned(self, outlook: ExperimentOutlook, width: int) -> list[Line]:
        from core.wording.experiment_cost import outlook_lines
        from core.wording.experiment_plan import missing_words, plan_lines

        rows = []
        for text in (*plan_lines(outlook.plan), *outlook_lines(outlook), missing_words(outlook.plan)):
            rows += folded(Line(text), width)
        for remark in outlook.plan.remarks:
            rows += folded(Line("note: ", "dim").add(remark, "dim"), width)
        return rows

    # Keys

    def action_scroll(self, step: int) -> None:
        names = [row["name"] for row in self.experiments or ()]
        if self.outlook is not None or not names:
            super().action_scroll(step)
            return
        at = names.index(self.selected) if self.selected in names else 0
        self.selected = names[max(0, min(len(names) - 1, at + step))]
        self._paint()

    def action_open(self) -> None:
        if self.chosen is not None:
            self.app.push_screen(ExperimentScreen(self.context, self.chosen["name"]))

    def action_new(self) -> None:
        self.app.push_screen(NewTournament(self.context))

    def action_look(self) -> None:
        if self.chosen is not None:
            name = self.chosen["name"]
            self.busy, self.problem = True, ""
            self._paint()
            failed = lambda line: self.ExperimentPlanned(None, line)  # noqa: E731
            ask_beside("plan an experiment", lambda: self._look(name), failed, self.tell)

    def _look(self, name: str) -> ExperimentPlanned:
        from core.experiment_submission.outlook import experiment_outlook
        from core.experiments.named import named_experiment
        from core.store.database import open_database

        home, project = self.context.home, self.context.find_project()
        with contextlib.closing(open_database(home)) as connection:
            named = named_experiment(connection, project, name)
        found = experiment_outlook(home, project, named.experiment, kind=named.kind, about=named.about)
        return self.ExperimentPlanned(found)

    def action_queue(self) -> None:
        outlook = self.outlook
        if outlook is not None:
            self.busy = True
            self._paint()
            failed = lambda line: self.ExperimentPlanned(None, line)  # noqa: E731
            ask_beside("queue an experiment", lambda: self._queue(outlook), failed, self._tell_queued)

    def _queue(self, outlook: ExperimentOutlook) -> ExperimentPlanned:
        from core.experiment_submission.queueing import submit_experiment
        from core.runner.client import author
        from core.wording.experiment_plan import queued_words

        home, project = self.context.home, self.context.find_project()
        queued = submit_experiment(home, project, outlook.plan, author=author(AUTHOR))
        return self.ExperimentPlanned(outlook, queued=queued_words(queued))

    def _tell_queued(self, message: ExperimentPlanned) -> None:
        self.tell(message, RequestDone(message.problem or message.queued, failed=bool(message.problem)))

    def on_experiments_screen_experiment_planned(self, message: ExperimentPlanned) -> None:
        self.busy, self.problem = False, message.problem
        self.outlook = None if message.queued else message.outlook
        if message.queued and message.outlook is not None:
            self.app.notify(printable(message.queued), markup=False)
            self.context.feed.wake()
            self.action_read()
            self.app.push_screen(ExperimentScreen(self.context, message.outlook.plan.experiment.name))
        self._paint()

    def action_leave(self) -> None:
        if self.outlook is not None:
            self.outlook = None
            self._paint()
        else:
            self.app.pop_screen()
