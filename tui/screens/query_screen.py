"""A screen that asks about the project: its names, the memory of a run, a plan, what the model would see."""

from __future__ import annotations

from tui.context import Context
from tui.queries.background_queries import BackgroundQueries
from tui.screens.command_screen import CommandScreen


class QueryScreen(CommandScreen):
    """Asks in threads, from `queries.start()` on; the answers come as messages until the screen goes."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.problem = "reading the project …"
        self.queries = BackgroundQueries(context.home, context.find_project, self.tell)

    def on_unmount(self) -> None:
        self.queries.forget()
