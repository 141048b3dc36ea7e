"""The first screen: four panes over the strip of the selected job; on a small terminal a row a pane and one pane in full."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Grid

from core.jobfile.kinds import kind_of
from core.store.jobs import ACTIVE, JobRow
from tui.actions import RequestDone, can_bake_off
from tui.commands import Command, bindings
from tui.context import Context
from tui.lines import Line
from tui.model.snapshot import Board, Snapshot
from tui.panes.bakeoff import BakeoffPane
from tui.panes.fleet import FleetPane
from tui.panes.gpu.pane import GpuPane
from tui.panes.queue import QueuePane
from tui.screens.command_screen import CommandScreen
from tui.screens.dashboard_actions import COMMANDS
from tui.screens.dashboard_fleet import DashboardFleet
from tui.screens.help import warnings_screen
from tui.screens.job_actions import JobActions
from tui.widgets.detail import DetailStrip
from tui.widgets.footer import Footer, PaneSummaries
from tui.widgets.header import ClockLabel
from tui.widgets.pane import Pane
from tui.widgets.text_field import TextField

WIDE, HIGH = 100, 34


class Dashboard(DashboardFleet, JobActions, CommandScreen):
    heading = "Dashboard"
    commands: ClassVar[tuple[Command, ...]] = COMMANDS
    BINDINGS: ClassVar = bindings(commands)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.compact = False
        self.zoomed = False
        self.pane_number = 3
        self.composed = False
        self.arranged: tuple[int, int, bool, int] | None = None

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield PaneSummaries(self._summaries)
        with Grid(id="board"):
            yield FleetPane()
            yield GpuPane()
            yield QueuePane()
            yield BakeoffPane()
        yield DetailStrip()
        yield TextField(id="filter", placeholder="words of a title, a state, an id")
        yield from self.last_line()

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
        if self.pane_number == 2:
            return not self.zoomed
        if self.pane_number == 1:
            chosen = self.query_one(FleetPane).selected
            return isinstance(chosen, Board) or self.fleet_row is not None or self.served is not None
        return self.query_one(BakeoffPane).selected is not None if self.pane_number == 4 else self.job is not None

    @property
    def has_results(self) -> bool:
        return self.composed and self.query_one(BakeoffPane).selected is not None

    @property
    def on_jobs(self) -> bool:
        """The focus is where the selected job is read: not on the leaderboards or the machine."""
        return self.pane_number == 3

    @property
    def on_gpu(self) -> bool:
        """The GPU is looked at."""
        return self.pane_number == 2

    @property
    def marked_runs(self) -> list[JobRow]:
        return [job for job in self.queue.marked_jobs if can_bake_off(job)] if self.composed else []

    @property
    def runs_to_compare(self) -> list[JobRow]:
        """The marked runs, the selected one first where it is among them; without marks the selected one alone."""
        if not self.composed:
            return []
        chosen = self.queue.marked_jobs or ([self.job] if self.job else [])
        return sorted(filter(can_bake_off, chosen), key=lambda job: job is not self.job)

    def bake_off_started(self) -> None:
        self.queue.marked.clear()
        self.queue.paint()

    @property
    def filtered(self) -> bool:
        return self.composed and bool(self.queue.filter)

    @property
    def trains(self) -> bool:
        """The selected job's memory was forecast, and can be looked at."""
        return self.job is not None and kind_of(self.job.kind).has_forecast

    @property
    def fresh(self) -> bool:
        """No demo is on its way."""
        return not any(job.task == "judge" and job.state in ACTIVE for job in self.snapshot.jobs)

    # Showing

    def on_mount(self) -> None:
        self.composed = True
        self.query_one("#filter").display = False
        if self.context.select_first is not None:
            self.queue.select_when_there(self.context.select_first)
        self._arrange()
        self.pane.focus()
        self.show(self.context.snapshot)
        self.call_after_refresh(self.context.painted)

    def show(self, snapshot: Snapshot) -> None:
        if not self.composed:
            self.snapshot = snapshot
            return
        super().show(snapshot)
        for pane in self.panes:
            pane.show(snapshot)
        self._show_strip()
        self.query_one(PaneSummaries).paint()
        self.refresh_keys()

    @property
    def shows_seconds(self) -> bool:
        return self.size.width >= 88 and super().shows_seconds

    def refresh_keys(self) -> None:
        self.query_one(Footer).paint()

    def _show_strip(self) -> None:
        self.query_one(DetailStrip).show(self.snapshot, self.queue.selected_id, self.fleet_row)

    def _summaries(self, width: int) -> list[Line]:
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
        self.query_one(PaneSummaries).display = self.compact and height >= 16
        for pane in self.panes:
            pane.display = not alone or pane.number == self.pane_number
        self.query_one(GpuPane).set_alone(self.zoomed)
        detail = self.query_one(DetailStrip)
        detail.display = height >= 14 and not self.zoomed
        detail.styles.height = max(6, height * 26 // 100) if self.compact else max(11, round(height * 0.32))
        self.query_one(ClockLabel).styles.width = 8 if width < 88 else 14

    # Panes

    def action_pane(self, number: int) -> None:
        self.pane_number = number
        self._arrange()
        self.pane.focus()
        self.query_one(PaneSummaries).paint()
        self._show_strip()
        self.refresh_keys()

    def action_turn(self, step: int) -> None:
        self.action_pane((self.pane_number - 1 + step) % 4 + 1)

    def action_zoom(self) -> None:
        self.zoomed = not self.zoomed
        self._arrange()
        self.refresh_keys()

    def action_unzoom(self) -> None:
        if self.zoomed:
            self.action_zoom()

    def on_pane_chosen(self, message: Pane.Chosen) -> None:
        self.action_pane(message.pane.number)

    def on_pane_opened(self, message: Pane.Opened) -> None:
        """A row was clicked twice."""
        if message.pane in (self.queue, self.query_one(FleetPane)):
            self.action_open()
        else:
            self._open_results(message.key)

    def action_move(self, step: int) -> None:
        own = self.pane_number in (1, 4) or (self.on_gpu and self.zoomed)
        (self.pane if own else self.queue).move(step)
        if self.on_fleet:
            self._show_strip()
            self.refresh_keys()

    def on_queue_pane_selected(self, message: QueuePane.Selected) -> None:
        self.context.feed.select(message.job_id)
        self._show_strip()
        self.refresh_keys()

    def on_queue_pane_near_end(self) -> None:
        self.context.feed.want_more()

    # Jobs

    def action_open(self) -> None:
        if self.on_gpu:
            self.action_zoom()
            return
        job = self.job
        if self.fleet_row is not None:
            self.action_fleet_history()
            return
        if self.served is not None:
            self._open_served(self.served.name)
            return
        board = self._selected_board()
        if board is not None:
            self._open_results(board.job_id)
        elif (chain := self.queue.selected_chain) is not None:
            self._open_chain(chain.id)
        elif job is not None and kind_of(job.kind).has_leaderboard and job.state == "done":
            self._open_results(job.id)
        elif job is not None:
            self._open_job(job.id)

    def _selected_board(self) -> Board | None:
        """What is selected in the pane of leaderboards or in that of the fleet."""
        if self.pane_number == 4:
            return self.query_one(BakeoffPane).selected
        chosen = self.query_one(FleetPane).selected if self.pane_number == 1 else None
        return chosen if isinstance(chosen, Board) else None

    def action_results(self) -> None:
        board = self.query_one(BakeoffPane).selected
        if board is not None:
            self._open_results(board.job_id)

    def _open_results(self, job_id: int) -> None:
        from tui.screens.results import Results

        self.context.reader.want(job_id)
        self.app.push_screen(Results(self.context, job_id))

    def _open_chain(self, chain_id: int) -> None:
        from tui.screens.chain import ChainScreen

        self.app.push_screen(ChainScreen(self.context, chain_id, self.queue.selected_id))

    def _open_served(self, name: str) -> None:
        from tui.screens.served import ServedScreen

        self.app.push_screen(ServedScreen(self.context, name))

    def _open_job(self, job_id: int) -> None:
        from tui.screens.job import JobScreen

        self.app.push_screen(JobScreen(self.context, job_id))

    def on_detail_strip_opened(self) -> None:
        if self.fleet_row is not None:
            self.action_fleet_history()
        elif self.job is not None:
            self._open_job(self.job.id)

    def finished(self, request: RequestDone) -> None:
        """What was queued here is selected as soon as it is read."""
        if request.job_ids:
            self.queue.select_when_there(request.job_ids[0])

    # The rest

    def action_filter(self) -> None:
        if self.pane_number != 3:
            self.action_pane(3)
        field = self.query_one("#filter", TextField)
        field.value = self.queue.filter
        field.display = True
        self.query_one(Footer).display = False
        field.focus()

    def on_input_changed(self, event: TextField.Changed) -> None:
        self.queue.set_filter(event.value)

    def on_input_submitted(self) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter").display = False
        self.query_one(Footer).display = True
        self.pane.focus()
        self.refresh_keys()

    def action_clear_filter(self) -> None:
        self.query_one("#filter", TextField).value = ""
        self.queue.set_filter("")
        self._close_filter()

    def action_mark(self) -> None:
        self.queue.toggle_mark()
        self.refresh_keys()

    def action_view(self) -> None:
        self.query_one(DetailStrip).turn()

    def action_plan(self) -> None:
        from tui.screens.plan import PlanScreen

        self.app.push_screen(PlanScreen(self.context))

    def action_new_task(self) -> None:
        from tui.screens.new_task import NewTask

        self.app.push_screen(NewTask(self.context))

    def action_tasks(self) -> None:
        from tui.screens.tasks import TasksScreen

        self.app.push_screen(TasksScreen(self.context))

    def action_experiments(self) -> None:
        from tui.screens.experiments import ExperimentsScreen

        self.app.push_screen(ExperimentsScreen(self.context))

    def action_doctor(self) -> None:
        from tui.screens.doctor import DoctorScreen

        self.app.push_screen(DoctorScreen(self.context))

    def action_warnings(self) -> None:
        self.app.push_screen(warnings_screen(self.snapshot.warnings))

    def action_leave(self) -> None:
        self.app.exit()
