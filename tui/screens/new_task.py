"""The form of a new task: what a data file is, what would be learnt of it, and the task that is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input

from core.text import printable
from tui import actions
from tui.actions import RequestDone
from tui.commands import Command, bindings, command, hint
from tui.context import Context
from tui.lines import Line
from tui.model.snapshot import Snapshot
from tui.queries.data_file import (
    DataAnswer,
    DataQuery,
    FileRead,
    NewTaskWish,
    PlaceRead,
    ProjectPlace,
    TaskMade,
    held_out_problem,
    look_into,
    make_task,
    name_problem,
    proposed_held_out,
    proposed_name,
    seen_project,
    task_command,
)
from tui.queries.failures import ask_beside
from tui.queries.latest_only import LatestOnly
from tui.queries.project import remember_project
from tui.screens.command_screen import CommandScreen
from tui.screens.help import TextDialog
from tui.screens.new_run import NewRun
from tui.screens.new_task_fields import LABELS, NOTES, READING, suggester
from tui.screens.new_task_rows import found_rows, sample_rows, written_rows
from tui.widgets.footer import Footer
from tui.widgets.text_panel import TextPanel

TYPING_SECONDS = 0.3
"""What is typed further within this time is one question."""
ROOMY_ROWS = 32
"""Lines of a terminal that shows both frames."""


class NewTask(CommandScreen):
    heading = "New task"
    commands: ClassVar[tuple[Command, ...]] = (
        command(
            "⏎",
            "make the task",
            "Write the task, its golden inputs and its data",
            "enter",
            "make",
            lambda screen: screen.valid,
            rank=1,
            unless="A data file that can be read and a name come first.",
        ),
        command("tab ↓", "next field", "The next field", "tab,down", "app.focus_next", rank=3, palette=False),
        command("↑", "field before", "The field before", "shift+tab,up", "app.focus_previous", rank=0, palette=False),
        hint("→", "complete", "Complete the path that is proposed in grey", rank=3),
        command(
            "F2",
            "file or example",
            "Show what the file is, or what would be learnt",
            "f2",
            "turn",
            lambda screen: not screen.roomy,
            rank=2,
            short="turn",
            unless="Both are shown.",
        ),
        command(
            "F3",
            "leave out bad",
            "Leave out the records that cannot be trained on, or take all again",
            "f3",
            "skip_bad",
            lambda screen: screen.can_skip,
            rank=1,
            unless="Every record of the file can be trained on.",
        ),
        command("page down", "next example", "The next example of the file", "pagedown", "example(1)", rank=2),
        command("page up", "example before", "The example before", "pageup", "example(-1)", rank=0),
        command("esc", "leave", "Back without making anything", "escape", "app.pop_screen", rank=1),
        command("F1", "help", "Show the keys that work here", "f1", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.place: ProjectPlace | None = None
        self.answer: DataAnswer | None = None
        self.making = False
        self.problem = ""
        self.example = 0
        self.on_sample = False
        self.skipping: DataQuery | None = None  # the file of which a person said to leave out what cannot be used
        self.columns: tuple[str, ...] = ()
        # What the form itself wrote into a field: until a person writes something else, it follows the file.
        self._proposed = {"name": "", "held": "0"}
        self._typing: Timer | None = None
        self.files: LatestOnly[DataQuery, DataAnswer] = LatestOnly(
            "data file",
            look_into,
            lambda _, answer: self.tell(FileRead(answer)),
            lambda query, line: DataAnswer(query, problem=line),
        )

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        with Vertical(id="form") as form:
            form.border_title = "New task"
            for key, label in LABELS.items():
                with Horizontal(classes="field", id=f"row-{key}"):
                    said = TextPanel(id=f"label-{key}", classes="label")
                    said.rows = [Line(label, "dim")]
                    yield said
                    yield Input(
                        value=self._proposed.get(key, ""),
                        id=key,
                        compact=True,
                        classes="path" if key in ("path", "project") else "",
                        suggester=suggester(key, lambda: self.columns),
                    )
                    yield TextPanel(id=f"note-{key}", classes="note")
        yield TextPanel(id="found")
        yield TextPanel(id="sample")
        yield TextPanel(id="command")
        yield from self.last_line()

    def on_mount(self) -> None:
        self._arrange()
        self.show(self.context.snapshot)
        self.query_one("#path").focus()
        ask_beside(
            "project",
            lambda: PlaceRead(seen_project(self.context.find_project)),
            lambda line: PlaceRead(ProjectPlace(problem=line)),
            self.tell,
        )

    def on_unmount(self) -> None:
        self.files.forget()

    @property
    def takes_keys(self) -> bool:
        """Until the project is known the form does not know its fields."""
        return self.place is not None

    def on_place_read(self, message: PlaceRead) -> None:
        self.place = message.place
        if self.asks_for_folder:
            self.field("project").value = self.place.proposed
        self._arrange()
        self._paint()

    # What is written in the fields

    def field(self, key: str) -> Input:
        return self.query_one(f"#{key}", Input)

    @property
    def query_now(self) -> DataQuery:
        return DataQuery(*(self.field(key).value.strip() for key in ("path", *READING)))

    @property
    def current(self) -> DataAnswer | None:
        """What is known of the file that the fields name now."""
        return self.answer if self.answer is not None and self.answer.query == self.query_now else None

    def problems(self) -> dict[str, str]:
        """What is wrong in the fields, by field."""
        found = self.current.found if self.current else None
        wrong = {
            "path": "Enter a path" if not self.query_now.path else self.current.problem if self.current else "",
            "name": name_problem(self.field("name").value),
            "held": held_out_problem(self.field("held").value, found),
        }
        if found is not None and found.untrainable and not self.skips:
            wrong["path"] = f"{found.untrainable:,} of {found.records:,} cannot be used"
        elif found is not None and not found.trainable:
            wrong["path"] = "Nothing in it would be learnt"
        if self.asks_for_folder and not self.field("project").value.strip():
            wrong["project"] = "Enter a folder"
        return {key: problem for key, problem in wrong.items() if problem}

    @property
    def can_skip(self) -> bool:
        """Some records cannot be trained on, and some can."""
        found = self.current.found if self.current else None
        return found is not None and bool(found.untrainable) and bool(found.trainable)

    @property
    def skips(self) -> bool:
        """What cannot be trained on is left out of this file."""
        return self.can_skip and self.skipping == self.query_now

    @property
    def valid(self) -> bool:
        ready = self.place is not None and not self.place.problem and self.current is not None
        return ready and not self.making and not self.problems()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.value != self._proposed.get(event.input.id or ""):  # what the form itself writes answers nothing
            self.problem = ""
        if event.input.id in ("path", *READING):
            if event.input.id == "path":
                self._propose("name", proposed_name(event.value))
            if self._typing is not None:
                self._typing.stop()
            query = self.query_now
            if query.path and self.current is None:
                self._typing = self.set_timer(TYPING_SECONDS, lambda: self.files.ask(query))
        self._paint()

    def _propose(self, key: str, value: str) -> None:
        field = self.field(key)
        if field.value == self._proposed[key]:
            self._proposed[key] = field.value = value

    def on_file_read(self, message: FileRead) -> None:
        self.answer, self.example = message.answer, 0
        self._arrange()
        if self.current is not None and self.current.found is not None:
            self.columns = tuple(column.name for column in self.current.found.columns)
            self._propose("held", str(proposed_held_out(self.current.found)))
        self._paint()

    def on_input_submitted(self) -> None:
        self.action_make()

    # Showing

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        self._paint()

    def on_resize(self) -> None:
        self._arrange()
        self.call_after_refresh(self._paint)

    @property
    def asks_for_folder(self) -> bool:
        """There is no project yet, and so a folder is asked for that becomes one."""
        return self.place is not None and self.place.root is None and not self.place.problem

    @property
    def roomy(self) -> bool:
        """Both frames fit below the form."""
        return self.app.size.height >= ROOMY_ROWS

    def _needs(self, key: str) -> bool:
        """A field of how the file is read has its row: there is room, something stands in it, or the file has problems."""
        answer = self.current
        wrong = answer is not None and (answer.refused or (answer.found is not None and bool(answer.found.untrainable)))
        return self.roomy or wrong or bool(self.field(key).value) or self.field(key).has_focus

    def _arrange(self) -> None:
        hidden = {key for key in READING if not self._needs(key)} | (set() if self.asks_for_folder else {"project"})
        rows = len(LABELS) - len(hidden)
        for key in LABELS:
            self.query_one(f"#row-{key}").display = key not in hidden
        self.query_one("#form").styles.height = rows + 2
        found, sample = self.query_one("#found"), self.query_one("#sample")
        found.display = self.roomy or not self.on_sample
        sample.display = self.roomy or self.on_sample
        sample.styles.height = max(9, (self.app.size.height - rows - 5) * 2 // 5) if self.roomy else "1fr"

    def _paint(self) -> None:
        if not self.is_mounted:
            return
        wrong = self.problems()
        for key in LABELS:
            self.query_one(f"#note-{key}", TextPanel).update([self._note(key, wrong.get(key, ""))])
        self._paint_found()
        self._paint_sample()
        self.query_one("#command", TextPanel).update([self._last_row()])
        self.query_one(Footer).paint()

    def _note(self, key: str, problem: str) -> Line:
        if problem and (self.query_now.path or key not in ("path", "name")):
            return Line(f"✗ {printable(problem)}", "bad")
        found = self.current.found if self.current else None
        if key == "path" and found is not None and self.skips:
            return Line(f"▲ {found.untrainable:,} of {found.records:,} left out", "warn")
        if key == "path" and self.query_now.path:
            return Line("✓", "good") if found else Line("reading …", "busy")
        if key == "held" and found is not None:
            held = int(self.field("held").value)
            return Line(f"become golden inputs; {found.trainable - held:,} are learnt", "dim")
        return Line(NOTES.get(key, ""), "dim")

    def _paint_found(self) -> None:
        panel = self.query_one("#found", TextPanel)
        panel.update(*found_rows(self.current, bool(self.query_now.path), panel.inner[0]))

    def _paint_sample(self) -> None:
        panel = self.query_one("#sample", TextPanel)
        rows, right = sample_rows(self.current, self.example, *panel.inner)
        panel.update(rows, "What would be learnt", right)

    def _last_row(self) -> Line:
        if self.making:
            return Line(" writing the task …", "busy")
        problem = self.problem or (self.place.problem if self.place else "")
        if problem:
            return Line(f" ✗ {printable(problem)}", "bad")
        return Line(f" {printable(self.command_line)}", "dim") if self.query_now.path else Line()

    @property
    def command_line(self) -> str:
        """The command that makes the same task."""
        place = self.place or ProjectPlace()
        new = self.field("project").value.strip() if self.asks_for_folder else ""
        return task_command(self.query_now, self.field("name").value, self.field("held").value, place, new, self.skips)

    # Acts

    def action_turn(self) -> None:
        self.on_sample = not self.on_sample
        self._arrange()
        self.call_after_refresh(self._paint)

    def action_skip_bad(self) -> None:
        self.skipping = None if self.skips else self.query_now
        self._paint()

    def action_example(self, step: int) -> None:
        self.example += step
        self._paint_sample()

    def _look_again(self) -> None:
        """The file can have been mended meanwhile."""
        if self.query_now.path:
            self.files.ask(self.query_now)

    def action_make(self) -> None:
        if self.making:
            return
        shown = self.current.data if self.current else None
        if not self.valid or shown is None:
            self._look_again()
            wrong = next(iter(self.problems()), None)
            if wrong is not None:
                self.field(wrong).focus()
                self.app.notify(
                    f"✗ {LABELS[wrong]}: {printable(self.problems()[wrong])}", severity="error", markup=False
                )
            return
        self.making = True
        folder = Path(self.field("project").value.strip()) if self.asks_for_folder else None
        wish = NewTaskWish(shown, self.field("name").value, int(self.field("held").value), folder, self.skips)

        def act() -> RequestDone:
            def remember(root: Path) -> None:
                remember_project(self.context.home, root)

            made = make_task(wish, self.context.find_project, remember)
            self.tell(TaskMade(made))
            return RequestDone(f"Task {made.name} is written")

        actions.in_background(self.context, act)
        self._paint()

    def finished(self, request: RequestDone) -> None:
        if self.making and request.failed:
            self.making, self.problem = False, request.text
            self._look_again()
            self._paint()

    def on_task_made(self, message: TaskMade) -> None:
        """On to its first training run, with what there is to read in front of it."""
        made = message.made
        self.context.reader.project_changed()
        self.app.switch_screen(NewRun(self.context, task=made.name))
        self.app.push_screen(TextDialog(f"Task {made.name} is written", written_rows(made)))
