"""What takes longer than a beat of the feed: the project's files, the leaderboards, and seeing that a runner lives.

A thread of its own that starts after the first paint, because what it imports (pydantic, scipy) takes longer than that.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BakehouseError
from core.home import Home
from tui.model.fleet_reader import FleetReader
from tui.model.snapshot import Board, ProfileLines, TaskLine
from tui.model.staleness_reader import StalenessReader

if TYPE_CHECKING:
    from core.config.project import Project

LEAST_SECONDS_BETWEEN = 5.0
PROJECT_LOOK_SECONDS = 5.0
"""How long a change of the project's files may go unseen; nobody tells of one that an editor or a command made."""


@dataclass(frozen=True)
class BackgroundFacts:
    """What was found so far; None: not yet looked."""

    project: str = ""
    project_id: str = ""
    project_option: tuple[str, ...] = ()
    """By which a command finds the project, where it is not that of the folder in which the console runs."""
    tasks: tuple[TaskLine, ...] | None = None
    boards: tuple[Board, ...] | None = None
    profile: ProfileLines | None = None
    problems: tuple[tuple[str, str], ...] = ()
    """(what was tried, what went wrong)"""


BoardKey = tuple[int, int, str, int]
"""(bake-off, answers, state, rescorings): another one of these is another leaderboard."""
ProjectFiles = tuple[Path, str, tuple[tuple[Path, int, int], ...]]


def project_files(project: Project) -> ProjectFiles:
    """What tells that a project's list of tasks has to be read again: its folder, its name, and the files of its tasks with
    their times and sizes."""
    from core.config.project import TASKS

    files = []
    for file in sorted((project.root / TASKS).glob("*.yaml")):
        with contextlib.suppress(OSError):  # gone meanwhile: the next look sees it
            found = file.stat()
            files.append((file, found.st_mtime_ns, found.st_size))
    return project.root, project.name, tuple(files)


