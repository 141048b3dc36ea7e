"""A screen with commands, the palette of them, and what all screens have alike: the first line, the last one, the help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen

from tui.actions import RequestDone
from tui.commands import Command, keys_that_fit
from tui.context import Context
from tui.model.snapshot import EMPTY, Snapshot
from tui.screens.help import help_screen
from tui.widgets.footer import Footer
from tui.widgets.header import ClockLabel, Header


class CommandScreen(Screen[Any]):
    """Subclasses set `commands` and `BINDINGS = bindings(commands)`, and implement the actions."""

    AUTO_FOCUS = ""  # each screen says itself what gets the focus
    commands: ClassVar[tuple[Command, ...]] = ()
    heading: ClassVar[str] = ""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.snapshot: Snapshot = EMPTY

    def first_line(self) -> ComposeResult:
        """Where one is, and the time."""
        with Horizontal(id="top"):
            yield Header()
            yield ClockLabel()

    def last_line(self) -> Iterator[Footer]:
        """The keys."""
        yield Footer(self.keys)

    def show(self, snapshot: Snapshot) -> None:
        """Called with each new snapshot."""
        self.snapshot = snapshot
        self.query_one(Header).show(snapshot)
        self.query_one(ClockLabel).show(snapshot.time, seconds=self.shows_seconds)

    @property
    def shows_seconds(self) -> bool:
        """A clock that ticks is a redrawn row each second."""
        return not self.context.low_bandwidth

    def finished(self, request: RequestDone) -> None:
        """Called when a request of the console has ended."""

    def tell(self, message: Message) -> None:
        """Post a message from a thread: the screen may be gone by then."""
        if self.is_running:
            self.post_message(message)

    def possible(self) -> list[Command]:
        """The commands that can be done now."""
        return [item for item in self.commands if item.when(self)]

    def keys(self, width: int) -> list[tuple[str, str]]:
        return keys_that_fit(self.possible(), width)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        found = [item for item in self.commands if (action, parameters) in item.calls]
        return any(item.when(self) for item in found) if found else True

    def action_palette(self) -> None:
        self.app.action_command_palette()

    def action_help(self) -> None:
        self.app.push_screen(help_screen(self.heading, self.possible()))


class Palette(Provider):
    """The palette: the commands of the screen below it that can be done now."""

    @property
    def _commands(self) -> list[Command]:
        screen = self.screen
        return [item for item in screen.possible() if item.palette] if isinstance(screen, CommandScreen) else []

    def _run(self, item: Command) -> Callable[[], Any]:
        screen = self.screen
        return lambda: screen.run_action(item.action)

    async def discover(self) -> Hits:
        for item in self._commands:
            yield DiscoveryHit(item.entry, self._run(item), text=item.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for item in self._commands:
            if (score := matcher.match(item.entry)) > 0:
                yield Hit(score, matcher.highlight(item.entry), self._run(item), text=item.help)
