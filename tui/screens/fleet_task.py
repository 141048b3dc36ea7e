"""A task of the fleet in full: what serves it and why, what the alias was before, and its history."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message
from textual.widget import Widget

from tui.commands import ENDS, Command, bindings, command, scrolling
from tui.context import Context
from tui.lines import Line
from tui.model.snapshot import Snapshot
from tui.queries.failures import ask_beside
from tui.screens.fleet_actions import FleetActions, fleet_commands
from tui.screens.parity_question import ParityQuestion
from tui.screens.rows_screen import RowsScreen, problem_rows
from tui.screens.served_actions import served_commands
from tui.widgets.canvas import Canvas
from tui.widgets.fleet_detail import fact_rows, remark_rows, title_of
from tui.widgets.fleet_history import history_rows, version_rows
from tui.widgets.fleet_rows import remarks, serving_of
from tui.widgets.pane import framed
from tui.widgets.served_rows import ServingRow, serving_rows

if TYPE_CHECKING:
    from core.fleet.history import HistoryEntry
    from core.fleet.rows import FleetRow
    from core.store.fleet import AliasVersion
    from core.store.fleet_changes import HistoryMark

FACTS, SMALL_FACTS = 13, 9


@dataclass(frozen=True)
class AliasHistory:
    """What an alias was, newest first, and what became of it, oldest first."""

    versions: tuple[AliasVersion, ...] = ()
    entries: tuple[HistoryEntry, ...] = ()
    mark: HistoryMark | None = None
    """By which is seen whether it has to be read again."""


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


class FleetTaskScreen(FleetActions, ParityQuestion, RowsScreen):
    heading = "Task of the fleet"
    commands: ClassVar[tuple[Command, ...]] = (
        *scrolling(),
        *fleet_commands(rank=1),
        *ENDS,
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

    def above_rows(self) -> Iterable[Widget]:
        yield FleetFacts()

    def on_resize(self) -> None:
        self.query_one("#facts").styles.height = FACTS if self.app.size.height >= 32 else SMALL_FACTS

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        facts = self.query_one(FleetFacts)
        facts.row, facts.serving, facts.now = self.fleet_row, self.serving, snapshot.time
        facts.paint()
        if self.context.live and snapshot.fleet is not self.seen:
            self.seen = snapshot.fleet
            self.read()

    @property
    def rows_title(self) -> Line:
        return Line("Versions and history", "bold")

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.problem:
            return problem_rows(self.problem, width)
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
        """The fleet is another one with each look of the runner at the servers, a history seldom: it can be long."""
        from core.fleet.history import fleet_history
        from core.fleet.names import reference_of
        from core.store.database import open_database
        from core.store.fleet import get_alias, versions
        from core.store.fleet_changes import history_mark

        known = self.found
        with contextlib.closing(open_database(self.context.home)) as connection:
            alias = get_alias(connection, self.key[0])
            mark = history_mark(connection, alias.id)  # first: what is written meanwhile is read once more
            if known is not None and known.mark == mark:
                return self.HistoryRead(known)
            entries = fleet_history(connection, reference_of(alias))
            return self.HistoryRead(AliasHistory(tuple(reversed(versions(connection, alias.id))), tuple(entries), mark))

    def on_fleet_task_screen_history_read(self, message: HistoryRead) -> None:
        self.found, self.problem = message.found or self.found, message.problem
        self._paint()

    def action_open_served(self) -> None:
        from tui.screens.served import ServedScreen

        if self.served is not None:
            self.app.push_screen(ServedScreen(self.context, self.served.name))