class BackgroundReader(threading.Thread):
    """Keeps `found` current. `data_changed` tells it that somebody wrote to the database, `project_changed` that the console
    itself wrote into the project; the project's other changes are looked for every `project_seconds`."""

    def __init__(
        self,
        home: Home,
        project: Callable[[], Project],
        told: Callable[[], None],
        project_seconds: float = PROJECT_LOOK_SECONDS,
    ) -> None:
        super().__init__(name="background-reader", daemon=True)
        self.project_seconds = project_seconds
        self.home = home
        self.find_project = project
        self.told = told
        self.found = BackgroundFacts()
        self.staleness = StalenessReader(home, self._say_changes)
        self.fleet = FleetReader(home, told)
        self._boards: dict[BoardKey, tuple[Board, ...]] = {}
        self._marks = (0, 0.0)
        self._wanted: set[int] = set()
        self._project_files: ProjectFiles | None = None
        self._task_problem: BakehouseError | None = None
        self._at_once = False
        self._lock = threading.Lock()
        self._boards_lock = threading.Lock()
        self._changed = threading.Event()
        self._stopped = threading.Event()

    def data_changed(self) -> None:
        self._changed.set()
        self.fleet.data_changed()

    def project_changed(self) -> None:
        """Look at the project now rather than at the next beat: a task was made."""
        self._at_once = True
        self._changed.set()

    def want(self, job_id: int) -> None:
        """Have the leaderboard of an older bake-off, too."""
        self._wanted.add(job_id)
        self._at_once = True
        self._changed.set()

    def stop(self) -> None:
        self._stopped.set()
        self._changed.set()
        self.staleness.stop()
        self.fleet.stop()

    def run(self) -> None:
        # Starting a runner waits until it lives: the rest need not.
        threading.Thread(target=self._try, args=(self._start_runner,), name="start-runner", daemon=True).start()
        self.fleet.start()
        self._try(self._read_project)
        self._try(self._read_profile)
        self.staleness.start()
        changed = True
        while not self._stopped.is_set():
            self._changed.clear()
            # What could not be read is tried again: nobody may write again for hours.
            failed = changed and not self._try(self._read_boards)
            pause = min(self.project_seconds, LEAST_SECONDS_BETWEEN) if failed else self.project_seconds
            changed = self._changed.wait(pause) or failed
            # Many writes in a row are one change; what a person asked for is not kept waiting.
            if changed and not self._at_once:
                self._stopped.wait(LEAST_SECONDS_BETWEEN)
            self._at_once = False
            self._try(self._read_project)

    def _try(self, act: Callable[[], None]) -> bool:
        """Do it, and whether it was done; what goes wrong is said in one line rather than ending the thread."""
        problem = ""
        try:
            act()
        except (BakehouseError, OSError, sqlite3.Error) as error:
            problem = str(error)
        with self._lock:
            others = tuple(item for item in self.found.problems if item[0] != act.__name__)
        self._say(problems=(*others, (act.__name__, problem)) if problem else others)
        return not problem

    def _say(self, **found: Any) -> None:
        with self._lock:
            former = self.found
            self.found = replace(former, **found)
        if former != self.found:
            self.told()

    def _start_runner(self) -> None:
        from core.runner.client import ensure_runner

        ensure_runner(self.home)

    def _read_project(self) -> None:
        """The project and its tasks, read again when one of their files has changed or the project is another one."""
        from core.config.project import project_option

        try:
            project = self.find_project()
        except BakehouseError:
            self._project_files = None  # once it can be read again, all of it is
            raise
        seen = project_files(project)
        if seen == self._project_files:
            if self._task_problem is not None:
                raise self._task_problem
            return
        self._project_files, self._task_problem = seen, None
        self.staleness.look_again()
        tasks, wrong = [], []
        for name in project.task_names():
            try:
                task = project.task(name)
            except BakehouseError as error:
                wrong.append(error)
            else:
                tasks.append(TaskLine(name, project.owner(task).id, task.title or ""))
        self._say(
            project=project.name, project_id=project.id, project_option=project_option(project), tasks=tuple(tasks)
        )
        if wrong:
            self._task_problem = wrong[0]
            raise wrong[0]

    def _read_profile(self) -> None:
        """What the environment of jobs on this GPU is, and why."""
        from core.config.settings import load_settings
        from core.gpu.devices import find_gpu
        from core.gpu.environment_profile import environment, profile_for

        profile = profile_for(find_gpu())
        if profile is None:
            return
        decided = environment(profile, os.environ, load_settings().gpu.environment).decisions
        rows = []
        for one in decided:
            name = f"{one.variable} unset" if one.action == "unset" else f"{one.variable}={one.value}"
            rows.append((f"{name} kept" if one.action == "kept" else name, one.why))
        self._say(profile=ProfileLines(profile.name, (*rows, *(("", note) for note in profile.notes))))

    def _read_boards(self) -> None:
        """The newest leaderboard of each task and those asked for, each computed once."""
        from core.store.database import open_database
        from core.store.marks import marks_stamp
        from core.store.results import list_bakeoffs
        from tui.model.leaderboards import build_boards

        boards: dict[BoardKey, tuple[Board, ...]] = {}
        settled: set[tuple[str, str]] = set()
        connection = open_database(self.home)
        try:
            marks = marks_stamp(connection)
            # A board tells how far its judges agree with them.
            unmarked = {key: of_job for key, of_job in self._boards.items() if not any(one.judges for one in of_job)}
            known = self._boards if marks == self._marks else unmarked
            for row in list_bakeoffs(connection):
                owners = {(row.project_id, task) for task in row.tasks}
                # Answers are scored at the end: before that there is nothing to rank.
                if row.state != "done" or (owners <= settled and row.job_id not in self._wanted):
                    continue
                settled |= owners
                key = (row.job_id, row.answers, row.state, row.rescorings)
                boards[key] = known.get(key) or build_boards(connection, self.home, row)
            self._marks = marks
        finally:
            connection.close()
        self._say_boards(boards)
        # The boards do not wait for that.
        self.staleness.watch({(job_id, answers, rescorings) for job_id, answers, _, rescorings in boards})

    def _say_boards(self, boards: Mapping[BoardKey, tuple[Board, ...]] | None = None) -> None:
        """These boards, or those that are known, with what has changed since."""
        from tui.model.leaderboards import with_changes

        with self._boards_lock:  # of two threads the one that says last has to have seen what both know
            known = self._boards if boards is None else boards
            self._boards = {key: with_changes(one, self.staleness.looked) for key, one in known.items()}
            self._say(boards=tuple(board for of_job in self._boards.values() for board in of_job))

    def _say_changes(self) -> None:
        if self._boards:
            self._say_boards()
