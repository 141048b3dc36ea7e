"""What a bake-off can be made of, and what the one that is ticked would be. Read in threads."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual.message import Message

from core.errors import BakehouseError, NotFoundError
from core.format import plural
from core.home import Home
from core.submission.wanted_bakeoff import WantedBakeoff
from tui.queries.failures import ask_beside
from tui.queries.latest_only import LatestOnly

if TYPE_CHECKING:
    from core.config.project import Project
    from core.jobfile.bakeoff import CandidateSpec
    from core.submission.asked_servers import ServedFacts, ServedPlace
    from core.submission.bakeoff import CheckedBakeoff

FindProject = Callable[[], "Project"]


@dataclass(frozen=True)
class Offer:
    """One task or candidate: what it is asked for by, what stands beside it, why it cannot be taken; `own`: the project's."""

    key: str
    note: str = ""
    problem: str = ""
    own: bool = True


@dataclass(frozen=True)
class FormerBakeoff:
    """The bake-off that is extended: the names of its tasks and candidates, and what it asked."""

    job_id: int
    tasks: tuple[str, ...]
    candidates: tuple[str, ...]
    incumbent: str | None
    repeats: int | None
    """None where its tasks differ in them."""
    concurrency: int = 1
    curtail: bool = False


@dataclass(frozen=True)
class Offers:
    """What the form offers; the models of servers come later, each server's by itself."""

    tasks: tuple[Offer, ...] = ()
    models: tuple[Offer, ...] = ()
    servers: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    """The option by which a command finds the project."""
    former: FormerBakeoff | None = None
    problem: str = ""


class OffersRead(Message):
    def __init__(self, offers: Offers) -> None:
        super().__init__()
        self.offers = offers


class ServerRead(Message):
    """The references of a server's models, or why it does not tell them."""

    def __init__(self, server: str, references: tuple[str, ...] = (), problem: str = "") -> None:
        super().__init__()
        self.server = server
        self.references = references
        self.problem = problem


@dataclass(frozen=True)
class ModelPart:
    """A model of the bake-off: how many candidates it is, for how many answers, and in how many seconds those come that are not
    there already (None: not known).

    `memory_bytes` is what its llama-server will take, None of what is not loaded by one.
    """

    name: str
    candidates: int
    answers: int
    seconds: float | None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class BakeoffOutlook:
    """What a bake-off would be. `problems` by reference; `problem` is of the whole, and with `remarks` from the submission."""

    wanted: WantedBakeoff
    problems: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    models: tuple[ModelPart, ...] = ()
    tasks: tuple[tuple[str, int, int], ...] = ()
    """Name, golden inputs, repeats."""
    incumbent: str = ""
    """Whom the others are compared with; empty where that is not known."""
    there: int = 0
    """Answers of the bake-off that is extended and need not be asked for again."""
    there_at_most: bool = False
    """Fewer where the weights of a model turn out to be others when it is loaded."""
    remarks: tuple[str, ...] = ()

    @property
    def answers(self) -> int:
        return sum(model.answers for model in self.models)

    @property
    def told(self) -> str:
        """What stands against it, in one text."""
        return self.problem or "; ".join(f"{reference}: {words}" for reference, words in self.problems.items())


class OutlookRead(Message):
    def __init__(self, outlook: BakeoffOutlook) -> None:
        super().__init__()
        self.outlook = outlook


class WrittenRead(Message):
    """Whether a candidate that is being written can be, and why not."""

    def __init__(self, reference: str, problem: str) -> None:
        super().__init__()
        self.reference = reference
        self.problem = problem


