"""The keys for a task of the fleet, and for the fleet as a whole: the same on the dashboard and on the task's own screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.format import data_size, moment
from core.text import printable
from tui import fleet_requests
from tui.commands import Command, command
from tui.screens.confirm import Confirm
from tui.screens.served_actions import ServedActions

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow
    from tui.context import Context

GO = "Go to the fleet (1) and select a task or an alias."
GO_TASK = "Go to the fleet (1) and select a task."
GO_ALIAS = (
    "Go to the fleet (1) and select a task that has an alias; "
    "`bakehouse fleet promote judge job:12 --as vault-judge` gives the task `judge` its first one."
)


def of_task(screen: Any) -> bool:
    return screen.fleet_row is not None and screen.fleet_row.task is not None


def can_promote(screen: Any) -> bool:
    return of_task(screen) and screen.fleet_row.change is None


def why_no_promotion(screen: Any) -> str:
    row: FleetRow | None = screen.fleet_row
    if row is None or row.task is None:
        return GO_ALIAS
    return f"A move of {printable(row.alias.name)} is under way."


def can_roll_back(screen: Any) -> bool:
    row: FleetRow | None = screen.fleet_row
    return row is not None and row.change is None and (row.foreign or row.back is not None)


def why_no_rollback(screen: Any) -> str:
    row: FleetRow | None = screen.fleet_row
    if row is None:
        return GO
    if row.change is not None:
        return f"A move of {printable(row.alias.name)} is under way."
    return f"{printable(row.alias.name)} has no version before its present one: there is nothing to go back to."


def fleet_commands(rank: int) -> tuple[Command, ...]:
    """For a screen with `fleet_row` (a task of the fleet, or an alias without one)."""
    return (
        command(
            "u",
            "promote",
            "Promote: another model takes the place of what serves, its evidence first",
            "u",
            "promote",
            can_promote,
            rank,
            unless=why_no_promotion,
        ),
        command(
            "A",
            "adopt",
            "Adopt: take what serves already into the fleet",
            "A",
            "adopt_models",
            lambda screen: screen.on_fleet,
            rank + 1,
            unless="Go to the fleet (1).",
        ),
        command(
            "R",
            "roll back",
            "Roll back: the alias becomes what it was before, without a rebuild",
            "R",
            "roll_back",
            can_roll_back,
            rank,
            unless=why_no_rollback,
        ),
        command(
            "V",
            "versions",
            "Versions: what the present one and the former one differ in",
            "V",
            "versions",
            lambda screen: screen.fleet_row is not None and screen.fleet_row.before is not None,
            rank + 2,
            unless=why_no_rollback,
        ),
        command(
            "Y",
            "drift",
            "Drift: does what serves still answer as it did?",
            "Y",
            "drift",
            of_task,
            rank + 1,
            unless=GO_TASK,
        ),
    )


class FleetActions(ServedActions):
    """A part of a screen: what its keys do with the selected task of the fleet, and with what serves it."""

    if TYPE_CHECKING:
        app: Any
        context: Context

    def action_promote(self) -> None:
        if self.fleet_row is not None:
            from tui.screens.promotion import PromotionScreen

            self.app.push_screen(PromotionScreen(self.context, self.fleet_row))

    def action_roll_back(self) -> None:
        row = self.fleet_row
        if row is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                fleet_requests.roll_back(self.context, row)

        question, explanation = rollback_question(row, self.context.snapshot.time)
        self.app.push_screen(Confirm(question, explanation, "Roll back", leave="Keep it"), answered)

    @property
    def on_fleet(self) -> bool:
        """The fleet is looked at."""
        return True

    def action_adopt_models(self) -> None:
        from tui.screens.adopt import AdoptScreen  # its forms are those of pydantic models

        self.app.push_screen(AdoptScreen(self.context))

    def action_versions(self) -> None:
        if self.fleet_row is not None:
            from tui.screens.version_diff import VersionDiffScreen

            self.app.push_screen(VersionDiffScreen(self.context, self.fleet_row))

    def action_drift(self) -> None:
        row = self.fleet_row
        if row is not None:
            fleet_requests.check_for_drift(self.context, row)


def rollback_question(row: FleetRow, now: float) -> tuple[str, str]:
    """What comes back, and from where."""
    back = row.version if row.foreign else None if row.back is None else row.back.version
    assert back is not None  # `can_roll_back`
    model = back.model or (None if row.back is None or row.foreign else row.back.model) or "a model that is unknown"
    size = f", {data_size(back.size_bytes)}" if back.size_bytes else ""
    comes = f"version {back.number} comes back: {model}{size}, from {moment(back.created_at, now)}"
    if row.alias.is_served_here:
        where = "its llama-server starts with the file that it had"
    else:
        where = f"copied from {back.kept_as}" if back.kept_as else "copied from what the server keeps"
    if row.foreign and row.observed is not None and row.observed.is_gone:
        what_is_there = "Somebody else removed the alias: nothing is there now."
    elif row.foreign:
        what_is_there = "What somebody else put there is kept as a version of the alias."
    else:
        what_is_there = "What serves now stays a version of the alias."
    question = f"Roll back {row.alias.name}?"
    return question, f"{comes}; {where}, and nothing is built again. {what_is_there}"


def made_as(row: FleetRow) -> dict[str, str]:
    """How a new training for a task begins: as what serves it was made, as far as that is known."""
    made = {"task": row.task, "model": row.model, "recipe": row.lineage.recipe}
    return {name: value for name, value in made.items() if value}
