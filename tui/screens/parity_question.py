"""Which model of a server is checked: asked from wherever one looks at what serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui import actions

if TYPE_CHECKING:
    from tui.context import Context
    from tui.screens.start_parity import ParityAsked


class ParityQuestion:
    """A part of a screen."""

    if TYPE_CHECKING:
        app: Any
        context: Context

    def ask_parity(self, source: str = "", task: str = "", model: str = "") -> None:
        """Ask which served model is checked; at first the one that is named."""

        def answered(asked: ParityAsked | None) -> None:
            if asked is not None:
                actions.check_parity(self.context, asked.source, asked.task, asked.model)

        from tui.screens.start_parity import AskParity  # it reads the models of servers

        self.app.push_screen(AskParity(self.context, source, task, model), answered)