def read_offers(home: Home, find_project: FindProject, extend: int | None) -> OffersRead:
    """The tasks and models of the project. Raises only where the project itself cannot be read."""
    from core.config.project import project_option
    from core.jobfile.servers import known_servers
    from core.store.database import open_database
    from core.submission.bakeoff import golden_task
    from core.submission.extension import extended
    from tui.queries.catalogue import model_note

    project = find_project()
    tasks, models, own = [], [], set(project.own_task_names())
    for name in project.task_names():
        try:
            one = golden_task(project, name)
            inputs, repeats = len(one.golden.inputs), one.task.repeats
            tasks.append(Offer(name, f"{plural(inputs, 'input')} × {repeats}", own=name in own))
        except (BakehouseError, OSError) as error:
            tasks.append(Offer(name, problem=said(error), own=name in own))
    for name in project.model_names():
        try:
            models.append(Offer(name, model_note(home, project.model(name))))
        except (BakehouseError, OSError) as error:
            models.append(Offer(name, problem=said(error)))
    former, problem = None, ""
    servers: tuple[str, ...] = ()
    try:
        servers = tuple(known_servers(project.settings))
        if extend is not None:
            with contextlib.closing(open_database(home, briefly=True)) as connection:
                before = extended(home, connection, project, extend).spec
            repeats_of = {task.repeats for task in before.tasks}
            former = FormerBakeoff(
                extend,
                tuple(task.name for task in before.tasks),
                tuple(before.forms),
                before.incumbent,
                repeats_of.pop() if len(repeats_of) == 1 else None,
                before.concurrency,
                before.curtail,
            )
    except BakehouseError as error:
        problem = said(error)
    return OffersRead(Offers(tuple(tasks), tuple(models), servers, project_option(project), former, problem))


def read_server(find_project: FindProject, name: str) -> ServerRead:
    """The models that a server has now. Raises `BakehouseError`."""
    from core.config.servers import BUILT_IN
    from core.jobfile.servers import login_of, named_server
    from core.serving.servers import model_names

    server = named_server(find_project().settings, name)
    kind = "served" if name == BUILT_IN else name
    names = model_names(server, login=login_of(server))
    return ServerRead(
        name, tuple(f"{kind}:{one.removesuffix(':latest') if server.api == 'ollama' else one}" for one in names)
    )


def said(error: Exception) -> str:
    """What stands beside a row: without the place of the file, which is long."""
    if not isinstance(error, BakehouseError):
        return str(error)
    return f"{error.message}; {error.remedy}" if error.remedy else error.message


class OutlookReader:
    """Looks at what is ticked. What a server said of a model is asked once for all: it is remembered until the servers are
    asked again, or the form goes."""

    def __init__(self, home: Home, find_project: FindProject) -> None:
        self.home = home
        self.find_project = find_project
        self._known: dict[ServedPlace, ServedFacts | BakehouseError] = {}
        self._lock = threading.Lock()

    def forget_servers(self) -> None:
        """What the servers said counts no more."""
        with self._lock:
            self._known = {}

    def look(self, wanted: WantedBakeoff) -> BakeoffOutlook:
        """Checks as the submission does, without storing anything. Each candidate that cannot be is told by itself."""
        from core.store.database import open_database
        from core.submission.bakeoff import check_bakeoff
        from core.submission.expected_time import measured_paces

        project = self.find_project()
        with contextlib.closing(open_database(self.home, briefly=True)) as connection:
            problems = self._problems(connection, project, wanted.candidates)
            if problems:
                return BakeoffOutlook(wanted, problems)
            remarks: list[str] = []
            try:
                checked = check_bakeoff(self.home, connection, project, wanted, remarks, self._ask)
            except (BakehouseError, OSError) as error:
                return BakeoffOutlook(wanted, problem=said(error))
            paces = measured_paces(connection, project.id)
        return outlook_of(self.home, wanted, checked, paces, remarks)

    def problem_of(self, reference: str) -> str:
        """Why a candidate cannot be asked; empty where nothing is known against it."""
        from core.store.database import open_database

        with contextlib.closing(open_database(self.home, briefly=True)) as connection:
            return self._problems(connection, self.find_project(), [reference]).get(reference, "")

    def _ask(self, candidate: CandidateSpec) -> ServedFacts | BakehouseError:
        """From memory, else from the server."""
        from core.submission.asked_servers import served_facts, served_place

        place = served_place(candidate)
        assert place is not None  # only such are asked
        with self._lock:
            known, memory = self._known.get(place), self._known
        if known is None:
            known = served_facts(candidate)
            with self._lock:
                memory[place] = known  # of the time when it was asked: not the one that came after F5
        return known

    def _problems(self, connection: sqlite3.Connection, project: Project, references: Sequence[str]) -> dict[str, str]:
        """What stands against each of these candidates by itself. The servers are asked beside each other."""
        from core.submission.asked_servers import ask_servers, served_place
        from core.submission.candidates import parse_candidate
        from core.submission.possible import refuse_format, refuse_unable

        found: dict[str, CandidateSpec] = {}
        problems: dict[str, str] = {}
        for reference in references:
            try:
                candidate = parse_candidate(self.home, connection, project, reference)
                refuse_format(candidate)
                found[reference] = candidate
            except (BakehouseError, OSError) as error:
                problems[reference] = said(error)
        with self._lock:
            memory = self._known
        asked = ask_servers(list(found.values()), self._ask)
        with self._lock:
            # A server that was given up is not waited for at each tick.
            for place, answer in asked.items():
                memory.setdefault(place, answer)
        for reference, candidate in found.items():
            at = served_place(candidate)
            able = None if at is None else asked[at]
            try:
                if isinstance(able, NotFoundError):
                    raise able
                if able is not None and not isinstance(able, BakehouseError):
                    refuse_unable(candidate, able.capabilities)
            except BakehouseError as error:
                problems[reference] = said(error)
        return {reference: problems[reference] for reference in references if reference in problems}


