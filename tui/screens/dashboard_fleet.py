"""What of the fleet the dashboard looks at, and the screens that it opens for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui.panes.fleet import FleetPane
from tui.screens.command_screen import CommandScreen
from tui.screens.fleet_actions import FleetActions, made_as
from tui.widgets.fleet_rows import serving_of
from tui.widgets.served_rows import ServingRow

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow


class DashboardFleet(FleetActions, CommandScreen):
    """A part of the dashboard."""

    pane_number = 3
    composed = False

    if TYPE_CHECKING:
        ask_ship: Callable[..., None]

    @property
    def serving(self) -> ServingRow | None:
        """The selected model of the fleet, while one looks at it."""
        if not self.on_fleet:
            return None
        fleet = self.query_one(FleetPane)
        if (row := fleet.selected_row) is not None:
            return serving_of(row, fleet.all_serving)
        return fleet.selected if isinstance(fleet.selected, ServingRow) else None

    @property
    def on_fleet(self) -> bool:
        """The fleet is looked at."""
        return self.composed and self.pane_number == 1

    @property
    def fleet_row(self) -> FleetRow | None:
        """The selected task of the fleet, or alias without one, while one looks at it."""
        return self.query_one(FleetPane).selected_row if self.on_fleet else None

    def action_fleet_history(self) -> None:
        if self.fleet_row is not None:
            from tui.screens.fleet_task import FleetTaskScreen

            self.app.push_screen(FleetTaskScreen(self.context, self.fleet_row))

    def action_ship(self) -> None:
        """About the selected task of the fleet where one is looked at: as what serves it was made."""
        if self.fleet_row is not None:
            self.ask_ship(None, begun=made_as(self.fleet_row))
        else:
            super().action_ship()  # type: ignore[misc]  # of the dashboard's other part

    def action_challenge(self) -> None:
        from tui.screens.challenge import ChallengeScreen

        self.app.push_screen(ChallengeScreen(self.context))
