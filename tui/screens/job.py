"""One job in full: how it stands and how it came there, and its files, the log first."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message

from core.errors import BakehouseError
from core.store.jobs import ACTIVE, JobRow, Transition
from tui.commands import Command, CommandScreen, bindings, command
from tui.lines import Line, side_by_side, wrapped
from tui.panes.queue import outcome, sign, state
from tui.snapshot import EMPTY, Snapshot
from tui.widgets.canvas import Canvas
from tui.widgets.detail import facts, log_role
from tui.widgets.fileview import FileView
from tui.widgets.header import Clock, Header
from tui.widgets.keyline import KeyLine
from tui.widgets.pane import framed
from tui.words import safe, when

if TYPE_CHECKING:
    from tui.app import ConsoleApp

HISTORY_ROWS = 6


class JobFacts(Canvas):
    """The job's state, its figures and its changes of state."""

    def __init__(self) -> None:
        super().__init__(id="facts")
        self.snapshot: Snapshot = EMPTY
        self.job: JobRow | None = None
        self.history: tuple[Transition, ...] = ()

    def draw(self, width: int, height: int) -> list[Line]:
        job, now = self.job, self.snapshot.time
        if job is None:
            return framed([], width, height, Line("job", "bold"), Line(), "frame")
        inner = width - 4
        detail = self.snapshot.detail
        detail = detail if detail is not None and detail.job_id == job.id else None
        mark, role = sign(job)
        told = state(job, inner - 14, now)
        name = "" if job.state in told.plain else f" {job.state}"
        rows = [Line(f"{mark}{name}", role).add("  ").extend(told).cut(inner)]
        parts = facts(job, detail)
        if detail and detail.headline:
            parts.insert(0, (safe(detail.headline), "text"))
        rows.append(side_by_side(parts, width=inner))
        if job.state not in ACTIVE and len(outcome(job)) > inner - 22:
            rows += [Line(row, "dim") for row in list(wrapped(outcome(job), inner))[:3]]
        for change in self.history[-max(0, height - 2 - len(rows)) :]:
            attempt = f"attempt {change.attempt}" if change.attempt else ""
            line = (
                Line(f"{when(change.time, now):>6}  ", "dim").add(f"{change.to_state:<12}").add(f"{attempt:<11}", "dim")
            )
            rows.append(line.add(safe(change.reason)).add(f"  {safe(change.author)}", "dim").cut(inner))
        title = Line(f"{job.id} ", "bold").add(safe(job.title), "bold")
        return framed(rows, width, height, title, Line(f"submitted {when(job.submitted_at, now)}", "dim"), "frame")


class JobScreen(CommandScreen):
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
        command("tab", "next file", "The next file: log, events, config, manifest", "tab", "turn(1)", rank=1),
        command("shift+tab", "file before", "The file before", "shift+tab", "turn(-1)", rank=0, palette=False),
        command("esc", "back", "Back to the dashboard", "escape,q,enter", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    if TYPE_CHECKING:
        app: ConsoleApp

    class HistoryRead(Message):
        def __init__(self, history: tuple[Transition, ...]) -> None:
            super().__init__()
            self.history = history

    def __init__(self, job_id: int) -> None:
        super().__init__()
        self.job_id = job_id
        self.index = 0
        self.attempt = 0
        self.seen_state = ""

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Header()
            yield Clock()
        yield JobFacts()
        yield FileView()
        yield KeyLine(self.keys)

    @property
    def files(self) -> list[tuple[str, Path, Callable[[str], str], bool]]:
        run = self.app.home.run_dir(self.job_id)
        attempt = run.attempt(max(1, self.attempt))

        def plain(_: str) -> str:
            return "text"

        return [
            ("Log", attempt.log, log_role, True),
            ("Events", attempt.events, plain, True),
            ("Config", run.job_file, plain, False),
            ("Manifest", attempt.manifest, plain, False),
        ]

    def on_mount(self) -> None:
        self.show(self.app.snapshot)
        self.query_one(FileView).focus()

    def show(self, snapshot: Snapshot) -> None:
        job = snapshot.job(self.job_id)
        self.query_one(Header).show(snapshot)
        self.query_one(Clock).show(snapshot.time, seconds=not self.app.low_bandwidth)
        shown = self.query_one(JobFacts)
        shown.snapshot, shown.job = snapshot, job
        shown.paint()
        if job is not None and (job.attempt != self.attempt or job.state != self.seen_state):
            fresh = job.attempt != self.attempt or not self.seen_state
            self.attempt, self.seen_state = job.attempt, job.state
            self._read_history()
            if fresh:
                self._open()
        self.query_one(FileView).paint()
        self.query_one(KeyLine).paint()

    def _open(self) -> None:
        _, path, role, follow = self.files[self.index]
        title = Line()
        for index, (other, *_) in enumerate(self.files):
            title.add(f" {other} ", "chosen bold" if index == self.index else "dim")
        self.query_one(FileView).open(path, title, role, follow=follow)

    def _read_history(self) -> None:
        """In a thread: the database may be busy."""

        def read() -> None:
            from core.store.database import open_database
            from core.store.jobs import history

            try:
                with contextlib.closing(open_database(self.app.home)) as connection:
                    found = tuple(history(connection, self.job_id))
            except (BakehouseError, OSError, sqlite3.Error):
                return  # the feed says what is wrong with the home
            self.post_message(self.HistoryRead(found))

        if self.app.live:
            threading.Thread(target=read, name="history", daemon=True).start()

    def on_job_screen_history_read(self, message: HistoryRead) -> None:
        shown = self.query_one(JobFacts)
        shown.history = message.history
        shown.paint()

    def action_turn(self, step: int) -> None:
        self.index = (self.index + step) % len(self.files)
        self._open()

    def action_scroll(self, step: int) -> None:
        self.query_one(FileView).scroll_rows(step)

    def action_page(self, step: int) -> None:
        view = self.query_one(FileView)
        view.scroll_rows(step * max(1, view.size.height - 3))

    def action_go(self, end: bool) -> None:
        self.query_one(FileView).go(end)

    def action_sideways(self, step: int) -> None:
        self.query_one(FileView).sideways(step)

    def action_palette(self) -> None:
        self.app.action_command_palette()

    def action_help(self) -> None:
        from tui.screens.help import help_screen

        self.app.push_screen(help_screen(self.heading, self.possible()))
