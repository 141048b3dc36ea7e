"""A task of the fleet in full: what serves it and why, what the alias was before, and its history."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.message import Message

from tui.commands import Command, bindings, command
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.failures import ask_beside
from tui.screens.command_screen import CommandScreen
from tui.screens.fleet_actions import FleetActions, fleet_commands
from tui.screens.parity_question import ParityQuestion
from tui.screens.served_actions import served_commands
from tui.widgets.canvas import Canvas
from tui.widgets.fleet_detail import fact_rows, remark_rows, title_of
from tui.widgets.fleet_history import history_rows, version_rows
from tui.widgets.fleet_rows import remarks, serving_of
from tui.widgets.footer import Footer
from tui.widgets.pane import framed
from tui.widgets.rows_view import RowsView
from tui.widgets.served_rows import ServingRow, serving_rows

if TYPE_CHECKING:
    from core.fleet.history import HistoryEntry
    from core.fleet.rows import FleetRow
    from core.store.fleet import AliasVersion

FACTS, SMALL_FACTS = 13, 9


@dataclass(frozen=True)
class AliasHistory:
    """What an alias was, newest first, and what became of it, oldest first."""

    versions: tuple[AliasVersion, ...] = ()
    entries: tuple[HistoryEntry, ...] = ()


class FleetFacts(Canvas):
    """What serves the task and what to know of it."""

    def __init__(self) -> None:
        super().__init__(id="facts")
        self.row: FleetRow | None = None
        self.serving: ServingRow | None = None
        self.now = 0.0

    def draw(self, width: int, height: int) -> list[Line]:
        row, inner = self.row, width - 4
        if row is None or self.serving is None:
            gone = [Line("It is no part of the fleet any more.", "dim")]
            return framed(gone, width, height, Line("alias", "bold"), Line(), "frame")
        facts = fact_rows(row, self.serving, self.now, inner)
        told = remark_rows(remarks(row, self.now), inner)[: max(1, height - 2 - 4)]
        return framed([*told, *facts], width, height, title_of(row), Line(), "frame")


class FleetTaskScreen(FleetActions, ParityQuestion, CommandScreen):
    heading = "Task of the fleet"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "down", "A row down", "j,down", "scroll(1)", rank=0, palette=False),
        command("k ↑", "up", "A row up", "k,up", "scroll(-1)", rank=0, palette=False),
        command("space", "page", "A page down", "space,pagedown,ctrl+f", "page(1)", rank=0, palette=False),
        command("page up", "page", "A page up", "pageup,ctrl+b", "page(-1)", rank=0, palette=False),
        *fleet_commands(rank=1),
        command("g", "top", "The first row", "g,home", "go(False)", rank=0, palette=False),
        command("G", "end", "The last row", "G,end", "go(True)", rank=0, palette=False),
        command(
            "o",
            "log",
            "Open the served model: its state, its address, its log",
            "o",
            "open_served",
            lambda screen: screen.served is not None,
            rank=3,
            unless="Bakehouse does not run what an Ollama serves.",
        ),
        *served_commands(rank=3),
        command("esc", "back", "Back to where it was opened", "escape,q", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class HistoryRead(Message):
        def __init__(self, found: AliasHistory | None, problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.problem = problem

    def __init__(self, context: Context, row: FleetRow) -> None:
        super().__init__(context)
        self.key = (row.alias.id, row.project_id, row.task)
        self.found: AliasHistory | None = None
        self.problem = ""
        self.seen: object = None
        """The fleet as it was when the history was read last."""

    @property
    def fleet_row(self) -> FleetRow | None:
        fleet = self.context.snapshot.fleet
        rows = () if fleet is None else fleet.rows
        return next((row for row in rows if (row.alias.id, row.project_id, row.task) == self.key), None)

    @property
    def serving(self) -> ServingRow | None:
        row = self.fleet_row
        return None if row is None else serving_of(row, serving_rows(self.context.snapshot))

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield FleetFacts()
        yield RowsView(id="rows")
        yield from self.last_line()

    def on_resize(self) -> None:
        self.query_one("#facts").styles.height = FACTS if self.app.size.height >= 32 else SMALL_FACTS

    def on_mount(self) -> None:
        self.query_one(RowsView).focus()
        self.show(self.context.snapshot)

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        facts = self.query_one(FleetFacts)
        facts.row, facts.serving, facts.now = self.fleet_row, self.serving, snapshot.time
        facts.paint()
        self._paint()
        if self.context.live and snapshot.fleet is not self.seen:
            self.seen = snapshot.fleet
            self.read()

    def _paint(self) -> None:
        self.query_one(RowsView).update(Line("Versions and history", "bold"), self._rows)
        self.query_one(Footer).paint()

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.problem:
            return [Line(f"✗ {row}", "bad") for row in wrapped(self.problem, width - 2)]
        if self.found is None:
            return [Line("reading the history …", "dim")]
        row, now, found = self.fleet_row, self.snapshot.time, self.found
        current = None if row is None else row.alias.version_id
        return [
            Line("  version", "dim").cut(width),
            *version_rows(found.versions, current, now, width),
            Line(),
            Line("  history, newest first", "dim").cut(width),
            *history_rows(found.entries, now, width),
        ]

    def read(self) -> None:
        ask_beside("fleet history", self._read, lambda line: self.HistoryRead(None, line), self.tell)

    def _read(self) -> HistoryRead:
        from core.fleet.history import fleet_history
        from core.fleet.names import reference_of
        from core.store.database import open_database
        from core.store.fleet import get_alias, versions

        with contextlib.closing(open_database(self.context.home)) as connection:
            alias = get_alias(connection, self.key[0])
            entries = fleet_history(connection, reference_of(alias))
            return self.HistoryRead(AliasHistory(tuple(reversed(versions(connection, alias.id))), tuple(entries)))

    def on_fleet_task_screen_history_read(self, message: HistoryRead) -> None:
        self.found, self.problem = message.found or self.found, message.problem
        self._paint()

    def action_open_served(self) -> None:
        from tui.screens.served import ServedScreen

        if self.served is not None:
            self.app.push_screen(ServedScreen(self.context, self.served.name))

    def action_scroll(self, step: int) -> None:
        self.query_one(RowsView).scroll_rows(step)

    def action_page(self, step: int) -> None:
        view = self.query_one(RowsView)
        view.scroll_rows(step * max(1, view.size.height - 3))

    def action_go(self, end: bool) -> None:
        self.query_one(RowsView).go(end)
