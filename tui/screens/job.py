"""One job in full: how it stands and how it came there, and its files, the log first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.message import Message

from core.format import when
from core.home import Home
from core.jobfile.kinds import JobKind, kind_of
from core.own_paths import located
from core.store.jobs import ACTIVE, JobRow, Transition
from core.telemetry.run_record import Summary, stored_summary
from core.text import printable
from core.wording.jobs import reason_words
from tui import actions
from tui.commands import Command, bindings, command
from tui.context import Context
from tui.event_text import event_row
from tui.lines import Line, side_by_side, wrapped
from tui.model.snapshot import EMPTY, Detail, Snapshot, progress_of
from tui.panes.gpu.runs import finding_rows, summary_parts, telemetry_rows
from tui.queries.failures import ask_beside
from tui.screens.job_actions import JobActions, queue_commands
from tui.screens.model_commands import about, model_commands
from tui.screens.rows_screen import ScrollingScreen
from tui.widgets.canvas import Canvas
from tui.widgets.chart import loss_chart
from tui.widgets.detail import facts, log_role
from tui.widgets.file_view import FileView
from tui.widgets.footer import Footer
from tui.widgets.job_row import NAMED_BY_THEIR_REASON, ladder_words, outcome, sign, state
from tui.widgets.memory_view import memory_rows
from tui.widgets.pane import framed
from tui.widgets.parity_rows import parity_rows
from tui.widgets.rows_view import RowsView
from tui.widgets.served_rows import deployed_rows

FACTS, SMALL_FACTS = 10, 6
"""Rows of the frame above the tabs, on a terminal of 80×24 fewer."""


class JobFacts(Canvas):
    """The job's state, its figures and its changes of state."""

    def __init__(self) -> None:
        super().__init__(id="facts")
        self.snapshot: Snapshot = EMPTY
        self.job: JobRow | None = None
        self.history: tuple[Transition, ...] = ()
        self.telemetry: tuple[tuple[int, Summary], ...] = ()
        self.home: Home | None = None

    def draw(self, width: int, height: int) -> list[Line]:
        job, now = self.job, self.snapshot.time
        if job is None:
            return framed([], width, height, Line("job", "bold"), Line(), "frame")
        inner = width - 4
        detail = self.snapshot.detail
        detail = detail if detail is not None and detail.job_id == job.id else None
        mark, role = sign(job)
        told = state(job, inner - 14, now)
        name = "" if job.state in NAMED_BY_THEIR_REASON else f" {job.state}"
        rows = [Line(f"{mark}{name}", role).add("  ").extend(told).cut(inner)]
        parts = facts(job, detail)
        if detail and detail.headline:
            parts.insert(0, (printable(detail.headline), "text"))
        if ladder := ladder_words(self.snapshot.ladders.get(job.id, 0)):
            parts.insert(1, (ladder, "warn"))
        rows.append(side_by_side(parts, width=inner))
        measured = detail.gpu if detail is not None and detail.gpu is not None else None
        measured = measured or next((one for number, one in reversed(self.telemetry) if number == job.attempt), None)
        if measured is not None:
            rows.append(Line("GPU: ").extend(side_by_side(summary_parts(measured), width=inner - 5)))
        deployed = deployed_rows(job, inner)
        rows += deployed
        if job.state not in ACTIVE and not deployed and len(outcome(job)) > inner - 22:
            rows += [Line(row, "dim") for row in list(wrapped(outcome(job), inner))[:3]]
        rows += [Line("→ ", "dim").add(printable(place)).cut(inner) for place in merged_places(self.home, job)]
        for change in self.history[-max(0, height - 2 - len(rows)) :]:
            attempt = f"attempt {change.attempt}" if change.attempt else ""
            line = (
                Line(f"{when(change.time, now):>6}  ", "dim").add(f"{change.to_state:<12}").add(f"{attempt:<11}", "dim")
            )
            why = printable(reason_words(change.reason))
            rows.append(line.add(f"{why}  " if why else "").add(printable(change.author), "dim").cut(inner))
        title = Line(f"{job.id} ", "bold").add(printable(job.title), "bold")
        return framed(rows, width, height, title, Line(f"submitted {when(job.submitted_at, now)}", "dim"), "frame")


