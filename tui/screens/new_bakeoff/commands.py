"""What one can ask for in the form of a bake-off."""

from __future__ import annotations

from typing import Final

from tui.commands import Command, command, hint

COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "⏎", "queue it", "Put the bake-off into the queue", "enter", "queue", lambda screen: not screen.adds, rank=1
    ),
    hint("⏎", "add it", "Add the candidate that is written", lambda screen: screen.adds, rank=1),
    hint("space", "tick", "Tick the selected task or candidate", lambda screen: screen.in_list, rank=1),
    hint("j k", "move", "The next row of the list, the row before", lambda screen: screen.in_list, rank=4),
    command("tab", "next field", "The next list or field", "tab", "app.focus_next", rank=1, palette=False),
    command(
        "shift+tab",
        "field before",
        "The list or field before",
        "shift+tab",
        "app.focus_previous",
        rank=0,
        palette=False,
    ),
    command(
        "@",
        "variant",
        "Add a variant of the selected candidate: @few_shot=2, @think=on, @system=FILE, @format=json, …",
        "at",
        "variant",
        lambda screen: screen.on_candidates,
        rank=1,
        unless="Go to the candidates first.",
    ),
    command(
        "+",
        "other",
        "Add a candidate that is not listed: a path, artefact:SHA, SERVER:MODEL",
        "plus",
        "other",
        lambda screen: screen.in_list,
        rank=2,
    ),
    command(
        "a",
        "all tasks",
        "Tick every task that can be scored, or none",
        "a",
        "all_tasks",
        lambda screen: screen.on_tasks,
        rank=2,
        unless="Go to the tasks first.",
    ),
    hint("← →", "choose", "Choose another value", lambda screen: screen.on_choice, rank=2),
    command("F5", "ask again", "Ask the servers for their models again", "f5", "read_servers", rank=4),
    command("esc", "leave", "Back without queueing anything", "escape", "app.pop_screen", rank=1),
    command("F1", "help", "Show the keys that work here", "f1", "help", rank=2),
)
