"""A screen with commands, the palette of them, and what all screens have alike: the first line, the last one, the help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.screen import Screen

from tui.actions import RequestDone
from tui.commands import Command, keys_that_fit
from tui.context import Context
from tui.model.snapshot import EMPTY, Snapshot
from tui.screens.dialog import leave_once
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

    @property
    def takes_keys(self) -> bool:
        """False while what is typed now would be lost: it waits until this is so (`tui/key_queue.py`)."""
        return True

    def first_line(self) -> ComposeResult:
        """Where one is, and the time."""
        with Horizontal(id="top"):
            yield Header()
            yield ClockLabel()

    def last_line(self) -> Iterator[Footer]:
        """The keys."""
        yield Footer(self.keys)

    @property
    def stands(self) -> bool:
        """False of a screen that is being put up (it asks for the snapshot itself once it stands) or taken away."""
        return self.is_running and self.is_attached and bool(self.query(Header)) and bool(self.query(Footer))

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

    def leave(self) -> None:
        """Close this screen, and what was opened over it meanwhile (its help, say)."""
        while self in self.app.screen_stack:
            self.app.pop_screen()

    def tell(self, message: Message, left: RequestDone | None = None) -> None:
        """Post a message from a thread. The screen may be gone by then: `left` is told as a notice in its place."""
        if self.is_running:
            self.post_message(message)
        elif left is not None:
            self.context.post(left)

    def possible(self) -> list[Command]:
        """The commands that can be done now."""
        return [item for item in self.commands if item.when(self)]

    def impossible(self) -> list[Command]:
        """The commands that cannot be done now, each once, without those that another entry offers in this moment."""
        offered = {(item.label, item.shown) for item in self.possible()}
        found: dict[tuple[str, str], Command] = {}
        for item in self.commands:
            if (item.label, item.shown) not in offered and not item.when(self):
                found.setdefault((item.label, item.shown), item)
        return list(found.values())

    def keys(self, width: int) -> list[tuple[str, str]]:
        return keys_that_fit(self.possible(), width)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        found = [item for item in self.commands if (action, parameters) in item.calls]
        return any(item.when(self) for item in found) if found else True

    def action_palette(self) -> None:
        self.app.action_command_palette()

    def action_help(self) -> None:
        self.app.push_screen(help_screen(self.heading, self.possible()))


class ConsolePalette(CommandPalette):
    """Textual's palette. The next key waits while the commands for the last one are looked up: ⏎ is about them."""

    @property
    def takes_keys(self) -> bool:
        return not any(worker.node is self and not worker.is_finished for worker in self.workers)

    def dismiss(self, result: Any = None) -> AwaitComplete:
        return leave_once(self, super().dismiss, result)

    def _action_command_list(self, action: str) -> None:
        # The list moves by pages of its lines, and has none where a low terminal leaves it no room.
        without_lines = not self.query_one(CommandList).scrollable_content_region.height
        super()._action_command_list(action.replace("page_", "cursor_") if without_lines else action)


class Palette(Provider):
    """The palette: the commands of the screen below it; behind them, dimmed, those that cannot be done now, with why not."""

    @property
    def _commands(self) -> list[tuple[Command, str]]:
        """(command, why it cannot be done now; empty where it can)"""
        screen = self.screen
        if not isinstance(screen, CommandScreen):
            return []
        possible = [(item, "") for item in screen.possible() if item.palette]
        return possible + [(item, item.why_not(screen)) for item in screen.impossible() if item.palette]

    def _run(self, item: Command, why_not: str) -> Callable[[], Any]:
        screen = self.screen
        if why_not:
            return lambda: screen.notify(f"{item.label}: {why_not}", severity="warning", markup=False, timeout=8)
        return lambda: screen.run_action(item.action)

    async def discover(self) -> Hits:
        for item, why_not in self._commands:
            shown = entry(Content(item.entry), why_not)
            yield DiscoveryHit(shown, self._run(item, why_not), text=item.help)

    async def search(self, query: str) -> Hits:
        """Those in which each word of the query occurs; only where there are none, those that its letters occur in."""
        matcher = self.matcher(query)
        words = query.casefold().split()
        scored = [(item, why, matcher.match(item.entry)) for item, why in self._commands]
        exact = [one for one in scored if all(word in one[0].searched for word in words)]
        for item, why_not, score in exact or scored:
            if item.label.casefold().startswith(query.casefold()):
                score += 1.0  # the name itself, before texts in which it occurs
            if score > 0 or exact:
                shown = entry(matcher.highlight(item.entry), why_not)
                yield Hit(score, shown, self._run(item, why_not), text=item.help)


def entry(shown: Content, why_not: str) -> Content:
    """A row of the palette; what cannot be done now is dimmed, with why not below it."""
    return Content.assemble(shown, ("\n  " + why_not)).stylize("dim") if why_not else shown
