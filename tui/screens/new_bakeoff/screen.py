"""The form of a bake-off: tasks and candidates are ticked, with what that comes to and the command that does the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Input

from core.home import Home
from core.store.jobs import JobRow
from core.submission.wanted_bakeoff import WantedBakeoff
from core.text import printable
from tui import actions
from tui.actions import RequestDone
from tui.commands import Command, bindings
from tui.context import Context
from tui.lines import Line
from tui.model.snapshot import Snapshot
from tui.queries.bakeoff_form import (
    BakeoffOutlook,
    BakeoffQueries,
    Offers,
    OffersRead,
    OutlookRead,
    ServerRead,
    WrittenRead,
)
from tui.screens.command_screen import CommandScreen
from tui.screens.new_bakeoff.choices import FORMER, Choices, begun_with, candidate_rows, reference_of, task_rows
from tui.screens.new_bakeoff.commands import COMMANDS
from tui.screens.new_bakeoff.fields import NUMBERS, BakeoffFields
from tui.screens.new_bakeoff.rows import TO_TICK, Lacking, add_note, command_rows, lacking, outlook_rows, told_against
from tui.widgets.choice import ChoiceField
from tui.widgets.footer import Footer
from tui.widgets.text_panel import TextPanel
from tui.widgets.tick_list import TickList

TYPING_SECONDS = 0.3
ROOMY_ROWS = 32


class NewBakeoff(CommandScreen):
    heading = "New bake-off"
    commands: ClassVar[tuple[Command, ...]] = COMMANDS
    BINDINGS: ClassVar = bindings(commands)

    def __init__(
        self, context: Context, jobs: Sequence[JobRow] = (), *, extend: int | None = None, begun: Choices | None = None
    ) -> None:
        """`jobs` are runs that are ticked at first, beside what `begun` has; `extend` is the ended bake-off that goes on."""
        super().__init__(context)
        self.jobs, self.begun = list(jobs), begun or Choices()
        self.extend = extend
        self.offers: Offers | None = None
        self.choices = Choices()
        self.servers: dict[str, ServerRead] = {}
        self.outlook: BakeoffOutlook | None = None
        self.written: WrittenRead | None = None
        self.adding = ""
        """What is taken in as soon as it is known that nothing is against it."""
        self.queueing, self.problem = False, ""
        self._typing: Timer | None = None
        self.queries = BakeoffQueries(context.home, context.find_project, self.tell)

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        with Horizontal(id="lists"):
            yield TickList("Tasks", id="tasks")
            yield TickList("Candidates", id="candidates")
        yield BakeoffFields(self.extend)
        yield TextPanel(id="outlook")
        yield TextPanel(id="command")
        yield from self.last_line()

    def on_mount(self) -> None:
        self._arrange()
        self.show(self.context.snapshot)
        self.task_list.focus()
        self.queries.start(self.extend)

    def on_unmount(self) -> None:
        self.queries.forget()

    @property
    def takes_keys(self) -> bool:
        """Nothing can be ticked before the project is read."""
        return self.offers is not None

    @on(OffersRead)
    def _take_offers(self, message: OffersRead) -> None:
        self.offers = offers = message.offers
        self.problem = offers.problem
        self.choices = begun_with(self.jobs, offers, self.begun)
        if offers.former is not None:
            self.fields.begin_with(offers.former)
        if len(self.choices.tasks) == 1 or offers.former is not None:
            self.candidate_list.focus()
        self.action_read_servers()

    def action_read_servers(self) -> None:
        """Each server is asked in a thread of its own: one that stalls keeps no other waiting."""
        if self.offers is None:
            return
        self.servers.clear()
        self.queries.ask_servers(self.offers.servers)
        self._changed()

    @on(ServerRead)
    def _take_server(self, message: ServerRead) -> None:
        self.servers[message.server] = message
        self._paint()

    # What is ticked and written

    @property
    def task_list(self) -> TickList:
        return self.query_one("#tasks", TickList)

    @property
    def candidate_list(self) -> TickList:
        return self.query_one("#candidates", TickList)

    @property
    def fields(self) -> BakeoffFields:
        return self.query_one(BakeoffFields)

    @property
    def on_tasks(self) -> bool:
        return self.is_mounted and self.task_list.has_focus

    @property
    def on_candidates(self) -> bool:
        return self.is_mounted and self.candidate_list.has_focus

    @property
    def in_list(self) -> bool:
        return self.on_tasks or self.on_candidates

    @property
    def on_choice(self) -> bool:
        return isinstance(self.focused, ChoiceField)

    @property
    def adds(self) -> bool:
        """⏎ adds the candidate that is being written."""
        return self.is_mounted and self.fields.text("add").has_focus and bool(self.fields.added)

    def problems(self) -> dict[str, str]:
        """What is wrong in the fields, by field."""
        wrong = self.fields.wrong_numbers
        if not self.fields.added:
            return wrong
        if not self.meant:
            return {"add": "first select the candidate that this is a variant of", **wrong}
        return {"add": "" if self.checking or self.written is None else self.written.problem, **wrong}

    @property
    def checking(self) -> bool:
        """It is not known yet whether the candidate that is being written can be."""
        return self.written is None or self.written.reference != self.meant

    @property
    def meant(self) -> str:
        """The candidate that is being written."""
        row = self.candidate_list.row
        return reference_of(None if row is None else row.key, self.fields.added)

    @property
    def wanted(self) -> WantedBakeoff:
        fields, former = self.fields, self.offers.former if self.offers is not None else None
        kept = former is not None and fields.incumbent == former.incumbent
        return WantedBakeoff(
            tasks=tuple(row.key for row in self.task_list.rows if row.ticked and not row.fixed),
            candidates=self.choices.ordered(self.candidate_list.rows),
            repeats=fields.numbers.get("repeats"),
            incumbent=None if kept else fields.incumbent,
            concurrency=fields.numbers.get("concurrency"),
            curtail=None if fields.curtails == (former is not None and former.curtail) else fields.curtails,
            extend=self.extend,
        )

    @property
    def current(self) -> BakeoffOutlook | None:
        """The outlook, when it belongs to what is ticked now."""
        return self.outlook if self.outlook is not None and self.outlook.wanted == self.wanted else None

    @property
    def lacking(self) -> Lacking | None:
        return lacking(self.wanted)

    @property
    def valid(self) -> bool:
        outlook = self.current
        ready = outlook is not None and not outlook.problems and not outlook.problem
        return ready and not self.problem and not self.problems() and not self.queueing

    @on(TickList.Ticked)
    def _take_tick(self, message: TickList.Ticked) -> None:
        if self.queueing or self.offers is None:
            return
        if message.key.startswith(FORMER):
            self.app.notify(f"Bake-off {self.extend} has it: what is there stays")
            return
        ticked = self.choices.tasks if message.list is self.task_list else self.choices.candidates
        row = next((one for one in message.list.rows if one.key == message.key), None)
        if row is not None and row.problem and not row.ticked:
            self.app.notify(f"✗ {printable(row.words)}: {printable(row.problem)}", severity="warning", markup=False)
            return
        self.choices.tick(ticked, message.key)
        self._changed()

    @on(TickList.Moved)
    def _take_move(self, message: TickList.Moved) -> None:
        if message.list is self.candidate_list:
            self._check_written()
        self._paint()

    def on_choice_field_changed(self) -> None:
        self._changed()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "add":
            self.adding = ""
            self._check_written()
            self._paint()
        else:
            self._changed(TYPING_SECONDS)

    def _check_written(self) -> None:
        """Ask whether what is written can be, when the typing pauses."""
        if self._typing is not None:
            self._typing.stop()
        if self.fields.added and (reference := self.meant):
            self._typing = self.set_timer(TYPING_SECONDS, lambda: self.queries.written.ask(reference))

    @on(WrittenRead)
    def _take_written(self, message: WrittenRead) -> None:
        self.written = message
        if self.adding and self.adding == message.reference and self.meant == message.reference:
            self._add()
        self._paint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "add" and event.value.strip():
            self._add()
        else:
            self.action_queue()

    def _add(self) -> None:
        """Take in the candidate that is written; what can't be stays in the field."""
        reference = self.meant
        if self.written is None or self.written.reference != reference:
            self.adding = reference
            if reference:
                self.queries.written.ask(reference)
            return
        self.adding = ""
        if self.written.problem:
            self._paint()
            return
        self.choices.add(reference)
        self.fields.text("add").value = ""
        self._changed()
        self.candidate_list.select(reference)
        self.candidate_list.focus()

    def _changed(self, pause: float = 0.0) -> None:
        """Something else is ticked or written: offer the incumbents, and look at what it comes to."""
        self._paint_lists()
        former = self.offers.former if self.offers is not None else None
        known = former.candidates if former is not None else ()
        self.fields.offer_incumbents([*known, *self.choices.ordered(self.candidate_list.rows)])
        if not self.lacking and not self.problem and not self.fields.wrong_numbers:
            wanted = self.wanted
            if pause:
                self.set_timer(pause, lambda: self.queries.outlook.ask(wanted) if wanted == self.wanted else None)
            else:
                self.queries.outlook.ask(wanted)
        self._paint()

    @on(OutlookRead)
    def _take_outlook(self, message: OutlookRead) -> None:
        self.outlook = message.outlook
        self._paint()

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        self._paint()

    def on_resize(self) -> None:
        self._arrange()
        self.call_after_refresh(self._paint)

    def on_descendant_focus(self) -> None:
        self._paint()

    def _arrange(self) -> None:
        height = self.app.size.height
        self.query_one("#lists").styles.height = (
            (height - 8) * 3 // 5 if height >= ROOMY_ROWS else max(6, (height - 8) // 2)
        )
        self.query_one("#tasks").styles.width = min(40, max(28, self.app.size.width * 3 // 10))
        self.set_class(self.app.size.width < 100, "narrow")

    def _paint_lists(self) -> None:
        offers = self.offers or Offers()
        self.task_list.empty = self.candidate_list.empty = "reading the project …" if self.offers is None else "none"
        self.task_list.update(task_rows(offers, self.choices))
        problems = self.current.problems if self.current is not None else {}
        rows = candidate_rows(offers, self.servers, self.snapshot, self.choices, problems) if self.offers else []
        self.candidate_list.update(rows)

    def _paint(self) -> None:
        if not self.is_mounted or not self.query(TickList):
            return
        self._paint_lists()
        row, outlook = self.candidate_list.row, self.current
        problem = self.problems().get("add", "")
        note = add_note(self.fields.added, problem, self.checking and not problem, row.key if row else None)
        self.fields.paint_notes(note, outlook.incumbent if outlook else "")
        panel = self.query_one("#outlook", TextPanel)
        panel.update(self._outlook(*panel.inner), "What it comes to")
        words = self.wanted.command(self.offers.project) if self.offers is not None and not self.lacking else ""
        shown, rows = self.query_one("#command", TextPanel), command_rows(words, self.queueing, self.app.size.width)
        shown.styles.height = len(rows)
        shown.update(rows)
        self.query_one(Footer).paint()

    def _outlook(self, width: int, height: int) -> list[Line]:
        if self.offers is None:
            return [Line("reading the project …", "dim")]
        added = self.problems().get("add", "")
        if added and len(added) + 2 > self.query_one("#note-add").size.width:
            return outlook_rows(None, added, False, width, height)  # there it is cut
        if wrong := next(iter(self.fields.wrong_numbers.values()), ""):
            return outlook_rows(None, wrong, False, width, height)
        if self.lacking and not self.problem:
            return [Line(f"{TO_TICK[self.lacking]}: tab goes from list to list, j k move, space ticks.", "dim")]
        outlook = self.current
        problem = self.problem or ("" if outlook is None else outlook.told)
        return outlook_rows(outlook or self.outlook, problem, outlook is None, width, height)

    def action_variant(self) -> None:
        """Write how the selected candidate is asked as well."""
        self.fields.begin_variant()

    def action_other(self) -> None:
        self.fields.text("add").focus()

    def action_all_tasks(self) -> None:
        self.choices.turn_all_tasks(self.offers, self.task_list.rows)
        self._changed()

    def _refuse(self) -> None:
        """Say why this cannot be queued, and go to what is wrong."""
        wrong, outlook = self.problems(), self.current
        key = next((one for one in ("add", *NUMBERS) if one in wrong), None)
        at = next(iter(outlook.problems if outlook is not None else ()), None)
        if key is not None:
            self.fields.text(key).focus()
        elif self.lacking:
            (self.task_list if self.lacking == "task" else self.candidate_list).focus()
        elif at is not None:
            self.candidate_list.focus()
            self.candidate_list.select(at)
        said = told_against(wrong, self.lacking, self.problem, outlook)
        if said:
            self.app.notify(f"✗ not queued: {printable(said)}", severity="error", markup=False, timeout=8)

    def action_queue(self) -> None:
        if self.queueing or self.offers is None:
            return
        if not self.valid:
            self._refuse()
            return
        wanted, remarks = self.wanted, list[str]()

        def make(home: Home, project: Any, author: str) -> list[JobRow]:
            from core.submission.bakeoff import submit_bakeoff

            return [submit_bakeoff(home, project, wanted, author=author, remarks=remarks)]

        self.queueing = True
        self._paint()
        actions.submit(self.context, make, remarks)

    def finished(self, request: RequestDone) -> None:
        if not self.queueing:
            return
        self.queueing = False
        if request.failed:
            self._paint()
        else:
            self.leave()
