"""The tasks: what each asks of a model, what it can show, and what is wrong with its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from core.format import plural
from tui.commands import ENDS, Command, bindings, command
from tui.context import Context
from tui.lines import Line
from tui.model.snapshot import Board
from tui.panes.fleet import newest_boards
from tui.queries.failures import ask_beside
from tui.screens.marking import MarkingScreen
from tui.screens.new_bakeoff import NewBakeoff
from tui.screens.new_bakeoff.choices import Choices
from tui.screens.new_run import NewRun
from tui.screens.new_task import NewTask
from tui.screens.results import Results
from tui.screens.rows_screen import RowsScreen, problem_rows
from tui.widgets.task_rows import task_detail_rows, task_table_rows

if TYPE_CHECKING:
    from core.authoring.task_rows import TaskRow

NONE_CHOSEN = "Select a task."
NO_BOARD = "No bake-off of this task is done yet."


class TasksScreen(RowsScreen):
    heading = "Tasks"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "task", "The next task", "j,down", "scroll(1)", rank=1, palette=False),
        command("k ↑", "before", "The task before", "k,up", "scroll(-1)", rank=0, palette=False),
        command(
            "⏎",
            "bake-off",
            "Open the newest bake-off of the task",
            "enter",
            "open",
            lambda screen: screen.newest is not None,
            rank=1,
            unless=NO_BOARD,
        ),
        command(
            "n",
            "new run",
            "Train a model at this task",
            "n",
            "train",
            lambda screen: screen.chosen is not None and bool(screen.chosen.examples),
            rank=1,
            unless="Select a task with training data.",
        ),
        command(
            "B",
            "new bake-off",
            "New bake-off of this task",
            "B",
            "bakeoff",
            lambda screen: screen.chosen is not None and bool(screen.chosen.inputs),
            rank=1,
            unless="Select a task with golden inputs.",
        ),
        command(
            "M",
            "marking",
            "Mark answers of the task: which of two is right? It becomes a golden input",
            "M",
            "marking",
            lambda screen: screen.chosen is not None,
            rank=2,
            unless=NONE_CHOSEN,
        ),
        command("t", "new task", "New task from a file of examples", "t", "new_task", rank=2),
        command("r", "read again", "Read all files again", "r", "read", lambda screen: not screen.reading, rank=2),
        *ENDS,
        command("esc", "back", "Back to where this was opened from", "escape,q", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class TasksRead(Message):
        def __init__(self, found: Sequence[TaskRow] | None, project_id: str = "", problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.project_id = project_id
            self.problem = problem

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.tasks: Sequence[TaskRow] | None = None
        self.project_id = ""
        self.selected: str | None = None
        self.problem = ""
        self.reading = False

    def begin(self) -> None:
        self.action_read()

    def action_read(self) -> None:
        self.reading = True
        ask_beside("tasks", self._read, lambda line: self.TasksRead(None, problem=line), self.tell)

    def _read(self) -> TasksRead:
        """Reads every golden and data file, and tries the checks on the training data."""
        from core.authoring.task_rows import task_rows

        project = self.context.find_project()
        return self.TasksRead(task_rows(project), project.id)

    def on_tasks_screen_tasks_read(self, message: TasksRead) -> None:
        self.reading, self.problem = False, message.problem
        if message.found is not None:
            self.tasks, self.project_id = message.found, message.project_id
        if self.chosen is None and self.tasks:
            self.selected = self.tasks[0].name
        self._paint()

    @property
    def chosen(self) -> TaskRow | None:
        return next((row for row in self.tasks or () if row.name == self.selected), None)

    @property
    def boards(self) -> Mapping[str, Board]:
        """The newest leaderboard of each task of this project."""
        newest = newest_boards(self.snapshot)
        return {task: board for (project_id, task), board in newest.items() if project_id == self.project_id}

    @property
    def newest(self) -> Board | None:
        return None if self.chosen is None else self.boards.get(self.chosen.name)

    @property
    def rows_title(self) -> Line:
        title = Line("Tasks", "bold")
        if self.tasks is not None:
            wrong = sum(bool(row.problems) for row in self.tasks)
            title.add(f"  {plural(len(self.tasks), 'task')}, tokens are estimates", "dim")
            if wrong:
                title.add(f"  {wrong} with problems", "bad")
        return title

    def _rows(self, width: int, height: int) -> list[Line]:
        rows = problem_rows(self.problem, width) if self.problem else []
        if self.tasks is None:
            return rows or [Line("reading the tasks, and trying their checks on the training data …", "dim")]
        rows += task_table_rows(self.tasks, self.boards, self.selected, width)
        if self.chosen is not None:
            rows += [Line(), *task_detail_rows(self.chosen, self.newest, width)]
        return rows

    def action_scroll(self, step: int) -> None:
        names = [row.name for row in self.tasks or ()]
        if names:
            at = names.index(self.selected) if self.selected in names else 0
            self.selected = names[max(0, min(len(names) - 1, at + step))]
            self._paint()

    def action_open(self) -> None:
        if self.newest is not None:
            screen = Results(self.context, self.newest.job_id)
            screen.place.task = self.newest.task
            self.app.push_screen(screen)

    def action_train(self) -> None:
        if self.chosen is not None:
            self.app.push_screen(NewRun(self.context, task=self.chosen.name))

    def action_bakeoff(self) -> None:
        if self.chosen is not None:
            self.app.push_screen(NewBakeoff(self.context, begun=Choices(tasks=[self.chosen.name])))

    def action_marking(self) -> None:
        if self.chosen is not None:
            self.app.push_screen(MarkingScreen(self.context, None, self.chosen.name))

    def action_new_task(self) -> None:
        self.app.push_screen(NewTask(self.context))
