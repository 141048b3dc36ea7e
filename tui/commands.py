"""What a person can ask for. A key, an entry of the last line, of the palette and of the help come from one definition.

Each screen lists its commands. One that cannot be done now is hidden everywhere: `when` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.actions import parse
from textual.binding import Binding, BindingType
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen

from tui.actions import Outcome
from tui.lines import Line
from tui.model.snapshot import Snapshot


@dataclass(frozen=True)
class Command:
    """One thing to ask for. `keys` are (Textual's name of the key, action); `shown` is how the key is written."""

    shown: str
    label: str
    help: str
    keys: tuple[tuple[str, str], ...]
    when: Callable[[Any], bool] = lambda screen: True
    rank: int = 2
    """In the last line: the higher, the sooner it gives way where there is no room; 0 never."""
    short: str = ""
    palette: bool = True

    @property
    def action(self) -> str:
        return self.keys[0][1]

    @property
    def calls(self) -> set[tuple[str, tuple[object, ...]]]:
        """(name, parameters) of the screen's actions that it runs."""
        parsed = [parse(action) for _, action in self.keys]
        return {(name, parameters) for destination, name, parameters in parsed if not destination}


def command(
    shown: str,
    label: str,
    help: str,
    keys: str,
    action: str,
    when: Callable[[Any], bool] = lambda screen: True,
    rank: int = 2,
    short: str = "",
    palette: bool = True,
) -> Command:
    """A command whose comma-separated keys all do the same."""
    return Command(shown, label, help, tuple((key, action) for key in keys.split(",")), when, rank, short, palette)


def bindings(commands: Iterable[Command]) -> list[BindingType]:
    return [Binding(key, action, item.label, show=False) for item in commands for key, action in item.keys]


def keys_that_fit(commands: Iterable[Command], width: int) -> list[tuple[str, str]]:
    """(key, label) for the last line: labels are shortened first, then the lesser keys are left out (the highest rank
    first, in it the last one first)."""
    kept = [item for item in commands if item.rank]
    pairs = [(item.shown, item.label) for item in kept]
    while kept and not _fits(pairs, width):
        pairs = [(item.shown, item.short or item.label) for item in kept]
        if _fits(pairs, width):
            break
        least = max(item.rank for item in kept)
        kept.pop(next(index for index in range(len(kept) - 1, -1, -1) if kept[index].rank == least))
        pairs = [(item.shown, item.short or item.label) for item in kept]
    return pairs


def _fits(pairs: list[tuple[str, str]], width: int) -> bool:
    return sum(Line(f"{key} {label}  ").width for key, label in pairs) - 1 <= width


class CommandScreen(Screen[Any]):
    """A screen with commands. Subclasses set `commands` and `BINDINGS = bindings(commands)`, and implement the actions."""

    AUTO_FOCUS = ""  # each screen says itself what gets the focus
    commands: ClassVar[tuple[Command, ...]] = ()
    heading: ClassVar[str] = ""

    def show(self, snapshot: Snapshot) -> None:
        """Called with each new snapshot."""

    def finished(self, outcome: Outcome) -> None:
        """Called when a request of the console has ended."""

    def possible(self) -> list[Command]:
        """The commands that can be done now."""
        return [item for item in self.commands if item.when(self)]

    def keys(self, width: int) -> list[tuple[str, str]]:
        return keys_that_fit(self.possible(), width)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        found = [item for item in self.commands if (action, parameters) in item.calls]
        return any(item.when(self) for item in found) if found else True


def _entry(item: Command) -> str:
    return f"{item.help}  ({item.shown})" if item.shown else item.help


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
            yield DiscoveryHit(_entry(item), self._run(item), text=item.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for item in self._commands:
            text = _entry(item)
            if (score := matcher.match(text)) > 0:
                yield Hit(score, matcher.highlight(text), self._run(item), text=item.help)
