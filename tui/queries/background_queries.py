"""What screens ask beside the console: the names of the project, the memory of a run, a plan, what the model would see."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from core.errors import BakehouseError
from core.home import Home
from tui.queries.audit import AuditWish, Seen, see
from tui.queries.catalogue import Catalogue, read_catalogue
from tui.queries.latest_only import LatestOnly
from tui.queries.run_forecast import Outlook, Planned, PlanWish, RunQuery, look, make_plan

if TYPE_CHECKING:
    from core.config.project import Project


class CatalogueRead(Message):
    """The project's files are read, or why they are not."""

    def __init__(self, catalogue: Catalogue, problem: str = "") -> None:
        super().__init__()
        self.catalogue = catalogue
        self.problem = problem


class Looked(Message):
    """The outlook on what was asked."""

    def __init__(self, wish: RunQuery, outlook: Outlook) -> None:
        super().__init__()
        self.wish = wish
        self.outlook = outlook


class Counted(Message):
    """The audit of what was asked."""

    def __init__(self, wish: AuditWish, seen: Seen) -> None:
        super().__init__()
        self.wish = wish
        self.seen = seen


class Made(Message):
    """The plan that was asked for."""

    def __init__(self, wish: PlanWish, planned: Planned) -> None:
        super().__init__()
        self.wish = wish
        self.planned = planned


class BackgroundQueries:
    """Asks in threads; `tell` is called from there with one of the messages above. Only the newest questions are answered."""

    def __init__(self, home: Home, find_project: Callable[[], Project], tell: Callable[[Message], None]) -> None:
        self.home = home
        self.find_project = find_project
        self.tell = tell
        self.catalogue = Catalogue()
        self.memory: LatestOnly[RunQuery, Outlook] = LatestOnly(
            "outlook",
            lambda wish: look(self.home, self.catalogue, wish),
            lambda wish, outlook: self.tell(Looked(wish, outlook)),
        )
        self.audit: LatestOnly[AuditWish, Seen] = LatestOnly(
            "audit",
            lambda wish: see(self.home, self.find_project, wish),
            lambda wish, seen: self.tell(Counted(wish, seen)),
        )

        self.plan: LatestOnly[PlanWish, Planned] = LatestOnly(
            "plan",
            lambda wish: make_plan(self.home, self.catalogue, wish),
            lambda wish, planned: self.tell(Made(wish, planned)),
        )

    def start(self) -> None:
        threading.Thread(target=self._read, name="catalogue", daemon=True).start()

    def _read(self) -> None:
        """Reads every file of the project."""
        try:
            self.catalogue = read_catalogue(self.home, self.find_project())
            read = CatalogueRead(self.catalogue)
        except (BakehouseError, OSError) as error:
            read = CatalogueRead(Catalogue(), str(error))
        self.tell(read)

    def forget(self) -> None:
        self.memory.forget()
        self.audit.forget()
        self.plan.forget()
