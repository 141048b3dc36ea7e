"""What one can ask for on the screen of a promotion."""

from __future__ import annotations

from typing import Any, Final

from tui.commands import Command, command, hint, scrolling


def reads_keys(screen: Any) -> bool:
    """A letter is a key and not one of what is written."""
    return not screen.is_writing


PROMOTION_COMMANDS: Final[tuple[Command, ...]] = (
    *scrolling("The next candidate, or a row down", "The candidate before, or a row up"),
    command(
        "⏎",
        "look at it",
        "Ask the gate about the selected candidate",
        "enter",
        "look",
        lambda screen: screen.is_choosing and bool(screen.candidates) and not screen.is_writing,
        rank=1,
        unless="There is no candidate to choose.",
    ),
    command(
        "w",
        "write",
        "Write another candidate: SERVER:MODEL, served:NAME, job:12",
        "w",
        "write",
        lambda screen: screen.is_choosing and not screen.is_writing,
        rank=2,
        unless="A candidate has been chosen.",
    ),
    command(
        "⏎",
        "promote",
        "Promote the candidate; what the gate does not pass needs a reason, which is kept",
        "enter",
        "promote",
        lambda screen: screen.can_promote,
        rank=1,
        unless="There is no evidence yet to decide by.",
    ),
    command(
        "b",
        "bake off",
        "Bake-off of the candidate against what serves",
        "b",
        "bake_off",
        lambda screen: screen.reference != "" and not screen.is_moving and not screen.is_writing,
        rank=2,
        unless="Choose a candidate first.",
    ),
    command(
        "c",
        "candidates",
        "Choose another candidate",
        "c",
        "choose",
        lambda screen: not screen.is_choosing and not screen.is_moving and not screen.is_writing,
        rank=2,
        unless="The candidates are shown already.",
    ),
    command("r", "ask again", "Ask the gate again", "r", "ask_again", lambda screen: screen.can_ask, rank=3),
    hint("⏎", "go on", "Go on with what is written", lambda screen: screen.is_writing, rank=1),
    command("esc", "back", "Back to where it was opened; a move goes on", "escape,q", "leave", rank=1),
    command(":", "commands", "Find a command by its name", "colon", "palette", reads_keys, palette=False),
    command("?", "help", "Show the keys that work here", "question_mark", "help", reads_keys, rank=1),
)
