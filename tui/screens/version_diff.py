"""What two versions of an alias differ in: at first what it was before and what it is; other versions by keys."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.message import Message

from core.text import printable
from tui.commands import Command, bindings, command
from tui.context import Context
from tui.lines import Line, folded, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.failures import ask_beside
from tui.screens.command_screen import CommandScreen
from tui.widgets.footer import Footer
from tui.widgets.rows_view import RowsView

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow
    from core.fleet.version_diff import VersionDiff

LABEL = 12


class VersionDiffScreen(CommandScreen):
    heading = "Two versions"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "down", "A row down", "j,down", "scroll(1)", rank=0, palette=False),
        command("k ↑", "up", "A row up", "k,up", "scroll(-1)", rank=0, palette=False),
        command("space", "page", "A page down", "space,pagedown,ctrl+f", "page(1)", rank=0, palette=False),
        command("page up", "page", "A page up", "pageup,ctrl+b", "page(-1)", rank=0, palette=False),
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

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield RowsView(id="rows")
        yield from self.last_line()

    def on_mount(self) -> None:
        self.query_one(RowsView).focus()
        self.show(self.context.snapshot)
        self._ask()

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        self._paint()

    def _paint(self) -> None:
        self.query_one(RowsView).update(
            Line("Versions of ", "bold").add(printable(self.row.alias.name), "bold"), self._rows
        )
        self.query_one(Footer).paint()

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.problem:
            return [Line(f"✗ {row}", "bad") for row in wrapped(printable(self.problem), width - 2)]
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

    def action_scroll(self, step: int) -> None:
        self.query_one(RowsView).scroll_rows(step)

    def action_page(self, step: int) -> None:
        view = self.query_one(RowsView)
        view.scroll_rows(step * max(1, view.size.height - 3))
