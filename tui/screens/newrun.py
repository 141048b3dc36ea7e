"""The form of a new training run: checked as one types, with what will happen and the command that does the same."""

from __future__ import annotations

import math
import shlex
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input

from core.errors import BakehouseError
from core.home import Home
from core.store.jobs import ACTIVE, ENDED, JobRow
from tui import actions
from tui.catalogue import Catalogue, Choice, read_catalogue
from tui.commands import Command, CommandScreen, bindings, command, keys_that_fit
from tui.lines import Line, wrapped
from tui.panes.queue import outcome, sign
from tui.snapshot import EMPTY, Snapshot
from tui.widgets.canvas import Canvas
from tui.widgets.choice import ChoiceField
from tui.widgets.header import Clock, Header
from tui.widgets.keyline import KeyLine
from tui.widgets.pane import framed
from tui.words import plural, safe, when

if TYPE_CHECKING:
    from tui.app import ConsoleApp

LABELS = {
    "task": "task",
    "model": "model",
    "recipe": "recipe",
    "rank": "rank",
    "max_length": "max length",
    "epochs": "epochs",
}
CHOICES = ("task", "model", "recipe")
SMALL = 500_000_000
FIELD_COLUMNS = 13 + 24 + 5  # the label, the value, the frame
MOST_NOTE_ROWS = 5
NUMBERS = ("rank", "max_length", "epochs")