def outlook_of(
    home: Home,
    wanted: WantedBakeoff,
    checked: CheckedBakeoff,
    paces: Mapping[tuple[str, str], float],
    remarks: list[str],
) -> BakeoffOutlook:
    from core.jobfile.bakeoff import default_incumbent
    from core.submission.candidates import who_answers
    from core.submission.expected_time import expected_seconds
    from core.submission.server_memory import model_of

    per_candidate, taken = sum(task.answers for task in checked.tasks), checked.taken
    wanted_of_each = {task.task.name: task.answers for task in checked.tasks}
    models: dict[str, list[CandidateSpec]] = {}
    for candidate in checked.candidates:
        models.setdefault(repr(who_answers(candidate)), []).append(candidate)
    parts = []
    for candidates in models.values():
        seconds = [expected_seconds(one, wanted_of_each, paces) for one in candidates]
        missing = [1 - taken.by_candidate.get(one.name, 0) / per_candidate for one in candidates]
        known = [one * share for one, share in zip(seconds, missing, strict=True) if one is not None]
        memory = checked.servers.by_name.get(model_of(candidates[0]))
        parts.append(
            ModelPart(
                candidates[0].name.partition(" @")[0],
                len(candidates),
                len(candidates) * per_candidate,
                math.fsum(known) if len(known) == len(seconds) else None,
                None if memory is None else memory.needed_bytes,
            )
        )
    rows = tuple((task.task.name, len(task.golden.inputs), task.repeats) for task in checked.tasks)
    return BakeoffOutlook(
        wanted,
        models=tuple(parts),
        tasks=rows,
        incumbent=checked.incumbent or default_incumbent({one.name: one.form for one in checked.candidates}),
        there=taken.answers,
        there_at_most=not taken.is_exact,
        remarks=tuple(remarks),
    )


class BakeoffQueries:
    """Asks in threads, each server in one of its own; `tell` is called from there with one of the messages above."""

    def __init__(self, home: Home, find_project: FindProject, tell: Callable[[Message], None]) -> None:
        self.home = home
        self.find_project = find_project
        self.tell = tell
        self.reader = reader = OutlookReader(home, find_project)
        self.outlook: LatestOnly[WantedBakeoff, BakeoffOutlook] = LatestOnly(
            "bake-off outlook",
            reader.look,
            lambda _, outlook: self.tell(OutlookRead(outlook)),
            lambda wanted, line: BakeoffOutlook(wanted, problem=line),
        )
        self.written: LatestOnly[str, str] = LatestOnly(
            "candidate",
            reader.problem_of,
            lambda reference, problem: self.tell(WrittenRead(reference, problem)),
            lambda _, line: line,
        )

    def start(self, extend: int | None) -> None:
        ask_beside(
            "offers",
            lambda: read_offers(self.home, self.find_project, extend),
            lambda line: OffersRead(Offers(problem=line)),
            self.tell,
        )

    def ask_servers(self, names: Iterable[str]) -> None:
        """One that stalls keeps no other waiting. What they said before is forgotten."""
        self.reader.forget_servers()
        for name in names:
            self._ask_server(name)

    def _ask_server(self, name: str) -> None:
        ask_beside(
            f"models of {name}",
            lambda: read_server(self.find_project, name),
            lambda line: ServerRead(name, problem=line),
            self.tell,
        )

    def forget(self) -> None:
        self.outlook.forget()
        self.written.forget()
