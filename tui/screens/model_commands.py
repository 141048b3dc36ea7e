"""The keys for what can be done with the model that a job makes: the same on the dashboard, on a job and on a chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.store.jobs import JobRow
from tui import actions
from tui.commands import Command, Condition, always, command

DEPLOY_UNLESS = "Select a job that makes a GGUF file for a task (conversion, quantisation) and has not failed."
STAGES_UNLESS = "Select a training run that has not failed: its stages end at the file that serves."
WHY_UNLESS = "Select a job that makes a model or looks at one: a training run, an export, a parity check, a bake-off."
EXPORT_UNLESS = "Select a training run, a merge or a conversion that has not failed: its model is exported."
MARK_UNLESS = "Select a set of drafts or a bake-off that has answers."
MARKING = "Mark: which of two answers is right? It becomes a golden input"
PARITY = "Parity: does what serves get the prompts it was trained on?"
SHIP = "Ship: from a training to a model that serves, as one chain"
USUAL_RANKS = {"export": 4, "ship": 7, "deploy": 4, "parity": 5, "stages": 6, "marking": 5, "why": 6}
"""Of the last line, by label: the higher, the sooner a key gives way."""


def model_commands(
    on_job: Callable[[Callable[[JobRow | None], bool]], Condition],
    ranks: Mapping[str, int],
    *,
    ship: str = SHIP,
    can_ship: Condition = always,
    ship_unless: str = "",
) -> tuple[Command, ...]:
    """`on_job` makes a condition about a job one about the screen, as for the commands of the queue."""

    def key(shown: str, label: str, help: str, test: Callable[[JobRow | None], bool], unless: str) -> Command:
        return command(shown, label, help, shown, label, on_job(test), rank=ranks[label], unless=unless)

    return (
        key(
            "e",
            "export",
            "Export: merge the run into its base, or make a GGUF file",
            actions.can_export,
            EXPORT_UNLESS,
        ),
        command("s", "ship", ship, "s", "ship", can_ship, rank=ranks["ship"], unless=ship_unless),
        key("d", "deploy", "Deploy: have the GGUF file serve, once it is proved", actions.makes_gguf, DEPLOY_UNLESS),
        key("y", "parity", PARITY, actions.makes_gguf, ""),
        # Where no file is selected, a dialog asks which model of a server is meant.
        command("y", "parity", PARITY, "y", "parity", on_job(lambda job: not actions.makes_gguf(job)), rank=0),
        key(
            "S",
            "stages",
            "Stages: where quality is lost between this adapter and what serves",
            actions.can_compare_stages,
            STAGES_UNLESS,
        ),
        key("M", "marking", MARKING, actions.can_mark, MARK_UNLESS),
        key("W", "why", "Why: what went wrong with the model, from what is on record", actions.can_ask_why, WHY_UNLESS),
    )


def about(test: Callable[[JobRow | None], bool]) -> Callable[[Any], bool]:
    """A condition about the job of a screen, for `Command.when`."""
    return lambda screen: test(screen.job)
