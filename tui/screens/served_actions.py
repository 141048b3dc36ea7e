"""The keys for a model that serves: the same in the fleet and on the model's own screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tui import actions
from tui.commands import Command, command
from tui.screens.confirm import Confirm

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow
    from tui.context import Context
    from tui.model.served_files import ServedNow
    from tui.widgets.served_rows import ServingRow

GO = "Go to the fleet (1) and select a model that serves."


def can_start(screen: Any) -> bool:
    served: ServedNow | None = screen.served
    return served is not None and served.state is not None and not served.is_running


def can_stop(screen: Any) -> bool:
    served: ServedNow | None = screen.served
    return served is not None and served.is_running


def served_commands(rank: int) -> tuple[Command, ...]:
    """For a screen with `served` (a served model of the home) and `serving` (whatever serves there)."""

    def of_served(screen: Any) -> bool:
        return screen.served is not None

    def of_any(screen: Any) -> bool:
        return screen.serving is not None

    return (
        command("a", "start", "Start the served model", "a", "start_served", can_start, rank, unless=GO),
        command(
            "x",
            "stop",
            "Stop the served model until it is started again",
            "x",
            "stop_served",
            can_stop,
            rank,
            unless=GO,
        ),
        command(
            "X",
            "remove",
            "Remove the served model; its GGUF file stays",
            "X",
            "remove_served",
            of_served,
            rank + 1,
            unless=GO,
        ),
        command(
            "y",
            "check",
            "Parity: does this served model get the prompts it was trained on?",
            "y",
            "parity_served",
            of_any,
            rank,
            unless=GO,
        ),
        command(
            "b",
            "bake off",
            "Bake-off with the served model as a candidate",
            "b",
            "bake_off_served",
            of_any,
            rank,
            unless=GO,
        ),
    )


class ServedActions:
    """A part of a screen: what its keys do with the served model."""

    if TYPE_CHECKING:
        app: Any
        context: Context
        ask_parity: Callable[..., None]

        @property
        def serving(self) -> ServingRow | None: ...

    @property
    def fleet_row(self) -> FleetRow | None:
        """The task of the fleet, or the alias, that is meant; None where no alias is."""
        return None

    @property
    def served(self) -> ServedNow | None:
        """The served model of this home that is meant; None for a model of a server that Bakehouse does not run."""
        row = self.serving
        return None if row is None else row.served

    def action_start_served(self) -> None:
        if self.served is not None:
            actions.start_served(self.context, self.served.name)

    def action_stop_served(self) -> None:
        self._confirmed(
            "Stop {name}?",
            "Clients get no answer until it is started again (a), also after a restart of the machine.",
            "Stop it",
            actions.stop_served,
        )

    def action_remove_served(self) -> None:
        self._confirmed(
            "Remove {name}?",
            "It ends, and is forgotten with its log and its unit of systemd. The GGUF file stays, and can be deployed again.",
            "Remove it",
            actions.remove_served,
        )

    def _confirmed(self, question: str, explanation: str, act: str, do: Callable[[Context, str], None]) -> None:
        served = self.served
        if served is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                do(self.context, served.name)

        self.app.push_screen(Confirm(question.format(name=served.name), explanation, act, leave="Keep it"), answered)

    def action_parity_served(self) -> None:
        row = self.serving
        if row is None:
            return
        self.ask_parity(row.reference, *self._task_and_model())

    def action_bake_off_served(self) -> None:
        row = self.serving
        if row is None:
            return
        from tui.screens.new_bakeoff import NewBakeoff
        from tui.screens.new_bakeoff.choices import Choices

        task, base = self._task_and_model()
        candidates = [base] * bool(base) + [row.reference]
        self.app.push_screen(NewBakeoff(self.context, begun=Choices([task] * bool(task), candidates)))

    def _task_and_model(self) -> tuple[str, str]:
        """The task that what serves does, and its base model, by name; empty where that is not known."""
        fleet, served = self.fleet_row, self.served
        if fleet is not None:
            return fleet.task or "", fleet.model or ""
        record = None if served is None else served.record
        return ("", "") if record is None else (record.task, record.model)
