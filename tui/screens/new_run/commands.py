"""What one can ask for in the form of a new run."""

from __future__ import annotations

from typing import Final

from tui.commands import Command, command, hint
from tui.screens.new_run.frames import FRAMES

TAKE = "F3"
"""The key that takes over what is to be preferred."""

COMMANDS: Final[tuple[Command, ...]] = (
    command("⏎", "queue it", "Put the run into the queue", "enter", "queue", rank=1),
    command("tab ↓", "next field", "The next field", "tab,down", "app.focus_next", rank=3, palette=False),
    command("↑", "field before", "The field before", "shift+tab,up", "app.focus_previous", rank=0, palette=False),
    hint("← →", "choose", "Choose another name; a letter jumps", rank=3),
    command(
        "F2",
        "next frame",
        "The next frame below the form: memory, data, queue",
        "f2",
        "frame",
        lambda screen: len(screen.frames_shown) < len(FRAMES),
        rank=1,
    ),
    command(
        TAKE,
        "take the better",
        "Change to the model and recipe that the plan prefers",
        "f3",
        "take_preferred",
        lambda screen: screen.preferred is not None,
        rank=1,
        short="better",
    ),
    command(
        "F4",
        "recipe's values",
        "Write the recipe's own values into the fields again",
        "f4",
        "recipe_values",
        lambda screen: bool(screen.form.changed or screen.form.problems),
        rank=3,
    ),
    command("page down", "next example", "The next example of the data", "pagedown", "example(1)", rank=2),
    command("page up", "example before", "The example before", "pageup", "example(-1)", rank=0),
    command("esc", "leave", "Back without queueing anything", "escape", "app.pop_screen", rank=1),
    command("F1", "help", "Show the keys that work here", "f1", "help", rank=1),
)
