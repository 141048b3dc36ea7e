"""What an open console knows of its project is what stands in the project's files, not what stood there at the start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project, new_task
from core.config.project import Project
from core.home import Home
from tests.support.waiting import wait_until
from tui.model.background_reader import BackgroundReader
from tui.queries.project import project_finder, remember_project

NEVER = 3600.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(BackgroundReader, "_start_runner", lambda self: None)
    return Home(tmp_path / "home").create()


@pytest.fixture
def readers(home: Home) -> Iterator[list[BackgroundReader]]:
    started: list[BackgroundReader] = []
    yield started
    for reader in started:
        reader.stop()
        reader.join()


def reading(home: Home, readers: list[BackgroundReader], seconds: float) -> BackgroundReader:
    """A reader after its first look."""
    reader = BackgroundReader(home, project_finder(home, None), lambda: None, seconds)
    readers.append(reader)
    reader.start()
    wait_until(lambda: reader.found.boards is not None, what="the first look")
    return reader


def tasks(reader: BackgroundReader) -> set[str]:
    return {task.name for task in reader.found.tasks or ()}


def task_file(name: str) -> Path:
    return Path.cwd() / "configs/tasks" / f"{name}.yaml"


def test_a_task_that_the_console_makes_is_known_at_once(home: Home, readers: list[BackgroundReader]) -> None:
    """The first task of an empty folder: the folder becomes a project while the console is open."""
    reader = reading(home, readers, NEVER)
    assert "greenhouse" not in tasks(reader)
    new_project(Path.cwd())
    new_task(Project.find(), "greenhouse")
    reader.project_changed()
    wait_until(lambda: "greenhouse" in tasks(reader), what="the new task")
    assert reader.found.project == "work"


def test_what_a_command_or_an_editor_does_is_seen(home: Home, readers: list[BackgroundReader]) -> None:
    new_project(Path.cwd())
    reader = reading(home, readers, 0.01)
    before = tasks(reader)
    new_task(Project.find(), "tickets")
    wait_until(lambda: "tickets" in tasks(reader), what="a task that a command made")
    assert tasks(reader) == before | {"tickets"}
    task_file("mails").write_text(task_file("tickets").read_text().replace("name: tickets", "name: mails"))
    task_file("tickets").unlink()
    wait_until(lambda: "mails" in tasks(reader) and "tickets" not in tasks(reader), what="its new name")
    assert tasks(reader) == before | {"mails"}
    task_file("mails").unlink()
    wait_until(lambda: "mails" not in tasks(reader), what="its end")
    assert tasks(reader) == before


def test_a_mistake_is_shown_until_it_is_mended(home: Home, readers: list[BackgroundReader]) -> None:
    new_project(Path.cwd())
    new_task(Project.find(), "tickets")
    right = task_file("tickets").read_text()
    reader = reading(home, readers, 0.01)
    assert not reader.found.problems
    task_file("tickets").write_text(right.replace("sampling:", "samplin:"))
    wait_until(lambda: reader.found.problems, what="the mistake")
    looks = []
    seen, reader.find_project = reader.find_project, lambda: looks.append(1) or seen()  # type: ignore[func-returns-value]
    wait_until(lambda: len(looks) > 3, what="further looks")
    assert "samplin" in reader.found.problems[0][1]
    task_file("tickets").write_text(right)
    wait_until(lambda: not reader.found.problems, what="its end")
    assert "tickets" in tasks(reader)


def test_a_project_that_breaks_is_said_and_comes_back(home: Home, readers: list[BackgroundReader]) -> None:
    new_project(Path.cwd())
    new_task(Project.find(), "tickets")
    reader = reading(home, readers, 0.01)
    right = Path("bakehouse.yaml").read_text()
    Path("bakehouse.yaml").write_text("id: [")
    wait_until(lambda: reader.found.problems, what="the broken project")
    assert "tickets" in tasks(reader)  # what was known last still stands beside the problem
    Path("bakehouse.yaml").write_text(right)
    wait_until(lambda: not reader.found.problems, what="the project again")


def test_another_project_that_is_worked_on_from_now_on(
    home: Home, readers: list[BackgroundReader], tmp_path: Path
) -> None:
    reader = reading(home, readers, NEVER)
    new_project(tmp_path / "elsewhere")
    new_task(Project.find(explicit=tmp_path / "elsewhere"), "labels")
    remember_project(home, tmp_path / "elsewhere")
    reader.project_changed()
    wait_until(lambda: "labels" in tasks(reader), what="the other project")
    assert reader.found.project_option == ("--project", str(tmp_path / "elsewhere"))


def test_a_look_at_the_boards_that_failed_is_tried_again(
    home: Home, readers: list[BackgroundReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks = BackgroundReader._read_boards, []

    def fails_once(reader: BackgroundReader) -> None:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("busy")
        look(reader)

    monkeypatch.setattr(BackgroundReader, "_read_boards", fails_once)
    assert not reading(home, readers, 0.01).found.problems
