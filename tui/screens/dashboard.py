"""The first screen: four panes over the strip of the selected job; on a small terminal a row a pane and one pane in full."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Grid, Horizontal
from textual.widgets import Input

from core.store.jobs import ACTIVE, JobRow
from tui import actions
from tui.commands import Command, CommandScreen, bindings, command
from tui.lines import Line
from tui.panes.bakeoff import BakeoffPane
from tui.panes.fleet import FleetPane
from tui.panes.gpu import GpuPane
from tui.panes.queue import QueuePane
from tui.screens.jobkeys import JobKeys
from tui.snapshot import Snapshot
from tui.widgets.detail import DetailStrip
from tui.widgets.header import Clock, Header
from tui.widgets.keyline import KeyLine, Summary
from tui.widgets.pane import Pane

if TYPE_CHECKING:
    from tui.app import ConsoleApp

WIDE, HIGH = 100, 34


def on_job(test: Callable[[JobRow | None], bool]) -> Callable[[Any], bool]:
    """A condition about the selected job, for `Command.when`."""
    return lambda screen: test(screen.job)


def on_shown_job(test: Callable[[JobRow | None], bool]) -> Callable[[Any], bool]:
    """The same, for what changes a job: the queue must have the focus, so that one sees which job is meant."""
    return lambda screen: screen.on_jobs and test(screen.job)


class Dashboard(JobKeys, CommandScreen):
    heading = "Dashboard"
    commands: ClassVar[tuple[Command, ...]] = (
        Command(
            "1-4", "pane", "Go to a pane", tuple((str(n), f"pane({n})") for n in range(1, 5)), rank=4, palette=False
        ),
        command("tab", "next pane", "Go to the next pane", "tab", "turn(1)", rank=0, palette=False),
        command("shift+tab", "pane before", "Go to the pane before", "shift+tab", "turn(-1)", rank=0, palette=False),
        command("z", "zoom", "Show this pane alone, or all of them again", "z", "zoom", rank=5),
        command("j ↓", "down", "Next row", "j,down", "move(1)", rank=0, palette=False),
        command("k ↑", "up", "Row before", "k,up", "move(-1)", rank=0, palette=False),
        command("g", "top", "First row", "g,home", "move(-1000000)", rank=0, palette=False),
        command("G", "bottom", "Last row", "G,end", "move(1000000)", rank=0, palette=False),
        command("page down", "page", "A page down", "pagedown,ctrl+f", "move(10)", rank=0, palette=False),
        command("page up", "page", "A page up", "pageup,ctrl+b", "move(-10)", rank=0, palette=False),
        command(
            "v",
            "memory",
            "The selected job's memory or its log, in the strip",
            "v",
            "view",
            lambda screen: screen.trains,
            rank=5,
        ),
        command("p", "plan", "Plan: which models can be trained in how much memory", "p", "plan", rank=4),
        command("n", "new run", "New training run", "n", "new_run", rank=2, short="new"),
        command("d", "demo", "Start the demo", "d", "demo", lambda screen: screen.fresh, rank=5),
        command(
            "b",
            "bake-off",
            "Bake-off of the selected training run against its base",
            "b",
            "bake_off",
            on_job(actions.can_bake_off),
            rank=3,
        ),
        command(
            "⏎",
            "open",
            "Open what is selected: a job's whole log, a leaderboard",
            "enter",
            "open",
            lambda screen: screen.openable,
            rank=1,
        ),
        Command(
            "",
            "merge",
            "Export: merge the selected training run into its base",
            (("f14", "merge"),),
            on_job(actions.can_merge),
            rank=0,
        ),
        Command(
            "",
            "results",
            "Open results: the newest leaderboard of a task",
            (("f15", "results"),),
            lambda screen: screen.has_results,
            rank=0,
        ),
        Command("", "fleet", "Go to pane Fleet", (("f16", "pane(1)"),), rank=0),
        Command("", "gpu", "Go to pane GPU", (("f17", "pane(2)"),), rank=0),
        Command("", "queue", "Go to pane Queue", (("f18", "pane(3)"),), rank=0),
        Command("", "bake-offs", "Go to pane Bake-off", (("f19", "pane(4)"),), rank=0),
        command("x", "cancel", "Cancel the selected job", "x", "cancel", on_shown_job(actions.can_cancel), rank=2),
        command(
            "r",
            "retry",
            "Retry the selected job, from its last checkpoint",
            "r",
            "retry",
            on_shown_job(actions.can_retry),
            rank=1,
        ),
        command(
            "h",
            "hold",
            "Hold the selected job; a running one stops at a checkpoint",
            "h",
            "hold",
            on_shown_job(actions.can_hold),
        ),
        command("l", "release", "Release the held job", "l", "release", on_shown_job(actions.can_release), rank=1),
        command(
            "K",
            "earlier",
            "Move the waiting job up",
            "K,left_square_bracket",
            "reorder('up')",
            on_shown_job(actions.can_move),
            rank=0,
        ),
        command(
            "J",
            "later",
            "Move the waiting job down",
            "J,right_square_bracket",
            "reorder('down')",
            on_shown_job(actions.can_move),
            rank=0,
        ),
        command(
            "P",
            "pause",
            "Pause the queue: nothing new starts",
            "P",
            "pause",
            lambda screen: not screen.snapshot.queue.paused,
            rank=0,
        ),
        command("P", "resume", "Resume the queue", "P", "resume", lambda screen: screen.snapshot.queue.paused, rank=1),
        command("/", "filter", "Show only the jobs that fit some words", "slash", "filter", rank=4),
        command(
            "esc", "all jobs", "Show all jobs again", "escape", "clear_filter", lambda screen: screen.filtered, rank=1
        ),
        command(
            "w", "warnings", "Read the warnings", "w", "warnings", lambda screen: bool(screen.snapshot.warnings), rank=0
        ),
        command(":", "commands", "Find a command by its name", "colon", "palette", rank=3, palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
        command("q", "leave", "Leave the console; the jobs go on", "q", "leave", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    if TYPE_CHECKING:
        app: ConsoleApp

    def __init__(self) -> None:
        super().__init__()
        self.snapshot = Snapshot(time=0.0)
        self.compact = False
        self.zoomed = False
        self.pane_number = 3
        self.composed = False
        self.arranged: tuple[int, int, bool, int] | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Header()
            yield Clock()
        yield Summary(self._summary)
        with Grid(id="board"):
            yield FleetPane()
            yield GpuPane()
            yield QueuePane()
            yield BakeoffPane()
        yield DetailStrip()
        yield Input(id="filter", placeholder="words of a title, a state, an id", compact=True)
        yield KeyLine(self.keys)

    # What is where

    @property
    def panes(self) -> list[Pane]:
        return list(self.query(Pane))

    @property
    def pane(self) -> Pane:
        return self.panes[self.pane_number - 1]

    @property
    def queue(self) -> QueuePane:
        return self.query_one(QueuePane)

    @property
    def job(self) -> JobRow | None:
        """The selected job."""
        return self.queue.selected if self.composed else None

    @property
    def openable(self) -> bool:
        if not self.composed:
            return False
        return self.query_one(BakeoffPane).selected is not None if self.pane_number in (1, 4) else self.job is not None

    @property
    def has_results(self) -> bool:
        return self.composed and self.query_one(BakeoffPane).selected is not None

    @property
    def on_jobs(self) -> bool:
        """The focus is where the selected job is read: not on the leaderboards or the machine."""
        return self.pane_number == 3

    @property
    def filtered(self) -> bool:
        return self.composed and bool(self.queue.filter)

    @property
    def trains(self) -> bool:
        """The selected job is a training: its memory can be looked at."""
        return self.job is not None and self.job.kind == "train"

    @property
    def fresh(self) -> bool:
        """No demo is on its way."""
        return not any(job.task == "judge" and job.state in ACTIVE for job in self.snapshot.jobs)

    # Showing

    def on_mount(self) -> None:
        self.composed = True
        self.query_one("#filter").display = False
        if self.app.select_first is not None:
            self.queue.select_when_there(self.app.select_first)
        self._arrange()
        self.pane.focus()
        self.show(self.app.snapshot)
        self.call_after_refresh(self.app.painted)

    def show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        if not self.composed:
            return
        for pane in self.panes:
            pane.show(snapshot)
        self.query_one(Header).show(snapshot)
        small = self.size.width < 88
        self.query_one(Clock).show(snapshot.time, seconds=not (small or self.app.low_bandwidth))
        self.query_one(DetailStrip).show(snapshot, self.queue.selected_id)
        self.query_one(Summary).paint()
        self.refresh_keys()

    def refresh_keys(self) -> None:
        self.query_one(KeyLine).paint()

    def _summary(self, width: int) -> list[Line]:
        rows = []
        for pane in self.panes:
            mark = "chosen" if pane.number == self.pane_number else ""
            label = Line(f" {pane.number}", f"bold {mark}").add(f" {pane.heading}".ljust(10), mark or "text")
            rows.append(label.add(" ").extend(pane.summary(width - 14)).cut(width))
        return rows

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Lay out for the size of the terminal: four panes, or one and a row each."""
        width, height = self.app.size
        wanted = (width, height, self.zoomed, self.pane_number)
        if wanted == self.arranged:
            return
        self.arranged = wanted
        self.compact = width < WIDE or height < HIGH
        alone = self.compact or self.zoomed
        self.set_class(alone, "alone")
        self.query_one(Summary).display = self.compact and height >= 16
        for pane in self.panes:
            pane.display = not alone or pane.number == self.pane_number
        detail = self.query_one(DetailStrip)
        detail.display = height >= 14 and not self.zoomed
        detail.styles.height = max(6, height * 26 // 100) if self.compact else max(11, round(height * 0.32))
        self.query_one(Clock).styles.width = 8 if width < 88 else 14

    # Panes

    def action_pane(self, number: int) -> None:
        self.pane_number = number
        self._arrange()
        self.pane.focus()
        self.query_one(Summary).paint()
        self.refresh_keys()

    def action_turn(self, step: int) -> None:
        self.action_pane((self.pane_number - 1 + step) % 4 + 1)

    def action_zoom(self) -> None:
        self.zoomed = not self.zoomed
        self._arrange()

    def on_pane_chosen(self, message: Pane.Chosen) -> None:
        self.action_pane(message.pane.number)

    def action_move(self, step: int) -> None:
        (self.pane if self.pane_number == 4 else self.queue).move(step)

    def on_queue_pane_selected(self, message: QueuePane.Selected) -> None:
        self.app.feed.select(message.job_id)
        self.query_one(DetailStrip).show(self.snapshot, message.job_id)
        self.refresh_keys()

    def on_queue_pane_near_end(self) -> None:
        self.app.feed.want_more()

    # Jobs

    def action_open(self) -> None:
        job = self.job
        board = self.query_one(BakeoffPane).selected if self.pane_number in (1, 4) else None
        if board is not None:
            self._open_results(board.job_id)
        elif job is not None and job.kind == "bakeoff" and job.state == "done":
            self._open_results(job.id)
        elif job is not None:
            self._open_job(job.id)

    def action_results(self) -> None:
        board = self.query_one(BakeoffPane).selected
        if board is not None:
            self._open_results(board.job_id)

    def _open_results(self, job_id: int) -> None:
        from tui.screens.results import Results

        self.app.slow.want(job_id)
        self.app.push_screen(Results(job_id))

    def _open_job(self, job_id: int) -> None:
        from tui.screens.job import JobScreen

        self.app.push_screen(JobScreen(job_id))

    def on_detail_strip_opened(self) -> None:
        if self.job is not None:
            self._open_job(self.job.id)

    def finished(self, outcome: actions.Outcome) -> None:
        """What was queued here is selected as soon as it is read."""
        if outcome.job_ids:
            self.queue.select_when_there(outcome.job_ids[0])

    # The rest

    def action_filter(self) -> None:
        if self.pane_number != 3:
            self.action_pane(3)
        field = self.query_one("#filter", Input)
        field.value = self.queue.filter
        field.display = True
        self.query_one(KeyLine).display = False
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.queue.set_filter(event.value)

    def on_input_submitted(self) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter").display = False
        self.query_one(KeyLine).display = True
        self.pane.focus()
        self.refresh_keys()

    def action_clear_filter(self) -> None:
        self.query_one("#filter", Input).value = ""
        self.queue.set_filter("")
        self._close_filter()

    def action_view(self) -> None:
        self.query_one(DetailStrip).turn()

    def action_plan(self) -> None:
        from tui.screens.plan import PlanScreen

        self.app.push_screen(PlanScreen())

    def action_palette(self) -> None:
        self.app.action_command_palette()

    def action_warnings(self) -> None:
        from tui.screens.help import warnings_screen

        self.app.push_screen(warnings_screen(self.snapshot.warnings))

    def action_help(self) -> None:
        from tui.screens.help import help_screen

        self.app.push_screen(help_screen(self.heading, [item for item in self.possible() if item.shown]))

    def action_leave(self) -> None:
        self.app.exit()
