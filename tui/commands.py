"""What a person can ask for. A key, an entry of the last line, of the palette and of the help come from one definition.

Each screen lists its commands. One that cannot be done now (`when`) is left out of the last line and the help; the palette
lists it with why not (`unless`). A command needs no key. A hint is the opposite: a key that the focused widget handles itself,
and that is only named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from textual.actions import parse
from textual.binding import Binding, BindingType

from tui.lines import Line

Condition = Callable[[Any], bool]
"""Asked with the screen: can it be done now?"""
Why = str | Callable[[Any], str]
"""Why it cannot be done now and when it could, as words or asked with the screen."""


def always(screen: Any) -> bool:
    return True


@dataclass(frozen=True)
class Command:
    """One thing to ask for."""

    label: str
    """In the last line."""
    help: str
    """A sentence, in the help and the palette."""
    action: str = ""
    """Textual's action that does it, such as `move(1)`; empty of a hint."""
    keys: tuple[tuple[str, str], ...] = ()
    """(Textual's name of a key, its action)."""
    shown: str = ""
    """How the key is written; empty of a command without one."""
    when: Condition = always
    rank: int = 2
    """In the last line: the higher, the sooner it gives way where there is no room; 0 never stands there."""
    short: str = ""
    """The label where there is little room."""
    palette: bool = True
    unless: Why = ""

    def why_not(self, screen: Any) -> str:
        """Why it cannot be done now, and when it could be."""
        return (self.unless if isinstance(self.unless, str) else self.unless(screen)) or "Not available here now."

    @property
    def calls(self) -> set[tuple[str, tuple[object, ...]]]:
        """(name, parameters) of the screen's actions that it runs."""
        parsed = [parse(action) for action in {self.action, *(action for _, action in self.keys)} - {""}]
        return {(name, parameters) for destination, name, parameters in parsed if not destination}

    @property
    def searched(self) -> str:
        """What the palette looks for words in."""
        return f"{self.label} {self.help}".casefold()

    @property
    def entry(self) -> str:
        """The command in the palette."""
        return f"{self.help}  ({self.shown})" if self.shown else self.help


def command(
    shown: str,
    label: str,
    help: str,
    keys: str,
    action: str,
    when: Condition = always,
    rank: int = 2,
    short: str = "",
    palette: bool = True,
    unless: Why = "",
) -> Command:
    """A command whose comma-separated keys all do the same."""
    bound = tuple((key, action) for key in keys.split(","))
    return Command(label, help, action, bound, shown, when, rank, short, palette, unless)


def scrolling(down: str = "A row down", up: str = "A row up", page_rank: int = 0) -> tuple[Command, ...]:
    """The keys of a screen whose rows scroll by rows and pages; `down` and `up` say what a step does, in the help."""
    return (
        command("j ↓", "down", down, "j,down", "scroll(1)", rank=0, palette=False),
        command("k ↑", "up", up, "k,up", "scroll(-1)", rank=0, palette=False),
        command("space", "page", "A page down", "space,pagedown,ctrl+f", "page(1)", rank=page_rank, palette=False),
        command("page up", "page", "A page up", "pageup,ctrl+b", "page(-1)", rank=0, palette=False),
    )


def without_key(label: str, help: str, action: str, when: Condition = always, unless: Why = "") -> Command:
    """A command that the palette alone offers."""
    return Command(label, help, action, when=when, rank=0, unless=unless)


ENDS = (
    command("g", "top", "The first row", "g,home", "go(False)", rank=0, palette=False),
    command("G", "end", "The last row", "G,end", "go(True)", rank=0, palette=False),
)


def hint(shown: str, label: str, help: str, when: Condition = always, rank: int = 2) -> Command:
    """A key that the focused widget handles itself, for the last line and the help."""
    return Command(label, help, shown=shown, when=when, rank=rank, palette=False)


def bindings(commands: Iterable[Command]) -> list[BindingType]:
    return [Binding(key, action, item.label, show=False) for item in commands for key, action in item.keys]


def keys_that_fit(commands: Iterable[Command], width: int) -> list[tuple[str, str]]:
    """(key, label) for the last line: labels are shortened first, then the lesser keys are left out (the highest rank
    first, in it the last one first)."""
    kept = [item for item in commands if item.rank and item.shown]
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