class Said(Canvas):
    """One row, or a frame of rows, that the form writes."""

    def __init__(self, *, id: str, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.title = ""
        self.right = ""
        self.rows: list[Line] = []

    def say(self, rows: list[Line], title: str = "", right: str = "") -> None:
        self.rows, self.title, self.right = rows, title, right
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        rows = [Line().extend(row) for row in self.rows]
        if not self.title:
            return [row.cut(width) for row in rows]
        return framed(
            [row.cut(width - 4) for row in rows], width, height, Line(self.title), Line(self.right, "dim"), "frame"
        )


class NewRun(CommandScreen):
    heading = "New training run"
    commands: ClassVar[tuple[Command, ...]] = (
        command("⏎", "queue it", "Put the run into the queue", "enter", "queue", rank=1),
        command("tab ↓", "next field", "The next field", "tab,down", "app.focus_next", palette=False),
        command("↑", "field before", "The field before", "shift+tab,up", "app.focus_previous", rank=0, palette=False),
        command("← →", "choose", "Choose another name; a letter jumps", "f13", "nothing", palette=False),
        command("page down", "next example", "The next example of the data", "pagedown", "example(1)", rank=0),
        command("page up", "example before", "The example before", "pageup", "example(-1)", rank=0),
        command("esc", "leave", "Back without queueing anything", "escape", "app.pop_screen", rank=1),
        command("f1", "help", "Show the keys that work here", "f1", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    if TYPE_CHECKING:
        app: ConsoleApp

    class CatalogueRead(Message):
        def __init__(self, catalogue: Catalogue, problem: str = "") -> None:
            super().__init__()
            self.catalogue = catalogue
            self.problem = problem

    def __init__(self) -> None:
        super().__init__()
        self.snapshot: Snapshot = EMPTY
        self.catalogue = Catalogue()
        self.problem = "reading the project …"
        self.problems: dict[str, str] = {}
        self.changed: dict[str, Any] = {}
        self.queueing = False
        self.example = 0

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Header()
            yield Clock()
        with Vertical(id="form"):
            for key, label in LABELS.items():
                with Horizontal(classes="field"):
                    said = Said(id=f"label-{key}", classes="label")
                    said.rows = [Line(label, "dim")]
                    yield said
                    yield ChoiceField(id=key) if key in CHOICES else Input(id=key, compact=True, select_on_focus=False)
                    yield Said(id=f"note-{key}", classes="note")
        yield Said(id="lesson")
        with Horizontal(id="around"):
            yield Said(id="place")
            yield Said(id="like")
        yield Said(id="command")
        yield KeyLine(self.keys)

    def keys(self, width: int) -> list[tuple[str, str]]:
        offered = [item for item in self.possible() if self.valid or item.action != "queue"]
        return keys_that_fit(offered, width)

    def on_mount(self) -> None:
        self.query_one("#form").border_title = "New training run"
        self.show(self.app.snapshot)
        self.query_one("#task").focus()
        threading.Thread(target=self._read, name="catalogue", daemon=True).start()

    def _read(self) -> None:
        """In a thread: reads every file of the project."""
        try:
            read = self.CatalogueRead(read_catalogue(self.app.home, self.app.find_project()))
        except (BakehouseError, OSError) as error:
            read = self.CatalogueRead(Catalogue(), str(error))
        self.post_message(read)

    def on_new_run_catalogue_read(self, message: CatalogueRead) -> None:
        self.catalogue, self.problem = message.catalogue, message.problem
        job = self._last_run()
        self._field("task").offer([item.name for item in self.catalogue.tasks], job.task if job else None)
        self._field("model").offer([item.name for item in self.catalogue.models], self._default_model(job))
        self._field("recipe").offer([item.name for item in self.catalogue.recipes], self._default_recipe())
        self._take_recipe()

    def _last_run(self) -> JobRow | None:
        return next((job for job in self.snapshot.jobs if job.kind == "train"), None)

    @property
    def _has_card(self) -> bool:
        sample = self.snapshot.sample
        return sample is not None and bool(sample.devices)

    def _default_model(self, job: JobRow | None) -> str | None:
        """The model that was last trained, else one that is on the disk, else the smallest; without a GPU a small one."""
        if job is not None and " · " in job.title:
            return job.title.rsplit(" · ", 1)[1]

        def order(item: Choice) -> tuple[bool, bool, float]:
            large = not self._has_card and (item.parameters or math.inf) >= SMALL
            return large, "on disk" not in item.note, item.parameters or math.inf

        models = sorted(self.catalogue.models, key=order)
        return models[0].name if models else None

    def _default_recipe(self) -> str | None:
        """The plain LoRA one for a GPU; without one what a CPU can do in minutes, as far as the model is small."""
        chosen = self._chosen("model")
        small = chosen is not None and (chosen.parameters or math.inf) < SMALL
        return "demo" if small and not self._has_card else "lora-bf16"

    def _field(self, key: str) -> ChoiceField:
        return self.query_one(f"#{key}", ChoiceField)

    @property
    def written(self) -> dict[str, str]:
        return {key: self.query_one(f"#{key}", Input).value for key in NUMBERS}

    @property
    def valid(self) -> bool:
        return bool(self.catalogue.recipe_objects) and not self.problem and not self.problems and not self.queueing

    def on_choice_field_changed(self, message: ChoiceField.Changed) -> None:
        if message.field.id == "recipe":
            self._take_recipe()
        else:
            self._check()

    def _take_recipe(self) -> None:
        """Fill the numbers with the recipe's own."""
        recipe = self.catalogue.recipe_objects.get(self._field("recipe").value)
        if recipe is not None:
            for key in NUMBERS:
                self.query_one(f"#{key}", Input).value = f"{getattr(recipe, key):g}"
        self._check()

    def on_input_changed(self) -> None:
        self._check()

    def on_input_submitted(self) -> None:
        self.action_queue()

    def _chosen(self, key: str) -> Choice | None:
        offered: tuple[Choice, ...] = getattr(self.catalogue, f"{key}s")
        return next((item for item in offered if item.name == self._field(key).value), None)

    def _check(self) -> None:
        """Check what is written and say it beside each field."""
        recipe = self._field("recipe").value
        self.problems, self.changed = self.catalogue.check(recipe, self.written)
        for key in CHOICES:
            if (item := self._chosen(key)) is not None and item.problem:
                self.problems[key] = item.problem
        if self.catalogue.tasks and self._field("task").value not in self.catalogue.lessons:
            self.problems.setdefault("task", "it names no training data (data.train)")
        for key in LABELS:
            self.query_one(f"#note-{key}", Said).say(self._note_rows(key))
        self._fit()
        self._paint_rest()

    def _note_rows(self, key: str) -> list[Line]:
        """What is said beside a field, in as many rows as it needs."""
        width = max(20, self.app.size.width - FIELD_COLUMNS)
        if key not in self.problems:
            return [Line(row, "dim") for row in wrapped(self._note(key), width)]
        return [
            Line("✗ " if index == 0 else "  ", "bad").add(row, "bad")
            for index, row in enumerate(wrapped(safe(self.problems[key]), width - 2))
        ]

    def _fit(self) -> None:
        """Give each field the rows that its note needs."""
        total = 0
        for key in LABELS:
            note = self.query_one(f"#note-{key}", Said)
            rows = min(MOST_NOTE_ROWS, max(1, len(note.rows)))
            total += rows
            note.styles.height = rows
            if note.parent is not None:
                note.parent.styles.height = rows
        self.query_one("#form").styles.height = total + 2

    def _note(self, key: str) -> str:
        if key in CHOICES:
            item = self._chosen(key)
            return item.note if item else ""
        if key == "rank":
            return "of the adapter's matrices"
        if key == "max_length":
            return "tokens; a longer prompt is cut in its middle, a completion never"
        try:
            epochs = float(self.written["epochs"])
        except ValueError:
            return ""
        steps = self.catalogue.steps(self._field("task").value, self._field("recipe").value, epochs)
        return f"about {plural(steps, 'step')}" if steps else ""

    @property
    def command_line(self) -> str:
        parts = ["bakehouse", "train", self._field("task").value, "--model", self._field("model").value]
        parts += ["--recipe", self._field("recipe").value]
        for key, value in self.changed.items():
            parts += [f"--{key.replace('_', '-')}", f"{value}"]
        return " ".join(shlex.quote(part) for part in parts)

    def show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.query_one(Header).show(snapshot)
        self.query_one(Clock).show(snapshot.time, seconds=not self.app.low_bandwidth)
        self._paint_rest()

    def _paint_rest(self) -> None:
        now = self.snapshot.time
        task, model = self._field("task").value, self._field("model").value
        open_jobs = [job for job in self.snapshot.jobs if job.state not in ENDED]
        rows = [Line(sign(job)[0], sign(job)[1]).add(f" {job.id:>3}  {safe(job.title)}") for job in open_jobs[-6:]]
        if len(open_jobs) > 6:
            rows.insert(0, Line(f"  {plural(len(open_jobs) - 6, 'job')} before these", "dim"))
        busy = any(job.lane == "card" and job.state in ACTIVE for job in open_jobs)
        start = "behind these" if open_jobs and (busy or len(open_jobs) > 1) else "starts at once"
        rows.append(Line("+      ", "busy").add(f"train {task} · {model}", "busy").add(f"   {start}", "dim"))
        self.query_one("#place", Said).say(rows, "Where it goes")
        like = [job for job in self.snapshot.jobs if job.kind == "train" and job.state in ENDED and job.task == task]
        told = [
            Line(sign(job)[0], sign(job)[1])
            .add(f" {job.id:>3}  {when(job.ended_at, now):>6}  ", "dim")
            .add(safe(job.title).rsplit(" · ", 1)[-1])
            .add(f"  {outcome(job)}", "dim")
            for job in like[:7]
        ]
        self._paint_lesson()
        self.query_one("#like", Said).say(told or [Line(f"none of {task} yet" if task else "", "dim")], "Runs like it")
        line = (
            Line(f" {self.command_line}", "dim") if self.catalogue.recipe_objects else Line(f" {self.problem}", "dim")
        )
        if self.queueing:
            line = Line(" queueing: data, leaks and the interpreter are checked …", "busy")
        elif self.problem and self.catalogue.recipe_objects:
            line = Line(f" ✗ {safe(self.problem)}", "bad")
        self.query_one("#command", Said).say([line])
        self.query_one(KeyLine).paint()

    def on_resize(self) -> None:
        if self.catalogue.recipe_objects:
            self._check()
        height = self.app.size.height
        self.query_one("#lesson").display = height >= 32
        self.query_one("#lesson").styles.height = max(10, height - 26)

    def _paint_lesson(self) -> None:
        """What the model will learn from: one example, the part that carries loss in green."""
        said = self.query_one("#lesson", Said)
        lesson = self.catalogue.lessons.get(self._field("task").value)
        if lesson is None:
            said.say([], "What the model will see")
            return
        parts = [f"answers: median {lesson.median_characters:,} characters, longest {lesson.longest_characters:,}"]
        if lesson.system_characters:
            parts.append(f"a system prompt of {lesson.system_characters:,} stands before each")
        if lesson.duplicates:
            parts.append(f"{plural(lesson.duplicates, 'duplicate')}")
        asked, answer = lesson.shown[self.example % len(lesson.shown)]
        width, height = said.size.width - 12, said.size.height - 5
        rows = [Line("; ".join(parts), "dim"), Line()]
        user = list(wrapped(" ".join(safe(line) for line in asked.splitlines()), width)) or ["(empty)"]
        shown = user[: max(1, height // 3)]
        if len(shown) < len(user):
            shown[-1] = f"{shown[-1][: width - 2]} …"
        rows += [Line("user" if index == 0 else "", "dim").to(8).add(row) for index, row in enumerate(shown)]
        lines = [safe(line) for line in answer.splitlines()]
        whole = len(lines) <= height - len(shown) and all(len(line) <= width for line in lines)
        learnt = lines if whole else list(wrapped("⏎ ".join(lines), width))
        rows += [Line("answer" if index == 0 else "", "dim").to(8).add(row, "good") for index, row in enumerate(learnt)]
        number = self.example % len(lesson.shown) + 1
        said.say(rows, "What the model will see", f"green carries loss · example {number} of {lesson.examples:,}")

    def action_example(self, step: int) -> None:
        self.example += step
        self._paint_lesson()

    def _refuse(self) -> None:
        """Say why this cannot be queued, and go to the field that is wrong."""
        if self.queueing or not (self.problem or self.problems):
            return
        key = next((key for key in LABELS if key in self.problems), None)
        if key is None:
            self.app.notify(f"✗ not queued: {safe(self.problem)}", severity="error", markup=False, timeout=8)
            return
        self.query_one(f"#{key}").focus()
        said = f"✗ not queued: {LABELS[key]} is wrong, as said beside it"
        self.app.notify(said, severity="error", markup=False, timeout=8)

    def action_queue(self) -> None:
        if not self.valid:
            self._refuse()
            return
        task, model, recipe = (self._field(key).value for key in CHOICES)
        changed = dict(self.changed)

        def make(home: Home, project: Any, author: str) -> list[JobRow]:
            from core.queue.submit import submit_train

            return [submit_train(home, project, task, model, recipe, changed, author=author)]

        self.queueing = True
        self._paint_rest()
        actions.submit(self.app, make)

    def finished(self, outcome: actions.Outcome) -> None:
        if not self.queueing:
            return
        self.queueing = False
        if outcome.failed:
            self._paint_rest()
        else:
            self.app.pop_screen()

    def action_nothing(self) -> None:
        """The arrows are the fields' own; here they are only named."""

    def action_help(self) -> None:
        from tui.screens.help import help_screen

        self.app.push_screen(help_screen(self.heading, self.possible()))