def merged_places(home: Home | None, job: JobRow) -> list[str]:
    """Where the merged model of a finished export lies."""
    if home is None or job.state != "done":
        return []
    made = (job.result or {}).get("artefacts", [])
    return [located(home, item["path"]) for item in made if item["kind"] == "merged"]


def log_row(text: str) -> tuple[str, str]:
    return text, log_role(text)


def plain_row(text: str) -> tuple[str, str]:
    return text, "text"


TABS = ("Parity", "Log", "Loss", "Memory", "Events", "Config", "Manifest")
RANKS = {"export": 3, "ship": 3, "deploy": 2, "parity": 3, "stages": 6, "marking": 2, "why": 2}
SHIP_UNLESS = "Only a training run that has not failed can be shipped."


def tabs_of(kind: JobKind) -> tuple[str, ...]:
    """Those that a job of this kind has something for; what a job did to the GPU stands below its memory."""
    only = {"Parity": kind.has_parity, "Loss": kind.has_losses, "Memory": kind.has_forecast or kind.lane == "gpu"}
    return tuple(name for name in TABS if only.get(name, True))


class JobScreen(JobActions, ScrollingScreen):
    heading = "Job"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "down", "A row down", "j,down", "scroll(1)", rank=0, palette=False),
        command("k ↑", "up", "A row up; ends following", "k,up", "scroll(-1)", rank=0, palette=False),
        command("space", "page", "A page down", "space,pagedown,ctrl+f", "page(1)", rank=0, palette=False),
        command("page up", "page", "A page up", "pageup,ctrl+b", "page(-1)", palette=False, rank=0),
        command("g", "top", "The first row", "g,home", "go(False)", rank=1),
        command("G", "end, follow", "The last row, and follow what is written", "G,end", "go(True)", rank=1),
        command("←→", "sideways", "Move long lines sideways", "right", "sideways(20)", rank=0, palette=False),
        command("←", "back", "Move long lines back", "left", "sideways(-20)", rank=0, palette=False),
        command(
            "tab", "next tab", "The next tab: log, loss, memory, events, config, manifest", "tab", "turn(1)", rank=1
        ),
        command("shift+tab", "tab before", "The tab before", "shift+tab", "turn(-1)", rank=0, palette=False),
        command(
            "m",
            "memory",
            "Memory: forecast, measured peak, the steps of the ladder",
            "m",
            "tab('Memory')",
            lambda screen: "Memory" in screen.tabs,
            rank=3,
            unless="The memory of such a job is neither forecast nor measured.",
        ),
        *model_commands(about, RANKS, can_ship=about(actions.can_ship), ship_unless=SHIP_UNLESS),
        *queue_commands(about, whole_queue=False),
        command("esc", "back", "Back to the dashboard", "escape,q,enter", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class HistoryRead(Message):
        def __init__(
            self,
            history: tuple[Transition, ...],
            telemetry: tuple[tuple[int, Summary], ...] = (),
        ) -> None:
            super().__init__()
            self.history = history
            self.telemetry = telemetry

    def __init__(self, context: Context, job_id: int) -> None:
        super().__init__(context)
        self.job_id = job_id
        job = context.snapshot.job(job_id)
        self.tabs = tabs_of(kind_of("" if job is None else job.kind))
        self.tab = self.tabs[0]
        self.attempt = 0
        self.seen_state = ""
        self.telemetry: tuple[tuple[int, Summary], ...] = ()
        """(attempt, what it did to the GPU), of those that have ended."""

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield JobFacts()
        yield FileView()
        yield RowsView(id="rows")
        yield from self.last_line()

    @property
    def job(self) -> JobRow | None:
        return self.snapshot.job(self.job_id)

    @property
    def files(self) -> dict[str, tuple[Path, Callable[[str], tuple[str, str]], bool]]:
        """Of the tabs that show a file: where it is, how its rows are read, whether it is followed."""
        run = self.context.home.run_dir(self.job_id)
        attempt = run.attempt(max(1, self.attempt))
        return {
            "Log": (attempt.log, log_row, True),
            "Events": (attempt.events, event_row, True),
            "Config": (run.job_file, plain_row, False),
            "Manifest": (attempt.manifest, plain_row, False),
        }

    def on_resize(self) -> None:
        self.query_one("#facts").styles.height = FACTS if self.app.size.height >= 32 else SMALL_FACTS

    def on_mount(self) -> None:
        self.query_one(RowsView).display = False
        self.query_one(FileView).focus()
        self.show(self.context.snapshot)

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        job = self.job
        shown = self.query_one(JobFacts)
        shown.snapshot, shown.job, shown.home = snapshot, job, self.context.home
        shown.paint()
        if job is not None and (job.attempt != self.attempt or job.state != self.seen_state):
            fresh = job.attempt != self.attempt or not self.seen_state
            self.attempt, self.seen_state = job.attempt, job.state
            self._read_history()
            if fresh:
                self._open()
        self.query_one(FileView).paint()
        self._paint_rows()
        self.query_one(Footer).paint()

    @property
    def title_line(self) -> Line:
        title = Line()
        for name in self.tabs:
            title.add(f" {name} ", "chosen bold" if name == self.tab else "dim")
        return title

    @property
    def scrolled(self) -> FileView | RowsView:
        """What the present tab is shown by."""
        return self.query_one(FileView) if self.tab in self.files else self.query_one(RowsView)

    def _open(self) -> None:
        for widget in (self.query_one(FileView), self.query_one(RowsView)):
            widget.display = widget is self.scrolled
        self.scrolled.focus()
        if self.tab in self.files:
            path, spoken, follow = self.files[self.tab]
            above = self._noticed if self.tab == "Events" else lambda width: []
            self.query_one(FileView).open(path, self.title_line, spoken, follow=follow, above=above)
        else:
            self.query_one(RowsView).top = 0
            self._paint_rows()

    @property
    def detail(self) -> Detail | None:
        """The job's files, once they are read."""
        detail = self.snapshot.detail
        return detail if detail is not None and detail.job_id == self.job_id else None

    def _noticed(self, width: int) -> list[Line]:
        """What the runner noticed about the run, above what the run itself tells."""
        return finding_rows(self.detail.findings if self.detail else (), width)

    def _paint_rows(self) -> None:
        """The tabs that are no file."""
        view, job = self.query_one(RowsView), self.job
        if job is None or self.tab in self.files:
            return
        detail = self.detail
        if self.tab == "Memory":
            measured = self.telemetry
            view.update(
                self.title_line,
                lambda width, height: [*memory_rows(job, detail, width), *telemetry_rows(measured, width)],
            )
            return
        if self.tab == "Parity":
            found = (detail.parity if detail else None) or {}
            view.update(self.title_line, lambda width, height: parity_rows(found, width))
            return
        step = progress_of(job, detail).step
        right = "" if step is None else f"step {step:,}"
        losses, evals = (detail.losses, detail.evals) if detail else ((), ())
        view.update(self.title_line, lambda width, height: loss_chart(losses, evals, width, height, right))

    def _read_history(self) -> None:
        """In a thread: the database may be busy."""

        def read() -> JobScreen.HistoryRead:
            from core.store.attempts import list_attempts
            from core.store.database import open_database
            from core.store.jobs import history

            with contextlib.closing(open_database(self.context.home)) as connection:
                found = tuple(history(connection, self.job_id))
                attempts = list_attempts(connection, self.job_id)
            measured = ((attempt.number, stored_summary(attempt.telemetry)) for attempt in attempts)
            ended = tuple((number, one) for number, one in measured if one is not None)
            return self.HistoryRead(found, ended)

        if self.context.live:
            # Nothing is told of a failure: the feed says what is wrong with the home.
            ask_beside("history", read, lambda line: None, self.tell)

    def on_job_screen_history_read(self, message: HistoryRead) -> None:
        shown = self.query_one(JobFacts)
        shown.history, self.telemetry = message.history, message.telemetry
        shown.telemetry = message.telemetry
        shown.paint()
        self._paint_rows()

    def action_turn(self, step: int) -> None:
        self.action_tab(self.tabs[(self.tabs.index(self.tab) + step) % len(self.tabs)])

    def action_tab(self, name: str) -> None:
        self.tab = name
        self._open()

    def action_sideways(self, step: int) -> None:
        self.query_one(FileView).sideways(step)
