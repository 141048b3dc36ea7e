"""One experiment: arms and how they stand, differences with intervals, the answer in words, what to run next."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from core.text import printable
from tui.actions import AUTHOR, RequestDone
from tui.commands import ENDS, Command, bindings, command, scrolling
from tui.context import Context
from tui.lines import Line
from tui.queries.failures import ask_beside
from tui.screens.confirm import Confirm
from tui.screens.job import JobScreen
from tui.screens.results import Results
from tui.screens.rows_screen import WatchingScreen, problem_rows
from tui.screens.write_report import ask_report
from tui.widgets.experiment_rows import experiment_rows

if TYPE_CHECKING:
    from core.experiment_submission.outlook import ExperimentOutlook
    from core.experiments.shown import ShownExperiment, ShownTask

NO_BAKEOFF = "No bake-off of this experiment has ended yet."


class ExperimentScreen(WatchingScreen):
    heading = "Experiment"
    commands: ClassVar[tuple[Command, ...]] = (
        *scrolling("Scroll down", "Scroll up"),
        command("] [", "arm", "The next arm, the arm before", "right_square_bracket", "arm(1)", rank=2, palette=False),
        command("[", "arm before", "The arm before", "left_square_bracket", "arm(-1)", rank=0, palette=False),
        command(
            "⏎",
            "open",
            "Open the newest training of the selected arm",
            "enter",
            "open",
            lambda screen: screen.training is not None,
            rank=1,
            unless="Select an arm with ] and [.",
        ),
        command(
            "b",
            "bake-off",
            "Open the bake-off that the answer is made of",
            "b",
            "bakeoff",
            lambda screen: screen.counting is not None,
            rank=2,
            unless=NO_BAKEOFF,
        ),
        command(
            "tab",
            "task",
            "The next task of the experiment",
            "tab",
            "turn",
            lambda screen: screen.found is not None and len(screen.found.tasks) > 1,
            rank=2,
            unless="The experiment has one task.",
        ),
        command(
            "R",
            "run what is missing",
            "Queue what is missing, and try again what has failed",
            "R",
            "run",
            lambda screen: not screen.busy,
            rank=3,
            short="run",
        ),
        command(
            "w",
            "report",
            "Write a report to read, print or publish: answer, charts, tables, caveats, method",
            "w",
            "report",
            lambda screen: screen.found is not None,
            rank=2,
            unless="The experiment is still being read.",
        ),
        command("r", "read again", "Look again", "r", "read", lambda screen: not screen.reading, rank=4),
        *ENDS,
        command("esc", "back", "Back; what is queued goes on", "escape,q", "leave", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class ExperimentRead(Message):
        def __init__(self, found: ShownExperiment | None, problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.problem = problem

    class RunAgain(Message):
        """What came of asking for what is missing: words, or a problem; with `outlook` trainings that nobody has agreed to."""

        def __init__(self, words: str, problem: str = "", outlook: ExperimentOutlook | None = None) -> None:
            super().__init__()
            self.words = words
            self.problem = problem
            self.outlook = outlook

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context)
        self.experiment = name
        self.found: ShownExperiment | None = None
        self.task_number = 0
        self.selected: str | None = None
        """The key of an arm."""
        self.problem = ""
        self.busy = False

    @property
    def at_task(self) -> ShownTask | None:
        tasks = () if self.found is None else self.found.tasks
        return tasks[self.task_number % len(tasks)] if tasks else None

    @property
    def training(self) -> int | None:
        """The newest training of the selected arm that has begun, else its first one."""
        if self.found is None or self.at_task is None or self.selected is None:
            return None
        arm = next(
            (one for one in self.found.standing.arms if (one.task, one.key) == (self.at_task.name, self.selected)), None
        )
        finals = () if arm is None else arm.of_role("final")
        begun = [run for run in finals if run.stand != "waiting"]
        return (begun[-1] if begun else finals[0]).job_id if finals else None

    @property
    def counting(self) -> int | None:
        """The bake-off that the answer is made of."""
        if self.found is None or self.at_task is None:
            return None
        found = self.found.runs.counting(self.at_task.name)
        return None if found is None else found.job_id

    # Reading

    def action_read(self) -> None:
        self.reading = True
        ask_beside("experiment", self._read, lambda line: self.ExperimentRead(None, line), self.tell)

    def _read(self) -> ExperimentRead:
        """Loads the bake-offs that count."""
        from core.experiments.shown import shown_experiment
        from core.store.database import open_database

        home, project = self.context.home, self.context.find_project()
        with contextlib.closing(open_database(home)) as connection:
            return self.ExperimentRead(shown_experiment(home, connection, project, self.experiment))

    def on_experiment_screen_experiment_read(self, message: ExperimentRead) -> None:
        self.reading, self.problem = False, message.problem
        if message.found is not None:
            self.found = message.found
        self._paint()

    # Showing

    @property
    def rows_title(self) -> Line:
        title = Line("Experiment", "bold").add(f"  {printable(self.experiment)}")
        if self.at_task is not None and self.found is not None:
            several = len(self.found.tasks)
            place = f", {self.task_number % several + 1} of {several}" if several > 1 else ""
            title.add(f" · {printable(self.at_task.name)}{place}", "dim")
        return title

    def _rows(self, width: int, height: int) -> list[Line]:
        rows = problem_rows(self.problem, width) if self.problem else []
        if self.busy:
            rows.append(Line("looking at each arm: its data, its recipe, the memory that it takes …", "busy"))
        if self.found is None:
            return rows or [Line("reading …", "dim")]
        return rows + experiment_rows(self.found, self.at_task, self.selected, width)

    # Keys

    def action_arm(self, step: int) -> None:
        keys = [] if self.at_task is None else [arm.key for arm in self.at_task.ranked]
        if keys:
            at = keys.index(self.selected) + step if self.selected in keys else 0
            self.selected = keys[max(0, min(len(keys) - 1, at))]
            self._paint()

    def action_scroll(self, step: int) -> None:
        self._let_go()
        super().action_scroll(step)

    def action_go(self, end: bool) -> None:
        self._let_go()
        super().action_go(end)

    def _let_go(self) -> None:
        """No arm is selected any more: a selected row is kept in sight, and what stands far below would never be."""
        if self.selected is not None:
            self.selected = None
            self._paint()

    def action_turn(self) -> None:
        self.task_number += 1
        self._paint()

    def action_open(self) -> None:
        if self.training is not None:
            self.app.push_screen(JobScreen(self.context, self.training))

    def action_bakeoff(self) -> None:
        if self.counting is not None:
            self.app.push_screen(Results(self.context, self.counting))

    def action_run(self) -> None:
        self.busy = True
        self._paint()
        ask_beside("run an experiment", self._run, lambda line: self.RunAgain("", line), self._tell_run)

    def _run(self) -> RunAgain:
        from core.experiment_submission.outlook import experiment_outlook
        from core.experiment_submission.retry import retry_lacking
        from core.experiments.named import named_experiment
        from core.runner.client import author
        from core.store.database import open_database
        from core.wording.experiment_plan import retried_words

        home, project, by = self.context.home, self.context.find_project(), author(AUTHOR)
        with contextlib.closing(open_database(home)) as connection:
            named = named_experiment(connection, project, self.experiment)
        retried = retry_lacking(home, project, self.experiment, by=by)
        outlook = experiment_outlook(home, project, named.experiment, kind=named.kind, about=named.about)
        said = [*retried.refused, *([retried_words(retried)] if retried.jobs else [])]
        if outlook.plan.missing:
            return self.RunAgain("; ".join(said), outlook=outlook)
        return self.RunAgain("; ".join([*said, self._queued(outlook)]))

    def _queued(self, outlook: ExperimentOutlook) -> str:
        from core.experiment_submission.queueing import submit_experiment
        from core.runner.client import author
        from core.wording.experiment_plan import queued_words

        project = self.context.find_project()
        return queued_words(submit_experiment(self.context.home, project, outlook.plan, author=author(AUTHOR)))

    def _ask(self, outlook: ExperimentOutlook) -> None:
        """Trainings that were not queued yet are hours that somebody has to agree to."""
        from core.wording.experiment_cost import outlook_lines
        from core.wording.experiment_plan import missing_words

        def answered(queue: bool | None) -> None:
            if queue:
                self.busy = True
                self._paint()
                run = lambda: self.RunAgain(self._queued(outlook))  # noqa: E731
                ask_beside("run an experiment", run, lambda line: self.RunAgain("", line), self._tell_run)

        explanation = "\n".join([missing_words(outlook.plan), *outlook_lines(outlook)])
        self.app.push_screen(Confirm(f"Queue what is missing of {self.experiment}?", explanation, "Queue it"), answered)

    def _tell_run(self, message: RunAgain) -> None:
        said = message.problem or message.words
        self.tell(message, RequestDone(said, failed=bool(message.problem)) if said else None)

    def on_experiment_screen_run_again(self, message: RunAgain) -> None:
        self.busy, self.problem = False, message.problem
        if message.words:
            self.app.notify(printable(message.words), markup=False)
            self.context.feed.wake()
        if message.outlook is not None:
            self._ask(message.outlook)
        self.action_read()
        self._paint()

    def action_report(self) -> None:
        ask_report(self.app, self.context, self.experiment)

    def action_leave(self) -> None:
        self.app.pop_screen()
