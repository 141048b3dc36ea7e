"""What two versions of an alias differ in: at first what it was before and what it is; other versions by keys."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from core.text import printable
from tui.commands import Command, bindings, command, scrolling
from tui.context import Context
from tui.lines import Line, folded
from tui.queries.failures import ask_beside
from tui.screens.rows_screen import RowsScreen, problem_rows

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow
    from core.fleet.version_diff import VersionDiff

LABEL = 12


class VersionDiffScreen(RowsScreen):
    heading = "Two versions"
    commands: ClassVar[tuple[Command, ...]] = (
        *scrolling(),
        command(
            "h l",
            "older, newer",
            "Another older version, or a newer one, beside the present one",
            "right,l",
            "turn(1)",
            lambda screen: len(screen.numbers) > 2 and (screen.found is not None or bool(screen.problem)),
            rank=1,
            unless="The alias has no further versions.",
        ),
        command("←", "older", "An older version", "left,h", "turn(-1)", rank=0, palette=False),
        command("esc", "back", "Back to the fleet", "escape,q", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class DiffRead(Message):
        """What they differ in, and the numbers of all versions; or why that is not known."""

        def __init__(self, found: VersionDiff | None, numbers: tuple[int, ...] = (), problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.numbers = numbers
            self.problem = problem

    def __init__(self, context: Context, row: FleetRow) -> None:
        super().__init__(context)
        self.row = row
        self.older: int | None = None
        """The number of the older version; None: what the alias was before."""
        self.pair: tuple[int, int] | None = None
        """The numbers of the two that were read last."""
        self.numbers: tuple[int, ...] = ()
        self.found: VersionDiff | None = None
        self.problem = ""

    def begin(self) -> None:
        self._ask()

    @property
    def rows_title(self) -> Line:
        return Line("Versions of ", "bold").add(printable(self.row.alias.name), "bold")

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.problem:
            return problem_rows(self.problem, width)
        if self.found is None:
            return [Line("reading both, asking the server of the alias …", "dim")]
        from core.wording.fleet_diff import diff_rows, diff_title

        rows = [*folded(Line(diff_title(self.found), "bold"), width), Line()]
        for label, text in diff_rows(self.found):
            role = "dim" if text.endswith("the same") or text == "unknown" else "text"
            rows += folded(Line(f"{printable(label):<{LABEL}}", "dim").add(text, role), width)
        for line in self.found.template:
            role = "good" if line.startswith("+") else "bad" if line.startswith("-") else "dim"
            rows += folded(Line("  ").add(line, role), width)
        return rows

    def _ask(self) -> None:
        if self.context.live:
            older = self.older
            ask_beside("diff", lambda: self._read(older), lambda line: self.DiffRead(None, problem=line), self.tell)

    def _read(self, older: int | None) -> DiffRead:
        """Templates and parameters are read where the versions are kept: a server is asked."""
        from core.aliases.observing import all_servers
        from core.fleet.version_diff import the_two, version_diff
        from core.fleet.version_texts import version_texts
        from core.store.database import open_database
        from core.store.fleet import get_alias, tasks_of, versions

        home = self.context.home
        with contextlib.closing(open_database(home)) as connection:
            alias = get_alias(connection, self.row.alias.id)
            pair = the_two(connection, alias, older, None)
            servers = all_servers(one.project_root for one in tasks_of(connection, alias.id))
            found = version_diff(home, connection, alias, pair, version_texts(home, alias, pair, servers))
            return self.DiffRead(found, tuple(one.number for one in versions(connection, alias.id)))

    def on_version_diff_screen_diff_read(self, message: DiffRead) -> None:
        self.found, self.problem = message.found, message.problem
        self.numbers = message.numbers or self.numbers
        if message.found is not None:
            self.pair = (message.found.before.version.number, message.found.after.version.number)
        self._paint()

    def action_turn(self, step: int) -> None:
        """Another version beside the present one, which stays."""
        if self.pair is None:
            return
        before, after = self.pair
        others = [one for one in self.numbers if one != after]
        at = others.index(before) if before in others else 0
        self.older = others[(at + step) % len(others)]
        self.found, self.problem = None, ""
        self._paint()
        self._ask()
