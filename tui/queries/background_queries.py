"""What screens ask beside the console: the names of the project, the memory of a run, a plan, what the model would see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from core.home import Home
from tui.queries.audit import AuditAnswer, AuditQuery, see
from tui.queries.catalogue import Catalogue, read_catalogue
from tui.queries.failures import ask_beside
from tui.queries.latest_only import LatestOnly
from tui.queries.run_forecast import MemoryOutlook, PlanAnswer, PlanQuery, RunQuery, look, make_plan

if TYPE_CHECKING:
    from core.config.project import Project


class CatalogueRead(Message):
    """The project's files are read, or why they are not."""

    def __init__(self, catalogue: Catalogue, problem: str = "") -> None:
        super().__init__()
        self.catalogue = catalogue
        self.problem = problem


class MemoryAnswered(Message):
    """The outlook on what was asked."""

    def __init__(self, query: RunQuery, outlook: MemoryOutlook) -> None:
        super().__init__()
        self.query = query
        self.outlook = outlook


class AuditAnswered(Message):
    """The audit of what was asked."""

    def __init__(self, query: AuditQuery, seen: AuditAnswer) -> None:
        super().__init__()
        self.query = query
        self.seen = seen


class PlanAnswered(Message):
    """The plan that was asked for."""

    def __init__(self, query: PlanQuery, planned: PlanAnswer) -> None:
        super().__init__()
        self.query = query
        self.planned = planned


class BackgroundQueries:
    """Asks in threads; `tell` is called from there with one of the messages above. Only the newest questions are answered."""

    def __init__(self, home: Home, find_project: Callable[[], Project], tell: Callable[[Message], None]) -> None:
        self.home = home
        self.find_project = find_project
        self.tell = tell
        self.catalogue = Catalogue()
        self.memory: LatestOnly[RunQuery, MemoryOutlook] = LatestOnly(
            "outlook",
            lambda query: look(self.home, self.catalogue, query, self.find_project),
            lambda query, outlook: self.tell(MemoryAnswered(query, outlook)),
            lambda _, line: MemoryOutlook(problem=line),
        )
        self.audit: LatestOnly[AuditQuery, AuditAnswer] = LatestOnly(
            "audit",
            lambda query: see(self.home, self.find_project, query),
            lambda query, seen: self.tell(AuditAnswered(query, seen)),
            lambda query, line: AuditAnswer(query, why=f"tokens are not counted: {line}"),
        )
        self.plan: LatestOnly[PlanQuery, PlanAnswer] = LatestOnly(
            "plan",
            lambda query: make_plan(self.home, self.catalogue, query),
            lambda query, planned: self.tell(PlanAnswered(query, planned)),
            lambda _, line: PlanAnswer(problem=line),
        )

    def start(self) -> None:
        ask_beside("catalogue", self._read, lambda line: CatalogueRead(Catalogue(), line), self.tell)

    def _read(self) -> CatalogueRead:
        """Reads every file of the project."""
        self.catalogue = read_catalogue(self.home, self.find_project())
        return CatalogueRead(self.catalogue)

    def forget(self) -> None:
        self.memory.forget()
        self.audit.forget()
        self.plan.forget()
