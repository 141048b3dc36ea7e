"""The form of a new training run: checked as one types, with what will happen and the command that does the same."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer

from core.home import Home
from core.store.jobs import JobRow
from core.text import printable
from tui import actions
from tui.actions import RequestDone
from tui.commands import Command, bindings, keys_that_fit
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.audit import AuditAnswer, AuditQuery
from tui.queries.background_queries import AuditAnswered, CatalogueRead, MemoryAnswered
from tui.queries.catalogue import Catalogue
from tui.queries.form_values import FormValues, remember
from tui.queries.run_forecast import ForecastRow, MemoryOutlook, RunQuery
from tui.screens.new_run import memory, seen
from tui.screens.new_run.around import like_rows, place_rows
from tui.screens.new_run.commands import COMMANDS, TAKE
from tui.screens.new_run.defaults import default_model, default_recipe, default_task, last_run
from tui.screens.new_run.fields import LABELS, RunForm, note, row_of, thinking_note
from tui.screens.new_run.form_fields import ROWS, FormFields
from tui.screens.new_run.frames import FRAMES, MOST_MEMORY_ROWS, heights
from tui.screens.query_screen import QueryScreen
from tui.widgets.choice import ChoiceField
from tui.widgets.footer import Footer
from tui.widgets.text_panel import TextPanel

TYPING_SECONDS = 0.4
"""What is typed further within this time is one question: an audit takes seconds."""
OLD_SECONDS = 10.0
MOST_COMMAND_ROWS = 3
NO_COMMAND = "the command is shown once the fields are right"


class NewRun(QueryScreen):
    heading = "New training run"
    commands: ClassVar[tuple[Command, ...]] = COMMANDS
    BINDINGS: ClassVar = bindings(commands)

    def __init__(
        self,
        context: Context,
        model: str | None = None,
        recipe: str | None = None,
        max_length: int | None = None,
        *,
        task: str | None = None,
    ) -> None:
        """What is given is filled in; the rest comes from the last run and the recipe."""
        super().__init__(context)
        self.given = (model, recipe, max_length)
        self.given_task = task
        self.catalogue = Catalogue()
        self.form = RunForm()
        self.queueing = False
        self.read = False
        self.example = 0
        self.first_frame = 0
        self.framed = False
        """On a small terminal: a frame is shown at the cost of the form, which scrolls then."""
        self.frames_shown: list[str] = list(FRAMES)
        self.outlook: MemoryOutlook | None = None
        self.seen: AuditAnswer | None = None
        self.answered: RunQuery | None = None
        """What the outlook belongs to."""
        self.asked: RunQuery | None = None
        self.audit_query: AuditQuery | None = None
        self._asked_at = 0.0
        self._typing: Timer | None = None

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield FormFields()
        yield TextPanel(id="memory", classes="frame")
        yield TextPanel(id="lesson", classes="frame")
        with Horizontal(id="around", classes="frame"):
            yield TextPanel(id="place")
            yield TextPanel(id="like")
        yield TextPanel(id="command")
        yield from self.last_line()

    def keys(self, width: int) -> list[tuple[str, str]]:
        offered = [item for item in self.possible() if self.valid or item.action != "queue"]
        return keys_that_fit(offered, width)

    def on_mount(self) -> None:
        self.show(self.context.snapshot)
        self.query_one("#task").focus()
        self.queries.start()

    @on(CatalogueRead)
    def _take_catalogue(self, message: CatalogueRead) -> None:
        self.catalogue, self.problem, self.read = message.catalogue, message.problem, True
        model, recipe, max_length = self.given
        job, fields = last_run(self.snapshot), self.fields
        task = self.given_task or self.catalogue.remembered.last or (job.task if job else None)
        task = task or default_task(self.catalogue)
        fields.choice("task").offer([item.name for item in self.catalogue.tasks], task)
        fields.choice("model").offer(
            [item.name for item in self.catalogue.models], model or default_model(self.catalogue, self.snapshot)
        )
        recipe = recipe or default_recipe(self.catalogue, self.snapshot, fields.choice("model").value)
        fields.choice("recipe").offer([item.name for item in self.catalogue.recipes], recipe)
        self._take_recipe()
        if self.given == (None, None, None):
            self._take_remembered()
        if max_length is not None:
            fields.number("max_length").value = f"{max_length}"

    def _take_remembered(self) -> None:
        """Write what was last queued for the task into the fields, as far as its model and recipe are still there."""
        fields, values = self.fields, self.catalogue.remembered.tasks.get(self.fields.choice("task").value)
        if values is None:
            return
        if values.model in fields.choice("model").names:
            fields.choice("model").offer(fields.choice("model").names, values.model)
        if values.recipe in fields.choice("recipe").names:
            fields.choice("recipe").offer(fields.choice("recipe").names, values.recipe)
            self._take_recipe()
            fields.apply(values.changed)
        self._check()

    # What is written in the fields

    @property
    def fields(self) -> FormFields:
        return self.query_one(FormFields)

    @property
    def valid(self) -> bool:
        ready = bool(self.catalogue.recipe_objects) and not self.problem
        return ready and not self.form.problems and not self.queueing

    @property
    def takes_keys(self) -> bool:
        """Its fields have no names and values until the project is read."""
        return self.read

    @property
    def preferred(self) -> ForecastRow | None:
        return self.current.preferred if self.current else None

    @property
    def current(self) -> MemoryOutlook | None:
        """The outlook, when it belongs to what the fields hold now."""
        return self.outlook if self.answered is not None and self.answered == self._question() else None

    def on_choice_field_changed(self, message: ChoiceField.Changed) -> None:
        if message.field.id == "recipe":
            self._take_recipe()
        elif message.field.id == "task" and not self.form.changed:
            self._take_remembered()  # nothing that was typed is lost
            self._check()
        else:
            self._check()

    def _take_recipe(self) -> None:
        """Fill the fields with the recipe's own values."""
        recipe = self.catalogue.recipe_objects.get(self.fields.choice("recipe").value)
        if recipe is not None:
            self.fields.fill(recipe)
        self._check()

    def on_input_changed(self) -> None:
        self._check()

    def on_descendant_focus(self) -> None:
        if self.read:
            self._paint_notes()  # the field that has the focus may say all it has to say

    def on_input_submitted(self) -> None:
        self.action_queue()

    def _check(self) -> None:
        """Check what is written, say it beside each field, and ask what it will need."""
        self.form = self.fields.read(self.catalogue)
        self._ask()
        self._ask_gates()
        self._paint_notes()
        self._paint_rest()

    def _question(self) -> RunQuery | None:
        """What the fields ask; None while one of them is wrong."""
        form = self.form
        if form.made is None or {"recipe", "model"} & set(form.problems):
            return None
        return RunQuery(form.model, form.recipe, dict(form.changed), None, form.task)

    def _ask(self) -> None:
        """Ask for the outlook at once, for the audit when the typing pauses."""
        form, question = self.form, self._question()
        if form.made is None or question is None:
            self.asked = self.audit_query = None
            if self._typing is not None:
                self._typing.stop()
            return
        self._asked_at = self.snapshot.time
        self.asked = replace(question, sample=self.snapshot.sample)
        self.queries.memory.ask(self.asked)
        query = AuditQuery(form.task, form.model, form.recipe, form.made.max_length)
        if query != self.audit_query and form.task in self.catalogue.lessons:
            self.audit_query = query
            if self._typing is not None:
                self._typing.stop()
            self._typing = self.set_timer(TYPING_SECONDS, lambda: self.queries.audit.ask(query))

    @on(MemoryAnswered)
    def _take_outlook(self, message: MemoryAnswered) -> None:
        if message.query is self.asked:
            self.outlook, self.answered = message.outlook, replace(message.query, sample=None)
            self._paint_notes()
            self._paint_rest()

    @on(AuditAnswered)
    def _take_audit(self, message: AuditAnswered) -> None:
        if message.query == self.audit_query:
            self.seen = message.seen
            self._ask_gates()
            self._paint_notes()
            self._paint_rest()
            if message.seen.audit is not None:
                self._ask()  # now the longest example is known

    def _ask_gates(self) -> None:
        """What a gate says of the data at this length stands at the field, before it is queued."""
        found = self.counted
        if found is not None and found.refused and "max_length" not in self.form.problems:
            self.form = replace(self.form, problems={**self.form.problems, "max_length": found.refused})

    @property
    def counted(self) -> AuditAnswer | None:
        """The audit, when it belongs to what the fields hold now."""
        return self.seen if self.seen is not None and self.seen.query == self.audit_query else None

    # Showing

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        if self.asked is not None and snapshot.time - self._asked_at > OLD_SECONDS:
            self._ask()
        self._paint_rest()

    def on_resize(self) -> None:
        if self.catalogue.recipe_objects:
            self._paint_notes()
            self._paint_rest()
        else:
            self._arrange()

    def _paint_notes(self) -> None:
        """What is said beside each field; the frames get the rows that are left."""
        thinking = self.catalogue.thinking.get(self.form.task, "")
        notes = {key: note(key, self.form, self.catalogue, self.current, self.snapshot.jobs) for key in LABELS}
        notes["thinking"] = thinking_note(self.fields.note_width) if thinking else ""
        room = self.app.size.height - 2 - len(self._command_rows())
        taken = self.fields.show_notes(self.form, notes, thinking, room)
        if self.framed and room - taken < FRAMES["memory"]:
            taken = self.fields.show_notes(self.form, notes, thinking, max(5, room - FRAMES["memory"]))
        self._arrange(taken)

    def _arrange(self, form: int = ROWS) -> None:
        """As many of the frames as fit below the form, beginning with the chosen one."""
        width, height = self.app.size
        needed = len(memory.memory_rows(self.outlook, width - 4, MOST_MEMORY_ROWS, TAKE))
        shown = heights(height - form - 2 - len(self._command_rows()), self.first_frame, needed)
        self.frames_shown = list(shown)
        for name in FRAMES:
            frame = self.query_one(f"#{name}")
            frame.display = name in shown
            frame.styles.height = shown.get(name, 3)

    def _paint_rest(self) -> None:
        form, snapshot = self.form, self.snapshot
        place, like = self.query_one("#place", TextPanel), self.query_one("#like", TextPanel)
        place.update(place_rows(snapshot, form.task, form.model, place.inner[1]), "Where it goes")
        like.update(like_rows(snapshot, form.task, like.inner[1]), "Runs like it")
        frame = self.query_one("#memory", TextPanel)
        frame.update(*memory.framed_rows(self.outlook, self.current, self._question() is None, *frame.inner, TAKE))
        self._paint_lesson()
        shown, rows = self.query_one("#command", TextPanel), self._command_rows()
        shown.styles.height = len(rows)
        shown.update(rows)
        self.query_one(Footer).paint()

    def _command_rows(self) -> list[Line]:
        """The command that does the same, whole as far as three rows hold it; or what stands against it."""
        ready, width = bool(self.catalogue.recipe_objects), max(20, self.app.size.width - 2)
        if self.queueing:
            return [Line(" queueing: data, leaks, lengths and the interpreter are checked …", "busy")]
        if self.problem and ready:
            return [Line(f" ✗ {printable(self.problem)}", "bad")]
        if not ready:
            return [Line(f" {self.problem}", "dim")]
        if self.form.made is None:
            return [Line(f" {NO_COMMAND}", "dim")]
        return [Line(f" {row}", "dim") for row in list(wrapped(self.form.command, width))[:MOST_COMMAND_ROWS]]

    def _paint_lesson(self) -> None:
        """The audit when it is there; before that, and without a tokenizer, what characters tell."""
        frame = self.query_one("#lesson", TextPanel)
        lesson = self.catalogue.lessons.get(self.form.task)
        rows, right = seen.frame(self.counted, lesson, self.example, *frame.inner, self.audit_query is not None)
        frame.update(rows, seen.TITLE, right)

    # Acts

    def action_frame(self) -> None:
        names = list(FRAMES)
        if self.frames_shown:
            self.first_frame = (names.index(self.frames_shown[-1]) + 1) % len(names)
            self.framed = self.framed and self.first_frame != 0  # once round: the whole form again
        else:
            self.framed = True
        self._paint_notes()
        self.call_after_refresh(self._paint_rest)

    def action_take_preferred(self) -> None:
        bar = self.preferred
        if bar is None:
            return
        fields = self.fields
        length = fields.number("max_length").value
        fields.choice("model").offer([item.name for item in self.catalogue.models], bar.model)
        fields.choice("recipe").offer([item.name for item in self.catalogue.recipes], bar.recipe)
        self._take_recipe()
        fields.number("max_length").value = length

    def action_recipe_values(self) -> None:
        self._take_recipe()

    def action_example(self, step: int) -> None:
        self.example += step
        self._paint_lesson()

    def _refuse(self) -> None:
        """Say why this cannot be queued, and go to the field that is wrong."""
        if self.queueing or not (self.problem or self.form.problems):
            return
        key = self.form.first_wrong
        if key is None:
            self.app.notify(f"✗ not queued: {printable(self.problem)}", severity="error", markup=False, timeout=8)
            return
        self.query_one(f"#{key}").focus()
        said = f"✗ not queued: {LABELS[row_of(key)]} is wrong, as said beside it"
        self.app.notify(said, severity="error", markup=False, timeout=8)

    def action_queue(self) -> None:
        if not self.valid:
            self._refuse()
            return
        form, project_id, later = self.form, self.catalogue.project, list[str]()

        def make(home: Home, project: Any, author: str) -> list[JobRow]:
            from core.submission.submit import submit_train

            row = submit_train(
                home, project, form.task, form.model, form.recipe, form.changed, author=author, later=later
            )
            with contextlib.suppress(OSError):  # what is queued is queued, whether or not the form remembers it
                remember(home, project_id, form.task, FormValues(form.model, form.recipe, form.changed))
            return [row]

        self.queueing = True
        self._paint_rest()
        actions.submit(self.context, make, later)

    def finished(self, request: RequestDone) -> None:
        if not self.queueing:
            return
        self.queueing = False
        if request.failed:
            self._paint_rest()
        else:
            self.leave()
