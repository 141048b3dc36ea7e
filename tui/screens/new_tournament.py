"""The form of a tournament: tasks and models are ticked, with what fits, what it takes and the command that does the same."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from core.config.experiment import Weights
from core.store.jobs import JobRow
from core.text import printable
from tui import actions
from tui.actions import RequestDone
from tui.commands import Command, bindings, command, hint
from tui.context import Context
from tui.lines import Line, folded, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.tournament_form import (
    AskedTournament,
    EntrantsRead,
    TournamentOutlook,
    TournamentQueries,
    TournamentRead,
)
from tui.screens.command_screen import CommandScreen
from tui.widgets.footer import Footer
from tui.widgets.rows_view import RowsView
from tui.widgets.text_field import TextField
from tui.widgets.text_panel import TextPanel
from tui.widgets.tick_list import TickList, TickRow

if TYPE_CHECKING:
    from core.experiments.tournament import WantedTournament
    from core.home import Home

TYPING_SECONDS = 0.4
# No wider than a terminal of 80 columns shows whole.
FIELDS: dict[str, tuple[str, str]] = {
    "ways": ("bf16 and 4-bit, or as the recipe", "frozen weights, such as bf16 4-bit"),
    "steps": ("of the recipe's epochs", "optimizer steps, the same for all"),
    "rates": ("three around the recipe's", "learning rates; one: no trials"),
    "seeds": ("3", "of each arm; two give no interval"),
    "hours": ("all of it", "only what fits into so many hours"),
}
"""By field: what stands there while it is empty, and what it means."""
WIDE = 100
MOST_COMMAND_ROWS = 3


class NewTournament(CommandScreen):
    heading = "New tournament"
    commands: ClassVar[tuple[Command, ...]] = (
        command("⏎", "queue it", "Queue the tournament", "enter", "queue", rank=1),
        hint("space", "tick", "Tick the selected task or model", lambda screen: screen.in_list, rank=1),
        hint("j k", "move", "The next row of the list, the row before", lambda screen: screen.in_list, rank=4),
        command("tab", "next field", "The next list or field", "tab", "app.focus_next", rank=1, palette=False),
        command(
            "shift+tab",
            "field before",
            "The list or field before",
            "shift+tab",
            "app.focus_previous",
            rank=0,
            palette=False,
        ),
        command(
            "page down",
            "rows below",
            "The further rows of what it comes to",
            "pagedown",
            "page(1)",
            lambda screen: not screen.in_list,
            rank=2,
            palette=False,
        ),
        command(
            "page up",
            "rows above",
            "The rows before of what it comes to",
            "pageup",
            "page(-1)",
            lambda screen: not screen.in_list,
            rank=0,
            palette=False,
        ),
        command("esc", "back", "Back; nothing is queued", "escape", "app.pop_screen", rank=1),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.entrants: EntrantsRead | None = None
        self.ticked: dict[str, list[str]] = {"tasks": [], "models": []}
        self.outlook: TournamentOutlook | None = None
        self.queueing = False
        self.queries = TournamentQueries(context.home, context.find_project, self.tell)

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        with Horizontal(id="lists"):
            yield TickList("Tasks", id="tasks")
            yield TickList("Models", id="models", unticked="every one that fits")
        with Vertical(id="form") as form:
            form.border_title = "How they are trained"
            for key, (placeholder, about) in FIELDS.items():
                with Horizontal(classes="field"):
                    yield _said(f"label-{key}", "label", key)
                    yield TextField(id=key, placeholder=placeholder)
                    yield _said(f"note-{key}", "note", f" {about}")
        yield RowsView(id="outlook")
        yield TextPanel(id="command")
        yield from self.last_line()

    def on_mount(self) -> None:
        self._arrange()
        self.show(self.context.snapshot)
        self.query_one("#tasks", TickList).focus()
        self.queries.start()

    def on_unmount(self) -> None:
        self.queries.forget()

    @property
    def takes_keys(self) -> bool:
        """Nothing can be ticked before the project is read."""
        return self.entrants is not None

    @property
    def in_list(self) -> bool:
        return self.is_mounted and isinstance(self.focused, TickList)

    @on(EntrantsRead)
    def _take_entrants(self, message: EntrantsRead) -> None:
        self.entrants = message
        able = [one.name for one in message.tasks if not one.problem]
        if len(able) == 1:
            self.ticked["tasks"] = able
        self._changed()

    # What is ticked and written

    def text(self, key: str) -> str:
        return self.query_one(f"#{key}", TextField).value.strip()

    def problems(self) -> dict[str, str]:
        """What is wrong in the fields, by field."""
        found = {}
        for key, read in (("steps", _whole), ("seeds", _whole), ("hours", _number)):
            if self.text(key) and read(self.text(key)) is None:
                found[key] = "enter a number above 0"
        if any(_number(word) is None or not (_number(word) or 1) < 1 for word in _words(self.text("rates"))):
            found["rates"] = "enter rates such as 2e-5 1e-4"
        ways = get_args(Weights)
        if any(word not in ways for word in _words(self.text("ways"))):
            found["ways"] = f"enter some of {', '.join(ways)}"
        return found

    @property
    def wanted(self) -> WantedTournament:
        """What is asked for; only where `problems` has none."""
        from core.experiments.tournament import WantedTournament

        return WantedTournament(
            tasks=tuple(self.ticked["tasks"]),
            models=tuple(self.ticked["models"]),
            ways=tuple(_words(self.text("ways"))),  # type: ignore[arg-type]  # `problems` has looked at them
            seeds=_whole(self.text("seeds")) or 3,
            steps=_whole(self.text("steps")),
            learning_rates=tuple(float(word) for word in _words(self.text("rates"))),
        )

    @property
    def asked(self) -> AskedTournament:
        return AskedTournament(self.wanted, _number(self.text("hours")))

    @property
    def current(self) -> TournamentOutlook | None:
        """The outlook, where it belongs to what is ticked and written now."""
        found = self.outlook
        if found is None or not self.ticked["tasks"] or self.problems() or found.asked != self.asked:
            return None
        return found

    @on(TickList.Ticked)
    def _take_tick(self, message: TickList.Ticked) -> None:
        row = next((one for one in message.list.rows if one.key == message.key), None)
        if self.queueing or row is None:
            return
        if row.problem and not row.ticked:
            self.app.notify(f"✗ {printable(row.words)}: {printable(row.problem)}", severity="warning", markup=False)
            return
        ticked = self.ticked[str(message.list.id)]
        if message.key in ticked:
            ticked.remove(message.key)
        else:
            ticked.append(message.key)
        self._changed()

    @on(TickList.Moved)
    def _take_move(self) -> None:
        self._paint()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._changed(TYPING_SECONDS)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_queue()

    def _changed(self, pause: float = 0.0) -> None:
        """Something else is ticked or written: look at what it comes to, once the typing pauses."""
        if self.entrants is not None and self.ticked["tasks"] and not self.problems():
            asked = self.asked

            def ask() -> None:
                if not self.problems() and self.ticked["tasks"] and asked == self.asked:
                    self.queries.outlook.ask(asked)

            if pause:
                self.set_timer(pause, ask)
            else:
                ask()
        self._paint()

    @on(TournamentRead)
    def _take_outlook(self, message: TournamentRead) -> None:
        self.outlook = message.outlook
        self._paint()

    # Showing

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
        self.query_one("#lists").styles.height = max(5, (height - 10) * 2 // 5)
        self.set_class(self.app.size.width < WIDE, "narrow")

    def _paint(self) -> None:
        if not self.is_mounted or not self.query(TickList):
            return
        found = self.entrants
        for name, entrants in (("tasks", found.tasks if found else ()), ("models", found.models if found else ())):
            box = self.query_one(f"#{name}", TickList)
            box.empty = "reading the project …" if found is None else "none"
            ticked = self.ticked[name]
            box.update([TickRow(one.name, one.name, one.note, one.name in ticked, one.problem) for one in entrants])
        wrong = self.problems()
        for key, (_, about) in FIELDS.items():
            note = Line(f" ✗ {wrong[key]}", "bad") if key in wrong else Line(f" {about}", "dim")
            self.query_one(f"#note-{key}", TextPanel).update([note])
        self.query_one(RowsView).update(Line("What it comes to"), self._rows)
        words = self.command if self.ticked["tasks"] and not wrong else ""
        shown, rows = self.query_one("#command", TextPanel), list(wrapped(words, max(20, self.app.size.width - 2)))
        rows = rows[:MOST_COMMAND_ROWS]
        shown.styles.height = max(1, len(rows))
        shown.update([Line(f" {row}", "dim") for row in rows])
        self.query_one(Footer).paint()

    def _rows(self, width: int, height: int) -> list[Line]:
        from core.wording.experiment_cost import outlook_lines
        from core.wording.experiment_plan import missing_words, plan_lines
        from core.wording.tournament import left_out_lines

        if self.entrants is not None and self.entrants.problem:
            return folded(Line(f"✗ {printable(self.entrants.problem)}", "bad"), width)
        if self.queueing:
            return [Line("queueing …", "busy")]
        if not self.ticked["tasks"]:
            return folded(Line("Tick a task: tab goes from list to list, j k move, space ticks.", "dim"), width)
        if wrong := self.problems():  # whole: beside a field there may be no room
            return [
                part
                for key, text in wrong.items()
                for part in folded(Line("✗ ", "bad").add(f"{key}: {text}", "bad"), width)
            ]
        found = self.current
        if found is None:
            return [Line("looking at each model: which way it fits, and what it takes …", "busy")]
        rows = folded(Line(f"✗ {printable(found.problem)}", "bad"), width) if found.problem else []
        if found.found is not None:
            for place, text in enumerate(outlook_lines(found.found)):
                rows += folded(Line(text, "warn" if text.startswith("▲") else "text" if place else "bold"), width)
            plan = found.found.plan
            for text in [missing_words(plan), *list(plan_lines(plan))[1:]]:
                rows += folded(Line(text), width)
            rows += [part for text in plan.remarks for part in folded(Line(f"note: {text}", "dim"), width)]
        if found.made is not None:
            rows += [part for text in left_out_lines(found.made.left_out) for part in folded(Line(text, "dim"), width)]
        return rows

    @property
    def command(self) -> str:
        """The command that does the same."""
        words = ["bakehouse", "tournament", *self.ticked["tasks"]]
        for option, values in (
            ("--model", self.ticked["models"]),
            ("--way", _words(self.text("ways"))),
            ("--lr", _words(self.text("rates"))),
            ("--steps", _words(self.text("steps"))),
            ("--seeds", _words(self.text("seeds"))),
            ("--hours", _words(self.text("hours"))),
        ):
            words += [word for value in values for word in (option, value)]
        words += self.entrants.option if self.entrants is not None else ()
        return " ".join(map(shlex.quote, words))

    def action_page(self, step: int) -> None:
        rows = self.query_one(RowsView)
        rows.scroll_rows(step * max(1, rows.size.height - 3))

    # Acts

    def action_queue(self) -> None:
        found, wrong = self.current, self.problems()
        if self.queueing or self.entrants is None:
            return
        if not self.ticked["tasks"] or wrong or found is None or found.problem or found.found is None:
            self._refuse(wrong, found)
            return
        plan = found.found.plan

        def make(home: Home, project: Any, author: str) -> list[JobRow]:
            from core.experiment_submission.queueing import submit_experiment
            from core.store.database import open_database
            from core.store.jobs import jobs_by_id

            queued = submit_experiment(home, project, plan, author=author)
            connection = open_database(home)
            try:
                jobs = jobs_by_id(connection, [run.job_id for run in queued.runs])
            finally:
                connection.close()
            return [*jobs.values()]

        self.queueing = True
        self._paint()
        actions.submit(self.context, make, list(plan.remarks))

    def _refuse(self, wrong: dict[str, str], found: TournamentOutlook | None) -> None:
        """Say why this cannot be queued, and go to what is wrong."""
        if not self.ticked["tasks"]:
            self.query_one("#tasks", TickList).focus()
            said = "tick a task"
        elif wrong:
            key = next(iter(wrong))
            self.query_one(f"#{key}", TextField).focus()
            said = f"{key}: {wrong[key]}"
        else:
            said = "what it takes is still being looked at" if found is None else found.problem
        self.app.notify(f"✗ not queued: {printable(said)}", severity="error", markup=False, timeout=8)

    def finished(self, request: RequestDone) -> None:
        if self.queueing:
            self.queueing = False
            if request.failed:
                self._paint()
            else:
                self.leave()


def _said(id: str, classes: str, text: str) -> TextPanel:
    panel = TextPanel(id=id, classes=classes)
    panel.rows = [Line(text, "dim")]
    return panel


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _number(text: str) -> float | None:
    """A number above 0; None of anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and int(text) > 0 else None
