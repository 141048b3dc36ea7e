"""A served model in full: what it is, what it does now and why, where it answers, and what its llama-server prints."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from core.format import data_size, when
from core.text import printable
from tui.commands import Command, bindings, command
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.served_files import ServedNow
from tui.model.snapshot import Snapshot
from tui.screens.parity_question import ParityQuestion
from tui.screens.rows_screen import ScrollingScreen
from tui.screens.served_actions import ServedActions, served_commands
from tui.widgets.canvas import Canvas
from tui.widgets.file_view import FileView
from tui.widgets.footer import Footer
from tui.widgets.pane import framed
from tui.widgets.served_rows import ServingRow, serving_rows

FACTS, SMALL_FACTS = 10, 7
LABEL = 10


class ServedSummary(Canvas):
    """What a served model is and does."""

    def __init__(self) -> None:
        super().__init__(id="facts")
        self.served: ServedNow | None = None
        self.row: ServingRow | None = None
        self.now = 0.0

    def draw(self, width: int, height: int) -> list[Line]:
        served, row, inner = self.served, self.row, width - 4
        if served is None or row is None:
            return framed(
                [Line("It is there no more.", "dim")], width, height, Line("served model", "bold"), Line(), "frame"
            )
        phase = "serving " if row.role == "good" else ""
        rows = [Line(text, row.role) for text in wrapped(f"{row.sign} {phase}{row.told}", inner)][:3]
        record = served.record
        if record is not None:
            where = f"{record.url}, as model {record.name}"
            context = f"{record.context_length:,} tokens, {record.slots} at a time, {'GPU' if record.on_gpu else 'CPU'}"
            size = "" if row.size is None else f", holds {data_size(row.size)}"
            boot = "started at boot" if record.at_boot else "not started at boot"
            deployed = f"by job {record.job_id}" + (
                f", {when(record.created_at, self.now)}" if record.created_at else ""
            )
            for label, text in (
                ("address", where),
                ("task", f"{record.task} · {record.model}"),
                ("context", context + size),
                ("deployed", f"{deployed}; {boot}"),
                ("weights", f"sha256:{record.weights.removeprefix('sha256:')[:12]}  {record.file}"),
            ):
                rows.append(Line(label, "dim").to(LABEL).add(printable(text)).cut(inner))
        return framed(rows, width, height, Line(served.name, "bold"), Line("served model", "dim"), "frame")


class ServedScreen(ParityQuestion, ServedActions, ScrollingScreen):
    heading = "Served model"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "down", "A row down", "j,down", "scroll(1)", rank=0, palette=False),
        command("k ↑", "up", "A row up; ends following", "k,up", "scroll(-1)", rank=0, palette=False),
        command("space", "page", "A page down", "space,pagedown,ctrl+f", "page(1)", rank=0, palette=False),
        command("page up", "page", "A page up", "pageup,ctrl+b", "page(-1)", palette=False, rank=0),
        command("g", "top", "The first row", "g,home", "go(False)", rank=3),
        command("G", "end, follow", "The last row, and follow what is written", "G,end", "go(True)", rank=3),
        command("←→", "sideways", "Move long lines sideways", "right", "sideways(20)", rank=0, palette=False),
        command("←", "back", "Move long lines back", "left", "sideways(-20)", rank=0, palette=False),
        *served_commands(rank=1),
        command("esc", "back", "Back to the dashboard", "escape,q,enter", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context)
        self.name_of = name

    @property
    def serving(self) -> ServingRow | None:
        rows = serving_rows(self.context.snapshot)
        return next((row for row in rows if row.served is not None and row.name == self.name_of), None)

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield ServedSummary()
        yield FileView()
        yield from self.last_line()

    def on_resize(self) -> None:
        self.query_one("#facts").styles.height = FACTS if self.app.size.height >= 32 else SMALL_FACTS

    def on_mount(self) -> None:
        view = self.query_one(FileView)
        log = self.context.home.served_dir(self.name_of).log
        view.open(log, Line("Log of llama-server", "bold"), lambda text: (text, "text"), follow=True)
        view.focus()
        self.show(self.context.snapshot)

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        facts = self.query_one(ServedSummary)
        facts.row, facts.served, facts.now = self.serving, self.served, snapshot.time
        facts.paint()
        self.query_one(FileView).paint()
        self.query_one(Footer).paint()

    @property
    def scrolled(self) -> FileView:
        return self.query_one(FileView)

    def action_sideways(self, step: int) -> None:
        self.query_one(FileView).sideways(step)
