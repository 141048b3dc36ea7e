"""What serves already and can be taken into the fleet: ticked, each with the task that it answers for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message
from textual.widget import Widget

from core.format import data_size, plural
from core.text import printable
from core.wording.fleet_rows import silent_words
from core.wording.jobs import reason_words
from tui.actions import AUTHOR, RequestDone
from tui.commands import Command, bindings, command, hint
from tui.context import Context
from tui.lines import Line, folded
from tui.queries.failures import ask_beside
from tui.screens.confirm import Confirm
from tui.screens.new_bakeoff import NewBakeoff
from tui.screens.new_bakeoff.choices import Choices
from tui.screens.rows_screen import RowsScreen
from tui.widgets.tick_list import TickList, TickRow

if TYPE_CHECKING:
    from core.fleet.adoptable import Adoptable, WhatServes
    from core.fleet.adopting import Adoption

NO_TASK = ""
KNOWN_ROWS, SMALL_KNOWN_ROWS = 8, 6


class AdoptScreen(RowsScreen):
    heading = "Adopt"
    commands: ClassVar[tuple[Command, ...]] = (
        hint("space", "tick", "Tick the model, or not", rank=1),
        command(
            "h l",
            "task",
            "The task that the selected model answers for: a proposal until it is adopted",
            "right,l",
            "turn(1)",
            lambda screen: screen.model in screen.offered and not screen.busy,
            rank=1,
            unless="Select a model that can be adopted, or that does no task yet.",
        ),
        command("←", "task before", "The task before", "left,h", "turn(-1)", rank=0, palette=False),
        command(
            "t",
            "all, none",
            "Tick all that can be adopted, or none",
            "t",
            "tick_all",
            lambda screen: bool(screen.offered) and not screen.busy,
            rank=2,
            unless="Nothing can be adopted.",
        ),
        command(
            "⏎",
            "adopt",
            "Adopt what is ticked: nothing on any server is changed",
            "enter",
            "adopt",
            lambda screen: bool(screen.wanted) and not screen.problem and not screen.busy,
            rank=1,
            unless=lambda screen: screen.problem or "Nothing is ticked.",
        ),
        command("r", "look again", "Ask the servers again", "r", "read", lambda screen: not screen.busy, rank=2),
        command("esc", "back", "Back to the fleet", "escape,q", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)
    rows_id = "known"

    class ServingRead(Message):
        """What serves, and the tasks of the project; or why nothing is known."""

        def __init__(self, found: WhatServes | None, tasks: tuple[str, ...] = (), problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.tasks = tasks
            self.problem = problem

    class AdoptionsDone(Message):
        def __init__(self, done: list[Adoption] | None, problem: str = "") -> None:
            super().__init__()
            self.done = done
            self.problem = problem

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.found: WhatServes | None = None
        self.tasks: tuple[str, ...] = ()
        self.ticked: set[str] = set()
        """References."""
        self.given: dict[str, str] = {}
        """By reference the task that it is to answer for; empty for none."""
        self.refused: dict[str, str] = {}
        self.fault = ""
        self.busy = False
        self.adopted: list[tuple[str, str]] = []
        """(task, reference) of what was adopted last."""
        self.look_back = False
        """What was adopted is read again: a bake-off is offered once that is there."""

    # What there is

    @property
    def models(self) -> tuple[Adoptable, ...]:
        return () if self.found is None else self.found.found

    @property
    def offered(self) -> list[Adoptable]:
        """Those that can be adopted, or given a task."""
        return [one for one in self.models if not one.is_current or not one.tasks]

    @property
    def model(self) -> Adoptable | None:
        """The selected one."""
        selected = self.query_one(TickList).selected if self.is_mounted else None
        return next((one for one in self.models if one.reference == selected), None)

    @property
    def wanted(self) -> list[Adoptable]:
        """Those that are ticked and are not in the fleet with this task yet."""
        return [
            one
            for one in self.offered
            if one.reference in self.ticked and not (one.is_current and not self.given.get(one.reference))
        ]

    @property
    def problem(self) -> str:
        """Why what is ticked cannot be adopted."""
        named = [self.given.get(one.reference, NO_TASK) for one in self.wanted]
        twice = next((task for task in named if task and named.count(task) > 1), None)
        return (
            "" if twice is None else f"The task {twice} can have one alias: h l gives the others another task, or none."
        )

    # Showing

    def above_rows(self) -> Iterable[Widget]:
        models = TickList("What serves", id="found")
        models.empty = "asking the servers …"
        yield models

    def on_resize(self) -> None:
        self.query_one("#known").styles.height = KNOWN_ROWS if self.app.size.height >= 32 else SMALL_KNOWN_ROWS

    @property
    def first_focus(self) -> Widget:
        return self.query_one(TickList)

    def begin(self) -> None:
        self.action_read()

    @property
    def rows_title(self) -> Line:
        return Line("Known of it", "bold")

    def _paint(self) -> None:
        self.query_one(TickList).update([self._row(one) for one in self.models])
        super()._paint()

    def _row(self, one: Adoptable) -> TickRow:
        reference = one.reference
        size = data_size(one.target.size_bytes)
        words = f"{printable(one.name):<28}  {size:>7}  {printable(one.quantization or ''):<7}"
        if one.is_current and one.tasks:
            return TickRow(reference, words, f"in the fleet: does {', '.join(one.tasks)}", ticked=True, fixed=True)
        task = self.given.get(reference, NO_TASK)
        how = " (guessed)" if task and task == one.proposed_task and one.proposed_by == "name" else ""
        note = f"→ {task}{how}" if task else "→ no task"
        if one.is_current:
            note += ", in the fleet"
        elif one.alias is not None:
            note += ", changed since: becomes its version"
        return TickRow(reference, words, printable(note), reference in self.ticked, self.refused.get(reference, ""))

    def _rows(self, width: int, height: int) -> list[Line]:
        rows = [Line(f"✗ {self.fault}", "bad")] if self.fault else []
        if self.found is not None:
            silent = self.found.silent.items()
            rows += [Line(f"▲ {printable(name)}: {silent_words(why)}", "warn") for name, why in silent]
        rows += [Line(f"✗ {self.problem}", "bad")] if self.problem else []
        one = self.model
        if one is not None:
            made = one.lineage
            model = one.target.model or one.family or "model unknown"
            job = "no job of this home made it"
            if made.deploy_job is not None:
                recipe, data = made.recipe or "unknown", made.data or "unknown"
                job = f"deployed by job {made.deploy_job}: recipe {recipe}, data {data}"
            digest = str(one.target.digest or "unknown").removeprefix("sha256:")[:12]
            where = f"{one.server} {one.target.server_version or ''}".rstrip()
            rows.append(Line(f"{one.name} on {where} · {model} {one.parameter_size or ''} · digest {digest}"))
            rows.append(Line(job, "dim"))
            if one.fault is not None:
                rows.append(Line(f"not all is known: {silent_words(one.fault)}", "warn"))
        if self.busy:
            rows.append(Line("asking the runner …", "busy"))
        return [part for row in rows for part in folded(row, width)]

    # Asking

    def action_read(self) -> None:
        ask_beside("what serves", self._read, lambda line: self.ServingRead(None, problem=line), self.tell)

    def _read(self) -> ServingRead:
        from core.fleet.adoptable import what_serves
        from core.store.database import open_database

        project = self.context.find_project()
        tasks = tuple(project.task_names())
        with contextlib.closing(open_database(self.context.home)) as connection:
            found = what_serves(self.context.home, connection, project.settings, project.id, tasks)
        return self.ServingRead(found, tasks)

    def on_adopt_screen_serving_read(self, message: ServingRead) -> None:
        self.fault = message.problem
        empty = "nothing serves: no Ollama of the settings has a model, and this home serves none"
        self.query_one(TickList).empty = "what serves is not known" if message.problem else empty
        if message.found is not None:
            first = self.found is None
            self.found, self.tasks = message.found, message.tasks
            proposed = [one.proposed_task for one in self.models]
            for one in self.models:
                alone = one.proposed_task is not None and proposed.count(one.proposed_task) == 1
                self.given.setdefault(one.reference, (one.proposed_task or NO_TASK) if alone else NO_TASK)
            if first:
                self.ticked = {one.reference for one in self.offered if not one.is_current}
        self._paint()
        if self.look_back:
            self.look_back = False
            self._offer_bakeoff()

    def action_turn(self, step: int) -> None:
        """Another task for the selected model: of those that no alias does yet, or none."""
        one = self.model
        if one is None or one not in self.offered:
            return
        taken = {task for other in self.models for task in other.tasks}
        options = [NO_TASK, *(task for task in self.tasks if task not in taken)]
        at = options.index(self.given.get(one.reference, NO_TASK)) if self.given.get(one.reference) in options else 0
        self.given[one.reference] = options[(at + step) % len(options)]
        self.ticked.add(one.reference)
        self._paint()

    def on_tick_list_ticked(self, message: TickList.Ticked) -> None:
        if any(one.reference == message.key for one in self.offered):
            self.ticked ^= {message.key}
            self._paint()

    def on_tick_list_moved(self) -> None:
        self._paint()

    def action_tick_all(self) -> None:
        all_of_them = {one.reference for one in self.offered}
        self.ticked = set() if self.ticked >= all_of_them else all_of_them
        self._paint()

    def action_adopt(self) -> None:
        self.busy = True
        self._paint()
        wanted = [(one, self.given.get(one.reference) or None) for one in self.wanted]
        ask_beside("adopt", lambda: self._adopt(wanted), lambda line: self.AdoptionsDone(None, line), self._tell_end)

    def _adopt(self, wanted: list[tuple[Adoptable, str | None]]) -> AdoptionsDone:
        from core.fleet.adopting import Adoption, adopt
        from core.runner.client import author

        asked = [Adoption(one, task) for one, task in wanted]
        return self.AdoptionsDone(adopt(self.context.home, self.context.find_project(), asked, by=author(AUTHOR)))

    def _tell_end(self, message: AdoptionsDone) -> None:
        done = message.done or []
        refused = [f"{one.model.name}: {reason_words(one.refused)}" for one in done if one.refused is not None]
        taken = (
            [f"{plural(len(done) - len(refused), 'model')} taken into the fleet"] if len(done) > len(refused) else []
        )
        words = "; ".join([message.problem] * bool(message.problem) + refused + taken)
        self.tell(message, RequestDone(words, failed=bool(message.problem or refused)))

    def on_adopt_screen_adoptions_done(self, message: AdoptionsDone) -> None:
        self.busy, self.fault = False, message.problem
        done = message.done or []
        self.refused = {one.model.reference: reason_words(one.refused) for one in done if one.refused is not None}
        taken = [one for one in done if one.refused is None]
        self.ticked = set(self.refused)
        self.adopted = [(one.task, one.model.reference) for one in taken if one.task is not None]
        if taken:
            self.app.notify(f"{plural(len(taken), 'model')} taken into the fleet", markup=False)
            self.look_back = bool(self.adopted)
            self.context.feed.wake()
        self._paint()
        self.action_read()

    def _offer_bakeoff(self) -> None:
        """What a model is worth, a bake-off says: the form, with the adopted models and their tasks ticked."""
        tasks = list(dict.fromkeys(task for task, _ in self.adopted))
        references = [reference for _, reference in self.adopted]

        def answered(yes: bool | None) -> None:
            if yes:
                self.app.push_screen(NewBakeoff(self.context, begun=Choices(tasks, references)))

        question = f"Bake off {plural(len(references), 'adopted model')}?"
        explanation = (
            f"What they are worth at {', '.join(tasks)} is not known until a bake-off has measured them: promotions and checks "
            "for drift are held to it."
        )
        self.app.push_screen(Confirm(question, explanation, "Bake off", leave="Later"), answered)
