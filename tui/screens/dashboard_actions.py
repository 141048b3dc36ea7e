"""What one can ask for on the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from core.store.jobs import JobRow
from tui import actions
from tui.commands import Command, command, without_key
from tui.screens.fleet_actions import GO, fleet_commands
from tui.screens.job_actions import queue_commands
from tui.screens.model_commands import USUAL_RANKS, model_commands
from tui.screens.served_actions import served_commands

NEW_TASK = "New task, from a data file"
DOCTOR = "The doctor: what is installed, what it can do, and what to mend"


NO_RESULTS = "No bake-off has a leaderboard yet."
BAKE_OFF_UNLESS = (
    "Select a training run or a merge that has not failed: a bake-off compares what it makes with its base."
)
NEW_BAKE_OFF = "New bake-off: tick tasks, candidates and their variants"


def can_compare(screen: Any) -> bool:
    """Whether a run is selected, or marked, that a bake-off can compare."""
    return bool(screen.runs_to_compare) and screen.serving is None


def beside_fleet(test: Callable[[JobRow | None], bool]) -> Callable[[Any], bool]:
    """A condition about the selected job, unless a model of the fleet is meant."""
    return lambda screen: screen.serving is None and test(screen.job)


def on_shown_job(test: Callable[[JobRow | None], bool]) -> Callable[[Any], bool]:
    """A condition about the selected job, for what changes the job: the queue must have the focus, which shows it."""
    return lambda screen: screen.on_jobs and test(screen.job)


COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        "pane",
        "Go to a pane",
        keys=tuple((str(n), f"pane({n})") for n in range(1, 5)),
        shown="1-4",
        rank=4,
        palette=False,
    ),
    command("tab", "next pane", "Go to the next pane", "tab", "turn(1)", rank=0, palette=False),
    command("shift+tab", "pane before", "Go to the pane before", "shift+tab", "turn(-1)", rank=0, palette=False),
    command("z", "zoom", "Show this pane alone, or all of them again", "z", "zoom", rank=5),
    command(
        "esc",
        "all panes",
        "Show all panes again",
        "escape",
        "unzoom",
        lambda screen: screen.zoomed,
        rank=1,
        unless="All panes are shown already.",
    ),
    command("j ↓", "down", "Next row", "j,down", "move(1)", rank=0, palette=False),
    command("k ↑", "up", "Row before", "k,up", "move(-1)", rank=0, palette=False),
    command("g", "top", "First row", "g,home", "move(-1000000)", rank=0, palette=False),
    command("G", "bottom", "Last row", "G,end", "move(1000000)", rank=0, palette=False),
    command("page down", "page", "A page down", "pagedown,ctrl+f", "move(10)", rank=0, palette=False),
    command("page up", "page", "A page up", "pageup,ctrl+b", "move(-10)", rank=0, palette=False),
    command(
        "v",
        "memory",
        "The selected job's memory or its log, in the strip",
        "v",
        "view",
        lambda screen: screen.trains,
        rank=4,
        unless="Select a training run: memory is forecast for those.",
    ),
    command("D", "doctor", DOCTOR, "D", "doctor", lambda screen: screen.on_gpu, rank=2),
    command("D", "doctor", DOCTOR, "D", "doctor", lambda screen: not screen.on_gpu, rank=0),
    command("p", "plan", "Plan: which models can be trained in how much memory", "p", "plan", rank=4),
    command("n", "new run", "New training run", "n", "new_run", rank=2, short="new"),
    command("t", "new task", NEW_TASK, "t", "new_task", lambda screen: not screen.snapshot.jobs, rank=2, short="task"),
    command(
        "t", "new task", NEW_TASK, "t", "new_task", lambda screen: bool(screen.snapshot.jobs), rank=6, short="task"
    ),
    command(
        "T",
        "tasks",
        "Tasks: golden inputs, checks, examples, problems",
        "T",
        "tasks",
        rank=5,
    ),
    command(
        "E",
        "experiments",
        "Experiments and tournaments: which model deserves to be trained",
        "E",
        "experiments",
        rank=6,
    ),
    command(
        "d",
        "demo",
        "Start the demo",
        "d",
        "demo",
        lambda screen: screen.fresh and not (screen.serving is None and actions.makes_gguf(screen.job)),
        rank=5,
        unless="A job of the demo is running, or a job is selected whose file can be deployed: d is for that.",
    ),
    command(
        "b",
        "bake-off",
        "Bake-off of the marked runs, or the selected one, against the base",
        "b",
        "bake_off",
        can_compare,
        rank=3,
        unless=BAKE_OFF_UNLESS,
    ),
    # Where a run can be baked off, `b` comes first, and its question leads on to the form.
    command(
        "B", "new bake-off", NEW_BAKE_OFF, "B", "new_bakeoff", lambda screen: not can_compare(screen), 4, "bake-off"
    ),
    command("B", "new bake-off", NEW_BAKE_OFF, "B", "new_bakeoff", can_compare, 6, "form"),
    command(
        "space",
        "mark",
        "Mark the run, so that one bake-off compares several",
        "space",
        "mark",
        on_shown_job(actions.can_bake_off),
        rank=6,
        unless="Go to the queue (3) and select a training run or a merge that has not failed.",
    ),
    command(
        "⏎",
        "open",
        "Open what is selected: a job's log, a leaderboard, the GPU",
        "enter",
        "open",
        lambda screen: screen.openable,
        rank=1,
        unless="Nothing is selected here.",
    ),
    *served_commands(rank=2),
    *fleet_commands(rank=2),
    command(
        "C",
        "challenge",
        "Challenge: a new base model held against the whole fleet, task by task",
        "C",
        "challenge",
        lambda screen: screen.on_fleet,
        rank=4,
        unless="Go to the fleet (1).",
    ),
    command(
        "H",
        "history",
        "History of a task of the fleet: what its alias was, who moved it, what was noticed",
        "H",
        "fleet_history",
        lambda screen: screen.fleet_row is not None,
        rank=4,
        unless=GO,
    ),
    *model_commands(beside_fleet, USUAL_RANKS),
    without_key(
        "results",
        "Open results: the newest leaderboard of a task",
        "results",
        lambda screen: screen.has_results,
        NO_RESULTS,
    ),
    without_key("fleet", "Go to pane Fleet", "pane(1)"),
    without_key("gpu", "Go to pane GPU", "pane(2)"),
    without_key("queue", "Go to pane Queue", "pane(3)"),
    without_key("bake-offs", "Go to pane Bake-off", "pane(4)"),
    *queue_commands(
        on_shown_job, whole_queue=True, elsewhere="Go to the queue first (3): it shows which job is meant."
    ),
    command("/", "filter", "Filter jobs", "slash", "filter", rank=4),
    command(
        "esc",
        "all jobs",
        "Show all jobs again",
        "escape",
        "clear_filter",
        lambda screen: screen.filtered,
        rank=1,
        unless="All jobs are shown already.",
    ),
    command(
        "w",
        "warnings",
        "Read the warnings",
        "w",
        "warnings",
        lambda screen: bool(screen.snapshot.warnings),
        rank=0,
        unless="There are no warnings.",
    ),
    command(":", "commands", "Find a command by its name", "colon", "palette", rank=3, palette=False),
    command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    command("q", "leave", "Leave the console; the jobs go on", "q", "leave", rank=1),
)
